/* SPDX-License-Identifier: MIT */
/* The option --chardev. Main thread. */
#ifndef MOTE_OPTION_CHARDEV_H
#define MOTE_OPTION_CHARDEV_H

#include "config/options.h"

extern const struct field option_chardev_fields[];

/* One, or in a document a list of them. */
int option_chardev_set(struct vm_config *c, const struct option *o,
		       struct json_object *v, const char *label,
		       struct error *e);
struct json_object *option_chardev_get(const struct vm_config *c,
				       const struct option *o);

/* As option_disk_fold(). */
int option_chardev_fold(struct vm_config *c, size_t first, struct error *e);

#endif
