/* SPDX-License-Identifier: MIT */
/* chardev-add, chardev-remove and query-chardev. Main thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "monitor/internal.h"
#include "monitor/props.h"
#include "vm_chardev.h"

#define MAX_RECONNECT_S	86400u

static const struct prop no_props[] = { { 0 } };

static const struct prop file_props[] = {
	{ "out", PROP_STRING, true },
	{ "append", PROP_BOOL, false },
	{ 0 },
};

static const struct prop socket_props[] = {
	{ "addr", PROP_IGNORED, true },		/* socket_path() */
	{ "server", PROP_BOOL, false },
	{ "wait", PROP_BOOL, false },
	{ "reconnect", PROP_UINT, false },
	{ "telnet", PROP_BOOL, false },
	{ "nodelay", PROP_IGNORED, false },
	{ 0 },
};

static const struct prop address_props[] = {
	{ "type", PROP_STRING, true },
	{ "data", PROP_IGNORED, true },
	{ 0 },
};

static const struct prop path_props[] = {
	{ "path", PROP_STRING, true },
	{ 0 },
};

static int not_supported(struct error *e, const char *what)
{
	return error_class_set(e, ERROR_NOT_SUPPORTED, -EOPNOTSUPP,
			       "Parameter 'backend': %s is not supported",
			       what);
}

/* text is none of those that there are here: is it one of QEMU's? */
static int no_type(const char *text, const char *const *known,
		   const char *ours, struct error *e)
{
	for (; *known; known++)
		if (!strcmp(*known, text))
			return error_class_set(e, ERROR_NOT_SUPPORTED,
					       -EOPNOTSUPP, "Parameter "
					       "'backend': type '%s' is not "
					       "supported, only %s", text,
					       ours);
	return error_set(e, -EINVAL, "Parameter 'backend': type '%s' is not one "
			 "of %s", text, ours);
}

static int check_object(struct json_object *o, const char *owner,
			const struct prop *props, struct error *e)
{
	if (!o)
		return error_set(e, -EINVAL, "Parameter 'data' is missing");
	if (!json_object_is_type(o, json_type_object))
		return error_set(e, -EINVAL, "Invalid parameter type for '%s', "
				 "expected: object", owner);
	return props_check(o, owner, no_props, props, e);
}

static struct json_object *member(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;

	json_object_object_get_ex(o, name, &v);
	return v;
}

static int socket_path(struct json_object *addr, char **path, struct error *e)
{
	static const char *const known[] = { "inet", "vsock", "fd", NULL };
	struct json_object *data;
	int ret = check_object(addr, "addr", address_props, e);
	const char *type;

	if (ret)
		return ret;
	type = prop_string(addr, "type");
	if (strcmp(type, "unix"))
		return no_type(type, known, "unix (of a socket's addr)", e);
	data = member(addr, "data");
	ret = check_object(data, "addr.data", path_props, e);
	if (!ret)
		*path = (char *)prop_string(data, "path");
	return ret;
}

static int parse_socket(struct json_object *data, struct config_char *c,
			struct error *e)
{
	int ret = check_object(data, "socket", socket_props, e);
	uint64_t again;

	if (ret)
		return ret;
	c->kind = prop_bool(data, "server", true) ? CHAR_UNIX : CHAR_CONNECT;
	again = prop_uint(data, "reconnect", 0);
	if (again > MAX_RECONNECT_S || (again && c->kind == CHAR_UNIX))
		return error_set(e, -EINVAL, "Parameter 'reconnect': with "
				 "server=off, at most %u seconds",
				 MAX_RECONNECT_S);
	c->reconnect_s = (unsigned int)again;
	if (prop_bool(data, "wait", false))
		return not_supported(e, "wait=on");
	if (prop_bool(data, "telnet", false))
		return not_supported(e, "telnet=on");
	return socket_path(member(data, "addr"), &c->path, e);
}

static int parse_file(struct json_object *data, struct config_char *c,
		      struct error *e)
{
	int ret = check_object(data, "file", file_props, e);

	if (ret)
		return ret;
	c->kind = CHAR_FILE;
	c->path = (char *)prop_string(data, "out");
	c->append = prop_bool(data, "append", false);
	return 0;
}

