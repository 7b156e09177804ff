/* SPDX-License-Identifier: MIT */
/* --disk, --rootfs, --disk-controllers. Main thread. */
#ifndef MOTE_OPTION_DISK_H
#define MOTE_OPTION_DISK_H

#include "config/options.h"

extern const struct field option_disk_fields[];
extern const struct field option_rootfs_fields[];

int option_disk_set(struct vm_config *c, const struct option *o,
		    struct json_object *v, const char *label, struct error *e);
struct json_object *option_disk_get(const struct vm_config *c,
				    const struct option *o);
int option_rootfs_set(struct vm_config *c, const struct option *o,
		      struct json_object *v, const char *label,
		      struct error *e);
struct json_object *option_rootfs_get(const struct vm_config *c,
				      const struct option *o);
int option_controllers_set(struct vm_config *c, const struct option *o,
			   struct json_object *v, const char *label,
			   struct error *e);
struct json_object *option_controllers_get(const struct vm_config *c,
					   const struct option *o);

/*
 * Disks from index first on, the command line's, replace those of the document
 * that have the same id. The same id twice among them is an error.
 */
int option_disk_fold(struct vm_config *c, size_t first, struct error *e);

#endif
