/* SPDX-License-Identifier: MIT */
/*
 * Properties of devices and objects, in the loose types of QEMU's clients:
 * numbers and switches may be strings ("2", "on"). Main thread.
 */
#ifndef MOTE_MONITOR_PROPS_H
#define MOTE_MONITOR_PROPS_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"

enum prop_type {
	PROP_STRING,
	PROP_UINT,
	PROP_BOOL,
	PROP_IGNORED,		/* of any type, means nothing here */
};

struct prop {
	const char *name;
	enum prop_type type;
	bool required;
};

/*
 * Every member of args is in one of the two tables (each ends with a NULL name)
 * and of its type, and the required ones are there. owner is what an unknown
 * one is said not to be a property of.
 */
int props_check(struct json_object *args, const char *owner,
		const struct prop *common, const struct prop *own,
		struct error *e);

/* One value. */
int prop_check(const struct prop *p, struct json_object *v, struct error *e);

/* After the check. NULL, or fallback, when it was not given. */
const char *prop_string(struct json_object *args, const char *name);
uint64_t prop_uint(struct json_object *args, const char *name,
		   uint64_t fallback);
bool prop_bool(struct json_object *args, const char *name, bool fallback);

/* A letter, then letters, digits, - . _: what QEMU takes for an id. */
bool id_valid(const char *id);
/* The same as a check of a parameter that may be NULL. */
int id_check(const char *id, const char *parameter, struct error *e);

#endif
