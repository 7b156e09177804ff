/* SPDX-License-Identifier: MIT */
/* Sending a VM to another process, with QEMU's names. Main thread. */
#include <errno.h>
#include <string.h>

#include "migrate.h"
#include "monitor/internal.h"
#include "monitor/props.h"

#define PAGE_BYTES 4096

/* ---- what it does ---------------------------------------------------------- */

static const char *status_name(enum vm_migrate_status status)
{
	static const char *const names[] = {
		[VM_MIGRATE_NONE] = "none",
		[VM_MIGRATE_SETUP] = "setup",
		[VM_MIGRATE_ACTIVE] = "active",
		[VM_MIGRATE_CANCELLING] = "cancelling",
		[VM_MIGRATE_CANCELLED] = "cancelled",
		[VM_MIGRATE_COMPLETED] = "completed",
		[VM_MIGRATE_FAILED] = "failed",
	};

	return names[status];
}

static void put(struct json_object *o, const char *name, uint64_t value)
{
	json_object_object_add(o, name, json_object_new_uint64(value));
}

void progress_put(struct json_object *o, uint64_t done, uint64_t total,
		  uint64_t passed_ms)
{
	double rate = passed_ms ? (double)done / (double)passed_ms : 0;

	put(o, "total", total);
	put(o, "remaining", total - done);
	put(o, "bytes-per-second", (uint64_t)(rate * 1000));
	if (done && passed_ms)
		put(o, "seconds-left", (uint64_t)((double)(total - done) /
						  rate / 1000 + 1));
}

static struct json_object *ram_json(const struct vm_migrate_info *i)
{
	/* What is sent is a little more than pages. */
	uint64_t pages = i->done / PAGE_BYTES, sent = i->sent / PAGE_BYTES;
	uint64_t normal = sent < pages ? sent : pages;
	struct json_object *o = json_object_new_object();

	put(o, "transferred", i->sent);
	put(o, "remaining", i->total - i->done);
	put(o, "total", i->total);
	put(o, "page-size", PAGE_BYTES);
	put(o, "normal", normal);
	put(o, "normal-bytes", normal * PAGE_BYTES);
	put(o, "duplicate", pages - normal);
	put(o, "skipped", 0);
	put(o, "dirty-pages-rate", 0);
	put(o, "dirty-sync-count", 1);
	json_object_object_add(o, "mbps", json_object_new_double(
				       i->total_ms ? (double)i->sent * 8 /
						     1000 / (double)i->total_ms :
						     0));
	return o;
}

struct json_object *migrate_event_json(struct vm *vm)
{
	struct json_object *o = json_object_new_object();
	struct vm_migrate_info i;

	vm_migrate_info(vm, &i);
	json_object_object_add(o, "status",
			       json_object_new_string(status_name(i.status)));
	if (i.status != VM_MIGRATE_ACTIVE || !i.total)
		return o;
	progress_put(o, i.done, i.total, i.total_ms);
	return o;
}

static int query_migrate(struct session *s, struct json_object *args,
			 struct json_object **result, struct error *e)
{
	struct vm_migrate_info i;

	(void)args;
	(void)e;
	vm_migrate_info(s->monitor->vm, &i);
	*result = json_object_new_object();
	if (i.status == VM_MIGRATE_NONE)
		return 0;
	json_object_object_add(*result, "status", json_object_new_string(
					status_name(i.status)));
	if (i.status == VM_MIGRATE_FAILED) {
		json_object_object_add(*result, "error-desc",
				       json_object_new_string(i.error.text));
		return 0;
	}
	put(*result, "total-time", i.total_ms);
	put(*result, "setup-time", i.setup_ms);
	if (i.status == VM_MIGRATE_COMPLETED)
		put(*result, "downtime", i.total_ms);
	json_object_object_add(*result, "ram", ram_json(&i));
	return 0;
}

/* ---- to do it --------------------------------------------------------------- */

static int migrate(struct session *s, struct json_object *args,
		   struct json_object **result, struct error *e)
{
	static const char *const others[] = { "blk", "inc", "resume" };

	(void)result;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (arg_bool(args, others[i], false))
			return error_class_set(e, ERROR_NOT_SUPPORTED,
					       -EOPNOTSUPP, "%s: is not "
					       "supported", others[i]);
	return vm_migrate(s->monitor->vm, arg_string(args, "uri"), e);
}

