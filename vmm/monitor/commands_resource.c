/* SPDX-License-Identifier: MIT */
/* What can be changed. Main thread. */
#include <errno.h>
#include <string.h>

#include "monitor/internal.h"

enum operation {
	OP_ADD = 1,
	OP_REMOVE = 2,
	OP_UPDATE = 4,
};

/* What can be done with each kind of resource now: a row grows a bit here when
 * its command comes. */
static const struct {
	const char *name;
	unsigned int operations;
} resources[] = {
	{ "pmem", OP_ADD | OP_REMOVE },
	{ "disk", OP_ADD | OP_REMOVE | OP_UPDATE },
	{ "nic", OP_ADD | OP_REMOVE | OP_UPDATE },
	{ "share", OP_ADD | OP_REMOVE },
	{ "pci", 0 },		/* a device of the host's */
	{ "memory", OP_ADD | OP_REMOVE | OP_UPDATE },
	{ "cpu", OP_ADD | OP_REMOVE | OP_UPDATE },
	{ "cpu-group", OP_UPDATE },
	{ "vsock", OP_ADD | OP_REMOVE | OP_UPDATE },
};

static unsigned int parse_operation(const char *text)
{
	return !strcmp(text, "add") ? OP_ADD :
	       !strcmp(text, "remove") ? OP_REMOVE :
	       !strcmp(text, "update") ? OP_UPDATE : 0;
}

static int supported(struct session *s, struct json_object *args,
		     struct json_object **result, struct error *e)
{
	const char *resource = arg_string(args, "resource");
	const char *operation = arg_string(args, "operation");
	unsigned int op = parse_operation(operation);

	(void)s;
	if (!op)
		return error_config(e, -EINVAL, "operation: '%s' is none of "
				    "add, remove, update", operation);
	for (size_t i = 0; i < sizeof(resources) / sizeof(resources[0]); i++) {
		if (strcmp(resources[i].name, resource))
			continue;
		*result = json_object_new_boolean(
			(resources[i].operations & op) != 0);
		return 0;
	}
	return error_config(e, -EINVAL, "resource: '%s' is none of pmem, disk, "
			    "nic, share, pci, memory, cpu, cpu-group, vsock",
			    resource);
}

static const struct command_arg supported_args[] = {
	{ "resource", ARG_STRING, true },
	{ "operation", ARG_STRING, true },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "supported",
		.help = "Whether a resource can be changed, resource, operation "
			"(add, remove, update)",
		.args = supported_args,
		.resource = true,
		.run = supported,
	},
};

const struct command_group resource_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
