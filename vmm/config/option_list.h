/* SPDX-License-Identifier: MIT */
/* --initrd, --params. Main thread. */
#ifndef MOTE_OPTION_LIST_H
#define MOTE_OPTION_LIST_H

#include "config/options.h"

int option_initrd_set(struct vm_config *c, const struct option *o,
		      struct json_object *v, const char *label,
		      struct error *e);
struct json_object *option_initrd_get(const struct vm_config *c,
				      const struct option *o);
int option_params_set(struct vm_config *c, const struct option *o,
		      struct json_object *v, const char *label,
		      struct error *e);
struct json_object *option_params_get(const struct vm_config *c,
				      const struct option *o);

/* Appends a copy; -ENOMEM. */
int option_list_append(char ***list, size_t *count, const char *text,
		       struct error *e);

#endif
