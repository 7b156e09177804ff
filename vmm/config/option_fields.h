/* SPDX-License-Identifier: MIT */
/*
 * How a JSON value becomes a member of a configuration struct, and back, by the
 * tables of struct field (options.h). Every error names the label, the way the
 * user called the option, and the value. Main thread.
 */
#ifndef MOTE_OPTION_FIELDS_H
#define MOTE_OPTION_FIELDS_H

#include "config/options.h"

/* A copy of a non-empty string; frees what *out was. */
int option_get_string(struct json_object *v, char **out, const char *label,
		      struct error *e);
int option_get_bool(struct json_object *v, bool *out, const char *label,
		    struct error *e);
int option_get_uint(struct json_object *v, unsigned int *out,
		    const char *label, struct error *e);
/* In bytes; config_parse_size(). */
int option_get_size(struct json_object *v, uint64_t *out, const char *label,
		    struct error *e);
/* *out: the index in names. */
int option_get_enum(struct json_object *v, const char *const *names, int *out,
		    const char *label, struct error *e);

/*
 * A section as an object: one that is (a reference more), or what the command
 * line writes, or a number where that is the first bare word.
 */
int option_object(const struct option *o, struct json_object *value,
		  const char *label, struct json_object **out,
		  struct error *e);
/* Fills base by o->fields, from an object or a string. */
int option_fields_set(void *base, const struct option *o,
		      struct json_object *value, const char *label,
		      struct error *e);
/* The members that are not zero. */
struct json_object *option_fields_json(const void *base,
				       const struct field *fields);

#endif
