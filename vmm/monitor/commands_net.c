/* SPDX-License-Identifier: MIT */
/* Commands about network devices. Main thread. */
#include "monitor/internal.h"

static const struct command_arg set_link_args[] = {
	{ "name", ARG_STRING, true },
	{ "up", ARG_BOOL, true },
	{ 0 },
};

static int set_link(struct session *s, struct json_object *args,
		    struct json_object **result, struct error *e)
{
	(void)result;
	return vm_set_link(s->monitor->vm, arg_string(args, "name"),
			   arg_bool(args, "up", true), e);
}

static const struct command commands[] = {
	{
		.name = "set_link",
		.help = "Plug a network device's cable in or out: name, up",
		.args = set_link_args,
		.run = set_link,
	},
};

const struct command_group net_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
