/* SPDX-License-Identifier: MIT */
/* The values of --pmem. Main thread. */
#ifndef MOTE_OPTION_PMEM_H
#define MOTE_OPTION_PMEM_H

#include "config/options.h"

extern const struct field option_pmem_fields[];

/* A list in a document, one at a time on the command line. */
int option_pmem_set(struct vm_config *c, const struct option *o,
		    struct json_object *v, const char *label, struct error *e);
struct json_object *option_pmem_get(const struct vm_config *c,
				    const struct option *o);

/* As option_disk_fold(), for pmem devices. */
int option_pmem_fold(struct vm_config *c, size_t first, struct error *e);

#endif
