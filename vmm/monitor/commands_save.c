/* SPDX-License-Identifier: MIT */
/* Commands that save the VM. Main thread. */
#include <errno.h>
#include <string.h>

#include "monitor/internal.h"
#include "snapshot.h"

static int save(struct session *s, struct json_object *args,
		struct json_object **result, struct error *e)
{
	const char *type = arg_string(args, "type");
	bool is_template = type && !strcmp(type, "template");

	(void)result;
	if (type && !strcmp(type, "diff"))
		return error_class_set(e, ERROR_NOT_SUPPORTED, -EOPNOTSUPP,
				       "save: type %s is not supported by this "
				       "version", type);
	if (type && !is_template && strcmp(type, "full"))
		return error_config(e, -EINVAL, "save: type '%s' is none of "
				    "full, diff, template", type);
	return vm_save(s->monitor->vm, is_template ? SAVE_TEMPLATE : SAVE_FULL,
		       arg_string(args, "directory"), e);
}

static const struct command_arg save_args[] = {
	{ "directory", ARG_STRING, true },
	{ "type", ARG_STRING, false },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "save",
		.help = "Save the paused VM: directory, [type = full or template]",
		.args = save_args,
		.resource = true,
		.run = save,
	},
};

const struct command_group save_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
