/* SPDX-License-Identifier: MIT */
/* Commands about disks. Main thread. */
#include <errno.h>

#include "monitor/internal.h"

/* QEMU's way of naming a disk, by the device or by what is behind it: here
 * both have the disk's id. */
static const struct command_arg resize_args[] = {
	{ "device", ARG_STRING, false },
	{ "node-name", ARG_STRING, false },
	{ "size", ARG_UINT, true },
	{ 0 },
};

static int block_resize_run(struct session *s, struct json_object *args,
			    struct json_object **result, struct error *e)
{
	const char *device = arg_string(args, "device");
	const char *node = arg_string(args, "node-name");

	(void)result;
	if (!device == !node)
		return error_set(e, -EINVAL, "Either 'device' or 'node-name' "
				 "must be given");
	return vm_disk_resize(s->monitor->vm, device ? device : node,
			      arg_uint(args, "size", 0), e);
}

static const struct command commands[] = {
	{
		.name = "block_resize",
		.help = "Make a disk that large: device or node-name, size "
			"in bytes",
		.args = resize_args,
		.run = block_resize_run,
	},
};

const struct command_group block_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
