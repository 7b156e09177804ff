/* SPDX-License-Identifier: MIT */
/* The arguments of a command, once they are checked. Main thread. */
#include "monitor/internal.h"
#include "monitor/props.h"

bool arg_given(struct json_object *args, const char *name)
{
	return json_object_object_get_ex(args, name, NULL);
}

uint64_t arg_uint(struct json_object *args, const char *name,
		  uint64_t fallback)
{
	return prop_uint(args, name, fallback);
}

const char *arg_string(struct json_object *args, const char *name)
{
	struct json_object *o;

	return json_object_object_get_ex(args, name, &o) ?
	       json_object_get_string(o) : NULL;
}

bool arg_bool(struct json_object *args, const char *name, bool fallback)
{
	return prop_bool(args, name, fallback);
}