/* c's strings are those of the arguments. */
static int parse_backend(struct json_object *backend, struct config_char *c,
			 struct error *e)
{
	static const struct prop props[] = {
		{ "type", PROP_STRING, true },
		{ "data", PROP_IGNORED, false },
		{ 0 },
	};
	static const char *const known[] = {
		"pipe", "udp", "ringbuf", "memory", "stdio", "serial",
		"parallel", "mux", "hub", "vc", "console", "msmouse",
		"wctablet", "braille", "testdev", "spicevmc", "spiceport",
		"qemu-vdagent", "dbus", NULL
	};
	struct json_object *data = member(backend, "data");
	int ret = check_object(backend, "backend", props, e);
	const char *type;

	if (ret)
		return ret;
	type = prop_string(backend, "type");
	if (!strcmp(type, "socket"))
		return parse_socket(data, c, e);
	if (!strcmp(type, "file"))
		return parse_file(data, c, e);
	if (!strcmp(type, "null"))
		c->kind = CHAR_NULL;
	else if (!strcmp(type, "pty"))
		c->kind = CHAR_PTY;
	else
		return no_type(type, known, "socket, file, pty, null", e);
	return data ? check_object(data, type, no_props, e) : 0;
}

/* A pty's name is how one gets at it. */
static struct json_object *added(struct vm *vm, const char *id)
{
	struct json_object *o = json_object_new_object();
	struct vm_chardev_info info;
	size_t i = 0;

	while (vm_chardev_info(vm, i, &info) && strcmp(info.id, id))
		i++;
	if (!strncmp(info.label, "pty:", 4))
		json_object_object_add(o, "pty", json_object_new_string(
					       info.label + 4));
	return o;
}

static int chardev_add(struct session *s, struct json_object *args,
		       struct json_object **result, struct error *e)
{
	const char *id = arg_string(args, "id");
	struct config_char c = { 0 };
	int ret = id_check(id, "id", e);

	if (!ret)
		ret = parse_backend(member(args, "backend"), &c, e);
	if (!ret)
		ret = vm_chardev_add(s->monitor->vm, id, &c, e);
	if (!ret)
		*result = added(s->monitor->vm, id);
	return ret;
}

static int chardev_remove(struct session *s, struct json_object *args,
			  struct json_object **result, struct error *e)
{
	(void)result;
	return vm_chardev_remove(s->monitor->vm, arg_string(args, "id"), e);
}

static int query_chardev(struct session *s, struct json_object *args,
			 struct json_object **result, struct error *e)
{
	struct vm_chardev_info info;

	(void)args;
	(void)e;
	*result = json_object_new_array();
	for (size_t i = 0; vm_chardev_info(s->monitor->vm, i, &info); i++) {
		struct json_object *o = json_object_new_object();
		bool listens = !strncmp(info.label, "unix:", 5);
		bool connects = !strncmp(info.label, "connect:", 8);
		char name[300];

		/* As QEMU has it. */
		snprintf(name, sizeof(name), "%s%s%s%s",
			 (listens || connects) && !info.open ?
			 "disconnected:" : "", connects ? "unix:" : "",
			 info.label + (connects ? 8 : 0),
			 listens ? ",server=on" : "");
		json_object_object_add(o, "label",
				       json_object_new_string(info.id));
		json_object_object_add(o, "filename",
				       json_object_new_string(name));
		json_object_object_add(o, "frontend-open",
				       json_object_new_boolean(info.used));
		json_object_array_add(*result, o);
	}
	return 0;
}

static const struct command_arg add_args[] = {
	{ "id", ARG_STRING, true },
	{ "backend", ARG_OBJECT, true },
	{ 0 },
};

static const struct command_arg id_args[] = {
	{ "id", ARG_STRING, true },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "chardev-add",
		.help = "Make a character back end: id, backend={type: socket, "
			"file, pty or null, data}",
		.args = add_args,
		.run = chardev_add,
	}, {
		.name = "chardev-remove",
		.help = "Remove a character back end, id",
		.args = id_args,
		.run = chardev_remove,
	}, {
		.name = "query-chardev",
		.help = "The character back ends",
		.run = query_chardev,
	},
};

const struct command_group chardev_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