static int migrate_incoming(struct session *s, struct json_object *args,
			    struct json_object **result, struct error *e)
{
	(void)result;
	return vm_migrate_incoming(s->monitor->vm, arg_string(args, "uri"), e);
}

static int migrate_cancel(struct session *s, struct json_object *args,
			  struct json_object **result, struct error *e)
{
	(void)args;
	(void)result;
	(void)e;
	vm_migrate_cancel(s->monitor->vm);
	return 0;
}

/* ---- capabilities ------------------------------------------------------------ */

static int set_capability(struct vm_migrate_capabilities *c,
			  struct json_object *o, struct error *e)
{
	static const struct prop props[] = {
		{ "capability", PROP_STRING, true },
		{ "state", PROP_BOOL, true },
		{ 0 },
	};
	static const struct prop none[] = { { 0 } };
	const char *name;
	int ret;

	if (!json_object_is_type(o, json_type_object))
		return error_set(e, -EINVAL, "Invalid parameter type for "
				 "'capabilities', expected: object");
	ret = props_check(o, "capabilities", none, props, e);
	if (ret)
		return ret;
	name = prop_string(o, "capability");
	if (!strcmp(name, "x-ignore-shared"))
		c->ignore_shared = prop_bool(o, "state", false);
	else if (!strcmp(name, "events"))
		c->events = prop_bool(o, "state", false);
	else
		return error_set(e, -EINVAL, "Parameter 'capability' does not "
				 "accept value '%s'", name);
	return 0;
}

static int set_capabilities(struct session *s, struct json_object *args,
			    struct json_object **result, struct error *e)
{
	struct json_object *list = json_object_object_get(args,
							  "capabilities");
	struct vm_migrate_capabilities c;
	int ret = 0;

	(void)result;
	vm_migrate_capabilities(s->monitor->vm, &c);
	for (size_t i = 0; !ret && i < json_object_array_length(list); i++)
		ret = set_capability(&c, json_object_array_get_idx(list, i), e);
	return ret ? ret : vm_migrate_set_capabilities(s->monitor->vm, &c, e);
}

static void put_capability(struct json_object *list, const char *name,
			   bool state)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "capability", json_object_new_string(name));
	json_object_object_add(o, "state", json_object_new_boolean(state));
	json_object_array_add(list, o);
}

static int query_capabilities(struct session *s, struct json_object *args,
			      struct json_object **result, struct error *e)
{
	struct vm_migrate_capabilities c;

	(void)args;
	(void)e;
	vm_migrate_capabilities(s->monitor->vm, &c);
	*result = json_object_new_array();
	put_capability(*result, "x-ignore-shared", c.ignore_shared);
	put_capability(*result, "events", c.events);
	return 0;
}

/* ---- the table --------------------------------------------------------------- */

static const struct command_arg migrate_args[] = {
	{ "uri", ARG_STRING, true },
	{ "detach", ARG_BOOL, false },
	{ "blk", ARG_BOOL, false },
	{ "inc", ARG_BOOL, false },
	{ "resume", ARG_BOOL, false },
	{ 0 },
};

static const struct command_arg incoming_args[] = {
	{ "uri", ARG_STRING, true },
	{ 0 },
};

static const struct command_arg capabilities_args[] = {
	{ "capabilities", ARG_ARRAY, true },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "migrate",
		.help = "Send the VM, which is paused: uri (file:PATH, "
			"exec:COMMAND or unix:PATH)",
		.args = migrate_args,
		.run = migrate,
	}, {
		.name = "migrate-incoming",
		.help = "Under --incoming defer, receive it: uri (file:PATH, "
			"exec:COMMAND or unix:PATH)",
		.args = incoming_args,
		.run = migrate_incoming,
	}, {
		.name = "migrate_cancel",
		.help = "End what migrate has begun; the VM is as before",
		.run = migrate_cancel,
	}, {
		.name = "migrate-cancel",
		.help = "The same",
		.run = migrate_cancel,
	}, {
		.name = "query-migrate",
		.help = "How far migrate or migrate-incoming is",
		.run = query_migrate,
	}, {
		.name = "migrate-set-capabilities",
		.help = "capabilities ([{capability, state}]): x-ignore-shared "
			"(RAM in a shared file is not sent), events",
		.args = capabilities_args,
		.run = set_capabilities,
	}, {
		.name = "query-migrate-capabilities",
		.help = "What migrate-set-capabilities has set",
		.run = query_capabilities,
	},
};

const struct command_group migrate_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
