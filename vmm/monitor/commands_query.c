/* SPDX-License-Identifier: MIT */
/* Commands that tell about the VM and change nothing. Main thread. */
#include <stdio.h>
#include <sys/utsname.h>

#include "monitor/internal.h"

static int query_status(struct session *s, struct json_object *args,
			struct json_object **result, struct error *e)
{
	enum vm_state state = vm_state(s->monitor->vm);
	struct json_object *o = json_object_new_object();

	(void)args;
	(void)e;
	json_object_object_add(o, "status", json_object_new_string(
				       vm_state_name(state)));
	json_object_object_add(o, "running",
			       json_object_new_boolean(state == VM_RUNNING));
	*result = o;
	return 0;
}

static int query_name(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	const char *id = vm_config(s->monitor->vm)->id;
	struct json_object *o = json_object_new_object();

	(void)args;
	(void)e;
	if (id)
		json_object_object_add(o, "name", json_object_new_string(id));
	*result = o;
	return 0;
}

static int query_uuid(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	const char *uuid = vm_config(s->monitor->vm)->uuid;
	struct json_object *o = json_object_new_object();

	(void)args;
	(void)e;
	json_object_object_add(o, "UUID", json_object_new_string(
			uuid ? uuid : "00000000-0000-0000-0000-000000000000"));
	*result = o;
	return 0;
}

static int query_kvm(struct session *s, struct json_object *args,
		     struct json_object **result, struct error *e)
{
	struct json_object *o = json_object_new_object();

	(void)s;
	(void)args;
	(void)e;
	json_object_object_add(o, "enabled", json_object_new_boolean(1));
	json_object_object_add(o, "present", json_object_new_boolean(1));
	*result = o;
	return 0;
}

static struct json_object *number(unsigned int n)
{
	return json_object_new_int64(n);
}

/* target: the guest's architecture is the host's, named alike by both. */
static struct json_object *cpu_json(const struct vm_cpu_info *info,
				    const char *target)
{
	struct json_object *o = json_object_new_object();
	struct json_object *props = json_object_new_object();
	char path[48];

	snprintf(path, sizeof(path), "/machine/unattached/device[%u]",
		 info->index);
	json_object_object_add(props, "core-id", number(info->core));
	json_object_object_add(props, "thread-id", number(info->thread));
	json_object_object_add(props, "socket-id", number(info->socket));
	json_object_object_add(o, "thread-id",
			       json_object_new_int64(info->thread_id));
	json_object_object_add(o, "props", props);
	json_object_object_add(o, "qom-path", json_object_new_string(path));
	json_object_object_add(o, "cpu-index", number(info->index));
	json_object_object_add(o, "target", json_object_new_string(target));
	return o;
}

static int query_cpus_fast(struct session *s, struct json_object *args,
			   struct json_object **result, struct error *e)
{
	struct json_object *list = json_object_new_array();
	struct vm *vm = s->monitor->vm;
	struct vm_cpu_info info;
	struct utsname host;

	(void)args;
	(void)e;
	uname(&host);
	for (size_t i = 0; i < vm_cpu_count(vm); i++) {
		vm_cpu_info(vm, i, &info);
		json_object_array_add(list, cpu_json(&info, host.machine));
	}
	*result = list;
	return 0;
}

static const struct command commands[] = {
	{
		.name = "query-status",
		.help = "Whether the VM runs",
		.run = query_status,
	}, {
		.name = "query-name",
		.help = "The VM's name (--id)",
		.run = query_name,
	}, {
		.name = "query-uuid",
		.help = "The VM's UUID",
		.run = query_uuid,
	}, {
		.name = "query-kvm",
		.help = "Whether KVM is in use: it is",
		.run = query_kvm,
	}, {
		.name = "query-cpus-fast",
		.help = "The vCPUs, their threads and their places",
		.run = query_cpus_fast,
	},
};

const struct command_group query_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
