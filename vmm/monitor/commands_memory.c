/* SPDX-License-Identifier: MIT */
/* Commands about the guest's memory. Main thread. */
#include "monitor/internal.h"
#include "vm_memory.h"

static int balloon(struct session *s, struct json_object *args,
		   struct json_object **result, struct error *e)
{
	(void)result;
	return vm_balloon_set(s->monitor->vm, arg_uint(args, "value", 0), e);
}

static int query_balloon(struct session *s, struct json_object *args,
			 struct json_object **result, struct error *e)
{
	uint64_t bytes;
	int ret = vm_balloon_get(s->monitor->vm, &bytes, e);

	(void)args;
	if (ret)
		return ret;
	*result = json_object_new_object();
	json_object_object_add(*result, "actual",
			       json_object_new_uint64(bytes));
	return 0;
}

static const struct command_arg balloon_args[] = {
	{ "value", ARG_UINT, true },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "balloon",
		.help = "Ask the guest to do with less memory: value (bytes it "
			"keeps); then BALLOON_CHANGE",
		.args = balloon_args,
		.run = balloon,
	}, {
		.name = "query-balloon",
		.help = "The memory that the balloon leaves to the guest",
		.run = query_balloon,
	},
};

const struct command_group memory_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
