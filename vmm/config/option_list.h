/* SPDX-License-Identifier: MIT */
/* Options that are lists: of sections, and of strings. Main thread. */
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

/* set_one as in struct option, of one section. A list of them, in a document, is
 * named one by one: LABEL[0]. */
int option_list_set(struct vm_config *c, const struct option *o,
		    struct json_object *v, const char *label,
		    int (*set_one)(struct vm_config *c, const struct option *o,
				   struct json_object *v, const char *label,
				   struct error *e),
		    struct error *e);
/* An array of option_fields_json() of each of base's items; NULL without any. */
struct json_object *option_list_json(const void *base, size_t count,
				     size_t item_bytes,
				     const struct field *fields);

#endif
