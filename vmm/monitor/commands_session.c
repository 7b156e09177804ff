/* SPDX-License-Identifier: MIT */
/* Commands about the session and the monitor itself. Main thread. */
#include <errno.h>

#include "monitor/internal.h"

/*
 * The QEMU whose protocol this is, for clients that decide by version what to
 * send; mote's own version is the package.
 */
#define QEMU_MAJOR	8
#define QEMU_MINOR	2
#define QEMU_MICRO	0

struct json_object *version_json(void)
{
	struct json_object *o = json_object_new_object();
	struct json_object *qemu = json_object_new_object();

	json_object_object_add(qemu, "micro", json_object_new_int(QEMU_MICRO));
	json_object_object_add(qemu, "minor", json_object_new_int(QEMU_MINOR));
	json_object_object_add(qemu, "major", json_object_new_int(QEMU_MAJOR));
	json_object_object_add(o, "qemu", qemu);
	json_object_object_add(o, "package",
			       json_object_new_string("mote " MOTE_VERSION));
	return o;
}

static int check_capability(struct json_object *name, struct error *e)
{
	if (!json_object_is_type(name, json_type_string))
		return error_set(e, -EINVAL, "Invalid parameter type for "
				 "'enable', expected: strings");
	return error_set(e, -EINVAL, "Capability %s not available",
			 json_object_get_string(name));
}

static const struct command_arg capabilities_args[] = {
	{ "enable", ARG_ARRAY, false },
	{ 0 },
};

/* None is offered, so that none can be enabled. */
static int qmp_capabilities(struct session *s, struct json_object *args,
			    struct json_object **result, struct error *e)
{
	struct json_object *enable;

	(void)result;
	if (s->negotiated)
		return error_class_set(e, ERROR_COMMAND_NOT_FOUND, -EALREADY,
				       "Capabilities negotiation is already "
				       "complete, command ignored");
	if (json_object_object_get_ex(args, "enable", &enable) &&
	    json_object_array_length(enable))
		return check_capability(json_object_array_get_idx(enable, 0),
					e);
	s->negotiated = true;
	return 0;
}

static int query_version(struct session *s, struct json_object *args,
			 struct json_object **result, struct error *e)
{
	(void)s;
	(void)args;
	(void)e;
	*result = version_json();
	return 0;
}

/* QEMU gives the names only; `help` is what `mote ctl` lists. */
static int query_commands_run(struct session *s, struct json_object *args,
			      struct json_object **result, struct error *e)
{
	struct json_object *list = json_object_new_array();

	(void)s;
	(void)args;
	(void)e;
	for (size_t g = 0; command_groups[g]; g++) {
		for (size_t i = 0; i < command_groups[g]->count; i++) {
			const struct command *c =
				&command_groups[g]->commands[i];
			struct json_object *o = json_object_new_object();

			json_object_object_add(o, "name",
					       json_object_new_string(c->name));
			json_object_object_add(o, "help",
					       json_object_new_string(c->help));
			json_object_array_add(list, o);
		}
	}
	*result = list;
	return 0;
}

static const struct command commands[] = {
	{
		.name = "qmp_capabilities",
		.help = "Negotiate; the first command of every session",
		.args = capabilities_args,
		.run = qmp_capabilities,
	}, {
		.name = "query-version",
		.help = "The versions of the protocol and of mote",
		.run = query_version,
	}, {
		.name = "query-commands",
		.help = "The commands and what they do",
		.run = query_commands_run,
	},
};

const struct command_group session_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
