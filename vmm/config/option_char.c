/* SPDX-License-Identifier: MIT */
/* Character back ends on the command line and in documents. Main thread. */
#include "config/option_char.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/option_fields.h"

static const char *const names[] = {
	[CHAR_NONE] = "none", [CHAR_STDIO] = "stdio", [CHAR_NULL] = "null",
	[CHAR_FILE] = "file", [CHAR_UNIX] = "unix",   [CHAR_PTY] = "pty",
};

static bool has_path(enum config_char_kind kind)
{
	return kind == CHAR_FILE || kind == CHAR_UNIX;
}

/* The one member: "" → the back end's name, or its name → the path. */
static int set_kind(struct config_char *out, struct json_object *object,
			 const char *label, struct error *e)
{
	const char *name = "";

	json_object_object_foreach(object, key, value) {
		char where[64];

		name = *key ? key : json_object_get_string(value);
		snprintf(where, sizeof(where), "%s: %s", label, key);
		for (int i = CHAR_STDIO; name && i <= CHAR_PTY; i++) {
			enum config_char_kind kind = (enum config_char_kind)i;

			if (strcmp(name, names[kind]) ||
			    has_path(kind) != (*key != '\0'))
				continue;
			free(out->path);
			*out = (struct config_char){ .kind = kind };
			return *key ? option_get_string(value, &out->path,
							where, e) : 0;
		}
	}
	return error_config(e, -EINVAL, "%s: '%s' is not one of stdio, null, "
			    "pty, file=PATH, unix=PATH", label,
			    name ? name : "null");
}

int option_char_set(struct config_char *out, struct json_object *v,
		    const char *label, struct error *e)
{
	struct option shape = { .bare = "" };
	struct json_object *object = NULL;
	int ret = option_object(&shape, v, label, &object, e);

	if (ret)
		return ret;
	if (json_object_object_length(object) == 1)
		ret = set_kind(out, object, label, e);
	else
		ret = error_config(e, -EINVAL, "%s: one of stdio, null, pty, "
				   "file=PATH, unix=PATH", label);
	json_object_put(object);
	return ret;
}

struct json_object *option_char_json(const struct config_char *c)
{
	struct json_object *object;

	if (c->kind == CHAR_NONE)
		return NULL;
	if (!c->path)
		return json_object_new_string(names[c->kind]);
	object = json_object_new_object();
	json_object_object_add(object, names[c->kind],
			       json_object_new_string(c->path));
	return object;
}
