/* SPDX-License-Identifier: MIT */
/* Commands that save the VM. Main thread. */
#include <errno.h>
#include <string.h>

#include "monitor/internal.h"
#include "snapshot.h"

static int save_type(const char *name, enum save_type *out, struct error *e)
{
	static const struct {
		const char *name;
		enum save_type type;
	} types[] = {
		{ "full", SAVE_FULL },
		{ "diff", SAVE_DIFF },
		{ "template", SAVE_TEMPLATE },
	};

	*out = SAVE_FULL;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		*out = types[i].type;
		if (!strcmp(name, types[i].name))
			return 0;
	}
	return error_config(e, -EINVAL, "save: type '%s' is none of full, diff, "
			    "template", name);
}

/* The reply comes when it is done; a client that leaves takes nothing along. */
static int save(struct session *s, struct json_object *args,
		struct json_object **result, struct error *e)
{
	const char *type = arg_string(args, "type");
	struct save_params p = {
		.directory = arg_string(args, "directory"),
		.base = arg_string(args, "base"),
		.memory_path = arg_string(args, "memory-path"),
		.state_path = arg_string(args, "state-path"),
	};
	int ret = save_type(type ? type : "full", &p.type, e);

	(void)result;
	return ret ? ret : wait_save(s, &p, e);
}

static const struct command_arg save_args[] = {
	{ "directory", ARG_STRING, false },
	{ "type", ARG_STRING, false },
	{ "base", ARG_STRING, false },
	{ "memory-path", ARG_STRING, false },
	{ "state-path", ARG_STRING, false },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "save",
		.help = "Save the paused VM: directory, [type = full, diff or "
			"template], [base], [memory-path], [state-path]",
		.args = save_args,
		.resource = true,
		.run = save,
	},
};

const struct command_group save_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
