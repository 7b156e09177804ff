/* SPDX-License-Identifier: MIT */
/* Commands about disks. Main thread. */
#include <errno.h>

#include "monitor/block_nodes.h"
#include "monitor/internal.h"
#include "vm_devices.h"

/* QEMU's way of naming a disk, by the device or by what is behind it: a block
 * node that a device was made from, and else, as of the command line's, its
 * id. */
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

	const struct block_node *n;

	(void)result;
	if (!device == !node)
		return error_set(e, -EINVAL, "Either 'device' or 'node-name' "
				 "must be given");
	n = node ? block_node_find(s->monitor, node) : NULL;
	if (n) {
		const struct device *user = block_node_user(s->monitor, n);

		if (!user || !user->id)
			return error_set(e, -ENODEV, "No device with an id has "
					 "node '%s'", node);
		device = user->id;
	}
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
