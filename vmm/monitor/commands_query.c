/* SPDX-License-Identifier: MIT */
/* Commands that tell about the VM and change nothing. Main thread. */
#include <stdio.h>
#include <sys/utsname.h>

#include "monitor/internal.h"
#include "vm_dimms.h"

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

static struct json_object *cpu_props_json(const struct vm_cpu_info *info)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "core-id", number(info->core));
	json_object_object_add(o, "thread-id", number(info->thread));
	json_object_object_add(o, "socket-id", number(info->socket));
	return o;
}

static struct json_object *cpu_path_json(const struct vm_cpu_info *info)
{
	char path[48];

	snprintf(path, sizeof(path), "/machine/unattached/device[%u]",
		 info->index);
	return json_object_new_string(path);
}

/* target: the guest's architecture is the host's, named alike by both. */
static struct json_object *cpu_json(const struct vm_cpu_info *info,
				    const char *target)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "thread-id",
			       json_object_new_int64(info->thread_id));
	json_object_object_add(o, "props", cpu_props_json(info));
	json_object_object_add(o, "qom-path", cpu_path_json(info));
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
	for (size_t i = 0; i < vm_config(vm)->cpus.max; i++) {
		vm_cpu_info(vm, i, &info);
		if (!info.present)
			continue;
		json_object_array_add(list, cpu_json(&info, host.machine));
	}
	*result = list;
	return 0;
}

/* What QEMU had before 2.12, in its spelling. */
static int query_cpus(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	struct json_object *list = json_object_new_array(), *o;
	struct vm *vm = s->monitor->vm;
	struct vm_cpu_info info;

	(void)args;
	(void)e;
	for (size_t i = 0; i < vm_config(vm)->cpus.max; i++) {
		vm_cpu_info(vm, i, &info);
		if (!info.present)
			continue;
		o = json_object_new_object();
		json_object_object_add(o, "CPU", number(info.index));
		json_object_object_add(o, "current",
				       json_object_new_boolean(!i));
		json_object_object_add(o, "halted", json_object_new_boolean(0));
		json_object_object_add(o, "qom_path", cpu_path_json(&info));
		json_object_object_add(o, "thread_id",
				       json_object_new_int64(info.thread_id));
		json_object_object_add(o, "props", cpu_props_json(&info));
		json_object_array_add(list, o);
	}
	*result = list;
	return 0;
}

/* Every place for a vCPU; one that is taken has a path. */
static int query_hotpluggable_cpus(struct session *s, struct json_object *args,
				   struct json_object **result,
				   struct error *e)
{
	struct json_object *list = json_object_new_array(), *o;
	struct vm *vm = s->monitor->vm;
	struct vm_cpu_info info;
	struct utsname host;
	char type[96];

	(void)args;
	(void)e;
	uname(&host);
	snprintf(type, sizeof(type), "host-%s-cpu", host.machine);
	for (size_t i = 0; i < vm_config(vm)->cpus.max; i++) {
		vm_cpu_info(vm, i, &info);
		o = json_object_new_object();
		json_object_object_add(o, "type", json_object_new_string(type));
		json_object_object_add(o, "vcpus-count", number(1));
		json_object_object_add(o, "props", cpu_props_json(&info));
		if (info.present)
			json_object_object_add(o, "qom-path",
					       cpu_path_json(&info));
		json_object_array_add(list, o);
	}
	*result = list;
	return 0;
}

/* The slot is a string. */
struct json_object *report_json(const struct vm_report *r, const char *id)
{
	struct json_object *o = json_object_new_object();
	char slot[16];

	snprintf(slot, sizeof(slot), "%u", r->slot);
	if (id)
		json_object_object_add(o, "device", json_object_new_string(id));
	json_object_object_add(o, "slot", json_object_new_string(slot));
	json_object_object_add(o, "slot-type", json_object_new_string(
				       r->dimm ? "DIMM" : "CPU"));
	json_object_object_add(o, "source", json_object_new_int64(r->source));
	json_object_object_add(o, "status", json_object_new_int64(r->status));
	return o;
}

static int query_acpi_ospm_status(struct session *s, struct json_object *args,
				  struct json_object **result, struct error *e)
{
	struct vm *vm = s->monitor->vm;
	struct vm_report r;

	(void)args;
	(void)e;
	*result = json_object_new_array();
	for (size_t i = 0; vm_report_last(vm, i, &r); i++) {
		const struct dimm *dimm = vm_dimm_at(vm, r.slot);
		struct vm_cpu_info cpu = { .present = false };
		const char *id = NULL;

		if (!r.dimm)
			vm_cpu_info(vm, r.slot, &cpu);
		if (r.dimm && dimm)
			id = dimm->id;
		else if (cpu.present)
			id = cpu.id;
		json_object_array_add(*result, report_json(&r, id));
	}
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
	}, {
		.name = "query-cpus",
		.help = "The same in the form that QEMU had before 2.12",
		.run = query_cpus,
	}, {
		.name = "query-hotpluggable-cpus",
		.help = "The places for vCPUs, and which are taken",
		.run = query_hotpluggable_cpus,
	}, {
		.name = "query-acpi-ospm-status",
		.help = "What the guest has said of its DIMMs and vCPUs (_OST)",
		.run = query_acpi_ospm_status,
	},
};

const struct command_group query_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
