/* SPDX-License-Identifier: MIT */
/*
 * Back ends that clients make by object-add and devices are made from, by
 * name. Main thread.
 */
#ifndef MOTE_MONITOR_OBJECTS_H
#define MOTE_MONITOR_OBJECTS_H

#include <json-c/json.h>

#include "config/config.h"
#include "error.h"
#include "monitor/props.h"

struct monitor;

/* A kind: a row in objects.c. */
struct object_type {
	const char *name;		/* qom-type */
	const struct prop *props;	/* but qom-type and id */
	/* What cannot be said by types; may be NULL. */
	int (*check)(struct json_object *props, struct error *e);
};

struct object {
	struct object *next;
	const struct object_type *type;
	char *id;
	struct json_object *props;	/* checked */
};

/* The object with this id and qom-type; the error names both and property. */
const struct object *object_find(const struct monitor *m, const char *id,
				 const char *type, const char *property,
				 struct error *e);
/* The memory that an object is: of what kind and size; its path is the object's.
 * drivers_dimm.c */
int object_memory(const struct monitor *m, const char *id,
		  struct config_memory *out, struct error *e);
void objects_destroy(struct monitor *m);

#endif
