/* SPDX-License-Identifier: MIT */
/* stats and properties. Main thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "exit_report.h"
#include "monitor/internal.h"
#include "vm_devices.h"
#include "vm_memory.h"

/* One of the things that can be asked for. */
struct subject {
	const char *name;
	struct json_object *(*get)(struct vm *vm);
};

static void put(struct json_object *o, const char *key,
		struct json_object *value)
{
	json_object_object_add(o, key, value);
}

static struct json_object *text(const char *t)
{
	return t ? json_object_new_string(t) : NULL;
}

static struct json_object *get_memory(struct vm *vm)
{
	struct json_object *o = json_object_new_object();
	uint64_t available = vm_balloon_stat(vm, BALLOON_STAT_AVAILABLE);
	uint64_t requested, plugged;

	vm_memory_sizes(vm, &requested, &plugged);
	put(o, "assigned", json_object_new_uint64(plugged));
	/* Only the guest knows; the balloon tells. */
	put(o, "available", available == BALLOON_STAT_UNKNOWN ? NULL :
	    json_object_new_uint64(available));
	return o;
}

/*
 * The CPU time of another thread of this process: the kernel's encoding of its
 * clock (posix-timers.h), which pthread_getcpuclockid() gives for a pthread_t.
 */
static clockid_t thread_clock(pid_t tid)
{
	return (clockid_t)(~(unsigned int)tid << 3 | 4 | 2);
}

static struct json_object *get_cpus(struct vm *vm)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < vm_config(vm)->cpus.max; i++) {
		struct timespec t = { 0 };
		struct vm_cpu_info info;
		struct json_object *o;

		vm_cpu_info(vm, i, &info);
		if (!info.present)
			continue;
		o = json_object_new_object();
		clock_gettime(thread_clock(info.thread_id), &t);
		put(o, "index", json_object_new_int64((int64_t)i));
		put(o, "thread-id", json_object_new_int64(info.thread_id));
		put(o, "time-ns", json_object_new_int64(
				t.tv_sec * 1000000000ll + t.tv_nsec));
		json_object_array_add(list, o);
	}
	return list;
}

/* ---- devices: a list of all of a type ------------------------------------- */

static struct json_object *list_of(struct vm *vm, enum device_type type,
				   void (*describe)(struct json_object *o,
						    struct vm *vm,
						    const struct device *d))
{
	struct json_object *list = json_object_new_array();

	for (const struct device *d = vm_device_first(vm); d; d = d->next) {
		struct json_object *o;

		if (d->type != type)
			continue;
		o = json_object_new_object();
		describe(o, vm, d);
		json_object_array_add(list, o);
	}
	return list;
}

static void put_disk(struct json_object *o, struct vm *vm,
		     const struct device *d)
{
	const struct config_disk *disk = d->config;
	unsigned int at = disk->address - 1;

	put(o, "id", text(d->id));
	put(o, "path", text(disk->path));
	put(o, "readonly", json_object_new_boolean(disk->readonly));
	put(o, "size", json_object_new_uint64(vm_disk_size_bytes(vm, d)));
	put(o, "controller", disk->address ?
	    json_object_new_int64(at / CONFIG_DISK_LUNS) : NULL);
	put(o, "lun", disk->address ?
	    json_object_new_int64(at % CONFIG_DISK_LUNS) : NULL);
	disk_put_counters(o, d);
}

static struct json_object *get_disks(struct vm *vm)
{
	return list_of(vm, DEVICE_DISK, put_disk);
}

static void put_pmem(struct json_object *o, struct vm *vm,
		     const struct device *d)
{
	const struct config_pmem *pmem = d->config;

	(void)vm;
	put(o, "id", text(d->id));
	put(o, "slot", json_object_new_int64(vm_pmem_slot(d)));
	put(o, "path", text(pmem->path));
	put(o, "readonly", json_object_new_boolean(pmem->readonly));
	put(o, "size", json_object_new_uint64(vm_pmem_size_bytes(d)));
}

static struct json_object *get_pmem(struct vm *vm)
{
	return list_of(vm, DEVICE_PMEM, put_pmem);
}

/* The kernel counts what vhost moves, on its interface: null here. */
static void put_counters(struct json_object *o, const char *direction,
			 const struct virtio_net_counters *c, bool known)
{
	const struct {
		const char *name;
		uint64_t value;
	} counters[] = {
		{ "bytes", c->bytes }, { "packets", c->packets },
		{ "errors", c->errors }, { "drops", c->drops },
	};
	char key[32];

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
		snprintf(key, sizeof(key), "%s-%s", direction,
			 counters[i].name);
		put(o, key, known ? json_object_new_uint64(counters[i].value) :
				    NULL);
	}
}

