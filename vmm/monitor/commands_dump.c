/* SPDX-License-Identifier: MIT */
/* The guest's memory as a core file, with QEMU's names. Main thread. */
#include <errno.h>
#include <string.h>

#include "dump.h"
#include "monitor/internal.h"

static int invalid(const char *name, struct error *e)
{
	return error_set(e, -EINVAL, "Invalid parameter '%s'", name);
}

/* QEMU's formats that are not here are refused as what they are. */
static int check_form(struct json_object *args, struct error *e)
{
	static const char *const known[] = { "kdump-zlib", "kdump-lzo",
					     "kdump-snappy", "win-dmp",
					     "kdump-raw-zlib", "kdump-raw-lzo",
					     "kdump-raw-snappy" };
	const char *format = arg_string(args, "format");

	if (arg_bool(args, "paging", false))
		return error_class_set(e, ERROR_NOT_SUPPORTED, -EOPNOTSUPP,
				       "paging: only physical memory can be "
				       "dumped");
	if (!format || !strcmp(format, "elf"))
		return 0;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(format, known[i]))
			return error_class_set(e, ERROR_NOT_SUPPORTED,
					       -EOPNOTSUPP, "format: %s is not "
					       "supported; elf is", format);
	return error_set(e, -EINVAL, "Parameter 'format' does not accept value "
			 "'%s'", format);
}

static int check_range(struct json_object *args, struct error *e)
{
	bool begin = json_object_object_get(args, "begin");
	bool length = json_object_object_get(args, "length");

	if (begin == length)
		return 0;
	return error_set(e, -EINVAL, "Parameter '%s' is missing",
			 begin ? "length" : "begin");
}

/* uri or fd of the parameters. */
static int take_protocol(struct session *s, const char *protocol,
			 struct vm_dump_params *p, struct error *e)
{
	if (!strncmp(protocol, "file:", 5)) {
		p->uri = protocol;
		return 0;
	}
	if (strncmp(protocol, "fd:", 3))
		return invalid("protocol", e);
	p->fd = session_named_fd(s, protocol + 3, e);
	return p->fd < 0 ? p->fd : 0;
}

static int dump(struct session *s, struct json_object *args,
		struct json_object **result, struct error *e)
{
	struct vm_dump_params p = {
		.fd = -1,
		.begin = arg_uint(args, "begin", 0),
		.len_bytes = arg_uint(args, "length", UINT64_MAX),
	};
	bool detach = arg_bool(args, "detach", false);
	int ret = check_form(args, e);

	(void)result;
	if (!ret && !detach)
		ret = wait_check(s, e);
	if (!ret)
		ret = check_range(args, e);
	if (!ret)
		ret = take_protocol(s, arg_string(args, "protocol"), &p, e);
	if (!ret)
		ret = vm_dump(s->monitor->vm, &p, e);
	return ret || detach ? ret : wait_dump(s, e);
}

struct json_object *dump_status_json(const struct vm_dump_status *status)
{
	static const char *const names[] = {
		[VM_DUMP_NONE] = "none",
		[VM_DUMP_ACTIVE] = "active",
		[VM_DUMP_COMPLETED] = "completed",
		[VM_DUMP_FAILED] = "failed",
	};
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "status",
			       json_object_new_string(names[status->state]));
	json_object_object_add(o, "completed",
			       json_object_new_uint64(status->completed));
	json_object_object_add(o, "total",
			       json_object_new_uint64(status->total));
	return o;
}

static int query_dump(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	struct vm_dump_status status;

	(void)args;
	(void)e;
	vm_dump_status(s->monitor->vm, &status);
	*result = dump_status_json(&status);
	return 0;
}

static int query_capability(struct session *s, struct json_object *args,
			    struct json_object **result, struct error *e)
{
	struct json_object *formats = json_object_new_array();

	(void)s;
	(void)args;
	(void)e;
	json_object_array_add(formats, json_object_new_string("elf"));
	*result = json_object_new_object();
	json_object_object_add(*result, "formats", formats);
	return 0;
}

static const struct command_arg dump_args[] = {
	{ "paging", ARG_BOOL, true },
	{ "protocol", ARG_STRING, true },
	{ "detach", ARG_BOOL, false },
	{ "begin", ARG_UINT, false },
	{ "length", ARG_UINT, false },
	{ "format", ARG_STRING, false },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "dump-guest-memory",
		.help = "Write a core file for crash and gdb: paging=false, "
			"protocol (file:PATH or fd:NAME), [detach], [begin], "
			"[length]",
		.args = dump_args,
		.run = dump,
	}, {
		.name = "query-dump",
		.help = "How far the last dump is",
		.run = query_dump,
	}, {
		.name = "query-dump-guest-memory-capability",
		.help = "The formats of dump-guest-memory",
		.run = query_capability,
	},
};

const struct command_group dump_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
