/* SPDX-License-Identifier: MIT */
/*
 * The options of `mote run`: one table for the command line, its help, the
 * suggestions and the keys of a JSON document. Main thread.
 */
#ifndef MOTE_OPTIONS_H
#define MOTE_OPTIONS_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "error.h"

enum field_type {
	FIELD_STRING,
	FIELD_BOOL,
	FIELD_UINT,
	FIELD_U32,
	FIELD_SIZE,	/* a bare number is MiB */
	FIELD_BYTES,	/* a bare number is bytes */
	FIELD_ENUM,
};

/* A sub-option; a table of them ends with a name of NULL. */
struct field {
	const char *name;
	enum field_type type;
	size_t offset;
	const char *const *names;	/* FIELD_ENUM */
	bool inverted;			/* FIELD_BOOL: stored negated */
	bool positive;			/* FIELD_UINT: 0 would mean not given */
	const char *argument, *help;	/* help NULL: not in the help */
};

#define FIELD(of, kind, member, ...) \
	{ .type = kind, .offset = offsetof(struct of, member), __VA_ARGS__ }

struct option {
	const char *name;
	char letter;
	const char *key;		/* in JSON */
	const char *argument, *help;
	bool value_optional;		/* without: "on" */
	bool repeatable;
	const char *bare;		/* what the first bare word is */
	const struct field *fields;
	int (*set)(struct vm_config *c, const struct option *o,
		   struct json_object *v, const char *label, struct error *e);
	struct json_object *(*get)(const struct vm_config *c,
				   const struct option *o);
};

/* Ends with a name of NULL. */
extern const struct option options[];

const struct option *option_by_name(const char *name);
const struct option *option_by_letter(char letter);
const struct option *option_by_key(const char *key);

#endif