static void put_nic(struct json_object *o, struct vm *vm,
		    const struct device *d)
{
	const struct config_net *net = d->config;
	struct vm_nic_state state;

	vm_nic_state(vm, d, &state);
	put(o, "id", text(d->id));
	put(o, "mac", text(net->mac));
	put(o, "link", text(state.link_up ? "up" : "down"));
	put(o, "vhost", json_object_new_boolean(net->vhost));
	put_counters(o, "received", &state.received, !net->vhost);
	put_counters(o, "sent", &state.sent, !net->vhost);
}

static struct json_object *get_nics(struct vm *vm)
{
	return list_of(vm, DEVICE_NET, put_nic);
}

static void put_share(struct json_object *o, struct vm *vm,
		      const struct device *d)
{
	const struct config_9p *share = d->config;

	(void)vm;
	put(o, "tag", text(share->tag));
	put(o, "path", text(share->path));
	put(o, "readonly", json_object_new_boolean(share->readonly));
	put(o, "allowed", text(share->allowed));
	put(o, "refs", json_object_new_int64(d->uses));
}

static struct json_object *get_shares(struct vm *vm)
{
	return list_of(vm, DEVICE_9P, put_share);
}

/* ---- the VM --------------------------------------------------------------- */

/* Started and stopped, and after the end how it was. */
static struct json_object *get_life(struct vm *vm)
{
	struct json_object *report = exit_report_json(vm_exit_report(vm));
	struct json_object *o = json_object_new_object(), *v;

	put(o, "status", text(vm_state_name(vm_state(vm))));
	if (json_object_object_get_ex(report, "started", &v))
		put(o, "started", json_object_get(v));
	if (json_object_object_get_ex(report, "stopped", &v))
		put(o, "stopped", json_object_get(v));
	put(o, "exit-report", vm_state(vm) == VM_SHUTDOWN ?
	    json_object_get(report) : NULL);
	json_object_put(report);
	return o;
}

static struct json_object *get_identity(struct vm *vm)
{
	struct json_object *o = json_object_new_object();

	put(o, "id", text(vm_config(vm)->id));
	put(o, "uuid", text(vm_config(vm)->uuid));
	return o;
}

static struct json_object *get_cpu_counts(struct vm *vm)
{
	struct json_object *o = json_object_new_object();

	put(o, "count", json_object_new_int64((int64_t)vm_cpu_count(vm)));
	put(o, "max", json_object_new_int64(vm_config(vm)->cpus.max));
	return o;
}

static const struct subject stats_subjects[] = {
	{ "memory", get_memory },
	{ "cpu", get_cpus },
	{ "disk", get_disks },
	{ "pmem", get_pmem },
	{ "nic", get_nics },
	{ "share", get_shares },
	{ "life", get_life },
	{ 0 },
};

static const struct subject property_subjects[] = {
	{ "identity", get_identity },
	{ "memory", get_memory },
	{ "cpu", get_cpu_counts },
	{ "disk", get_disks },
	{ "pmem", get_pmem },
	{ "nic", get_nics },
	{ "share", get_shares },
	{ "life", get_life },
	{ 0 },
};

static const struct subject *find(const struct subject *subjects,
				  struct json_object *name)
{
	for (; subjects->name; subjects++)
		if (json_object_is_type(name, json_type_string) &&
		    !strcmp(subjects->name, json_object_get_string(name)))
			return subjects;
	return NULL;
}

/* Those in args' types, or all. */
static int report(struct vm *vm, const struct subject *subjects,
		  struct json_object *args, struct json_object **result,
		  struct error *e)
{
	struct json_object *o = json_object_new_object(), *types;

	if (!json_object_object_get_ex(args, "types", &types)) {
		for (; subjects->name; subjects++)
			put(o, subjects->name, subjects->get(vm));
		*result = o;
		return 0;
	}
	for (size_t i = 0; i < json_object_array_length(types); i++) {
		struct json_object *name = json_object_array_get_idx(types, i);
		const struct subject *subject = find(subjects, name);

		if (!subject) {
			json_object_put(o);
			return error_config(e, -EINVAL, "types: there is no %s",
					    json_object_to_json_string(name));
		}
		put(o, subject->name, subject->get(vm));
	}
	*result = o;
	return 0;
}

static int stats(struct session *s, struct json_object *args,
		 struct json_object **result, struct error *e)
{
	return report(s->monitor->vm, stats_subjects, args, result, e);
}

static int properties(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	return report(s->monitor->vm, property_subjects, args, result, e);
}

static const struct command_arg types_args[] = {
	{ "types", ARG_ARRAY, false },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "stats",
		.help = "What the VM uses, [types]: memory, cpu, disk, pmem, "
			"nic, share, life",
		.args = types_args,
		.resource = true,
		.run = stats,
	}, {
		.name = "properties",
		.help = "What the VM is, [types]: identity, memory, cpu, disk, "
			"pmem, nic, share, life",
		.args = types_args,
		.resource = true,
		.run = properties,
	},
};

const struct command_group stats_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
