/* SPDX-License-Identifier: MIT */
/* Character back ends for ports, by their ids, as options. Main thread. */
#include "config/option_chardev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/option_fields.h"
#include "config/option_list.h"

static const char *const kinds[] = {
	[CHAR_NONE] = "none", [CHAR_STDIO] = "stdio", [CHAR_NULL] = "null",
	[CHAR_FILE] = "file", [CHAR_UNIX] = "unix", [CHAR_PTY] = "pty",
	[CHAR_CONNECT] = "connect", [CHAR_CONNECT + 1] = NULL,
};

const struct field option_chardev_fields[] = {
	FIELD(config_chardev, FIELD_ENUM, back.kind, .name = "type",
	      .names = kinds, .argument = "unix|connect|file|pty|null",
	      .help = "unix: a socket that is\nlistened at; connect: one\nthat is connected to"),
	FIELD(config_chardev, FIELD_STRING, id, .name = "id",
	      .argument = "ID", .help = "what a port names it by"),
	FIELD(config_chardev, FIELD_STRING, back.path, .name = "path",
	      .argument = "PATH", .help = "of unix, connect and file"),
	FIELD(config_chardev, FIELD_BOOL, back.append, .name = "append",
	      .argument = "on|off",
	      .help = "what is in the file stays; default off"),
	FIELD(config_chardev, FIELD_UINT, back.reconnect_s,
	      .name = "reconnect", .argument = "SECONDS",
	      .help = "connect: when to try again; default 0, never"),
	{ 0 },
};

static int set_one(struct vm_config *c, const struct option *o,
		   struct json_object *v, const char *label, struct error *e)
{
	struct config_chardev one = { 0 }, *p;
	int ret = option_fields_set(&one, o, v, label, e);

	if (!ret && !one.id)
		ret = error_config(e, -EINVAL, "%s: no id", label);
	p = ret ? NULL : realloc(c->chardevs,
				 (c->chardev_count + 1) * sizeof(*p));
	if (!p) {
		config_chardev_deinit(&one);
		return ret ? ret : error_set(e, -ENOMEM, "out of memory");
	}
	c->chardevs = p;
	p[c->chardev_count++] = one;
	return 0;
}

int option_chardev_set(struct vm_config *c, const struct option *o,
		       struct json_object *v, const char *label,
		       struct error *e)
{
	return option_list_set(c, o, v, label, set_one, e);
}

struct json_object *option_chardev_get(const struct vm_config *c,
				       const struct option *o)
{
	return option_list_json(c->chardevs, c->chardev_count,
				sizeof(*c->chardevs), o->fields);
}

static struct config_chardev *find(const struct vm_config *c, size_t from,
				   size_t to, const char *id)
{
	for (size_t i = from; i < to; i++)
		if (!strcmp(c->chardevs[i].id, id))
			return &c->chardevs[i];
	return NULL;
}

int option_chardev_fold(struct vm_config *c, size_t first, struct error *e)
{
	size_t count = c->chardev_count, kept = first;
	struct config_chardev *old;

	for (size_t i = first; i < count; i++)
		if (find(c, first, i, c->chardevs[i].id))
			return error_config(e, -EINVAL, "--chardev: id '%s' is "
					    "given twice", c->chardevs[i].id);
	for (size_t i = first; i < count; i++) {
		old = find(c, 0, first, c->chardevs[i].id);
		if (old)
			config_chardev_deinit(old);
		else
			old = &c->chardevs[kept++];
		*old = c->chardevs[i];
	}
	c->chardev_count = kept;
	return 0;
}
