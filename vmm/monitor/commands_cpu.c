/* SPDX-License-Identifier: MIT */
/* vCPUs that come and go, and how much they may run. Main thread. */
#include <errno.h>

#include "cgroup.h"
#include "monitor/drivers.h"
#include "vm_cpus.h"

#define DEFAULT_TIMEOUT_MS 30000

const struct prop driver_cpu_props[] = {
	{ "socket-id", PROP_UINT, false },
	{ "core-id", PROP_UINT, false },
	{ "thread-id", PROP_UINT, false },
	/* Kinds of places that there is one of. */
	{ "die-id", PROP_IGNORED, false },
	{ "module-id", PROP_IGNORED, false },
	{ "node-id", PROP_IGNORED, false },
	{ 0 },
};

static bool is_at(struct json_object *args, const struct vm_cpu_info *info)
{
	return prop_uint(args, "socket-id", info->socket) == info->socket &&
	       prop_uint(args, "core-id", info->core) == info->core &&
	       prop_uint(args, "thread-id", info->thread) == info->thread;
}

/* The first free place that agrees with what was given. */
int driver_cpu_add(struct session *s, struct json_object *args,
		   struct device_spec spec, struct error *e)
{
	struct vm *vm = s->monitor->vm;
	struct vm_cpu_info info;
	bool taken = false;

	for (unsigned int i = 0; i < vm_config(vm)->cpus.max; i++) {
		vm_cpu_info(vm, i, &info);
		if (!is_at(args, &info))
			continue;
		if (!info.present)
			return vm_cpu_add(vm, i, spec.id, e);
		taken = true;
	}
	return taken ? error_class_set(e, ERROR_ALREADY_ATTACHED, -EBUSY,
				       "there is a vCPU already (see "
				       "query-hotpluggable-cpus)") :
		       error_class_set(e, ERROR_NO_AVAILABLE_LOCATION, -ENOENT,
				       "there is no such place for a vCPU (see "
				       "query-hotpluggable-cpus)");
}

static struct json_object *count_json(struct vm *vm)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "count", json_object_new_int64(
				       (int64_t)vm_cpu_count(vm)));
	return o;
}

static int cpu_add(struct session *s, struct json_object *args,
		   struct json_object **result, struct error *e)
{
	uint64_t count = arg_uint(args, "count", 1);
	struct vm *vm = s->monitor->vm;
	unsigned int max = vm_config(vm)->cpus.max;
	struct vm_cpu_info info;
	int ret = 0;

	if (count > max - vm_cpu_count(vm))
		return error_class_set(e, ERROR_NO_AVAILABLE_LOCATION, -ENOSPC,
				       "there are %zu vCPUs of at most %u "
				       "(--cpus max=)", vm_cpu_count(vm), max);
	for (unsigned int i = 0; !ret && count && i < max; i++) {
		vm_cpu_info(vm, i, &info);
		if (info.present)
			continue;
		ret = vm_cpu_add(vm, i, NULL, e);
		count--;
	}
	if (!ret)
		*result = count_json(vm);
	return ret;
}

/* Asks for the last ones; ids are those that the guest has to let go. */
static int remove_cpus(struct vm *vm, uint64_t count, struct json_object *ids,
		       struct error *e)
{
	struct vm_cpu_info info;
	int ret = 0;

	for (unsigned int i = vm_config(vm)->cpus.max; !ret && count && i--;) {
		vm_cpu_info(vm, i, &info);
		if (!info.present)
			continue;
		ret = vm_cpu_remove(vm, i, e);
		count--;
		/* Before the guest runs there is nobody to wait for. */
		if (!ret && vm_cpu_find(vm, info.id) >= 0)
			json_object_array_add(ids, json_object_new_string(
						      info.id));
	}
	return ret;
}

static int cpu_remove(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	uint64_t count = arg_uint(args, "count", 1);
	struct vm *vm = s->monitor->vm;
	struct json_object *ids;
	int ret = wait_check(s, e);

	(void)result;
	if (ret)
		return ret;
	if (count >= vm_cpu_count(vm))
		return error_config(e, -EINVAL, "count: there are %zu vCPUs, "
				    "and one stays", vm_cpu_count(vm));
	ids = json_object_new_array();
	ret = remove_cpus(vm, count, ids, e);
	if (!ret && json_object_array_length(ids))
		ret = wait_deleted(s, ids, arg_uint(args, "timeout-ms",
						    DEFAULT_TIMEOUT_MS), e);
	json_object_put(ids);
	return ret;
}

static int cpu_limits(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	const struct cgroup_cpu c = {
		.set_limit = arg_given(args, "limit"),
		.limit_percent = arg_uint(args, "limit", 0),
		.set_weight = arg_given(args, "weight"),
		.weight = arg_uint(args, "weight", 0),
	};

	(void)s;
	(void)result;
	if (arg_given(args, "reservation") || arg_given(args, "mhz"))
		return error_class_set(e, ERROR_NOT_SUPPORTED, -ENOTSUP,
				       "a cgroup has neither a reservation nor "
				       "a frequency");
	if (!c.set_limit && !c.set_weight)
		return error_class_set(e, ERROR_MISSING_PARAMETER, -EINVAL,
				       "neither limit nor weight");
	return cgroup_set_cpu(arg_string(args, "cgroup"), &c, e);
}

static const struct command_arg limits_args[] = {
	{ "limit", ARG_UINT, false },
	{ "weight", ARG_UINT, false },
	{ "cgroup", ARG_STRING, false },
	{ "reservation", ARG_ANY, false },
	{ "mhz", ARG_ANY, false },
	{ 0 },
};

static const struct command_arg add_args[] = {
	{ "count", ARG_UINT, false },
	{ 0 },
};

static const struct command_arg remove_args[] = {
	{ "count", ARG_UINT, false },
	{ "timeout-ms", ARG_UINT, false },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "cpu-add",
		.help = "Add vCPUs, [count], up to --cpus max=",
		.args = add_args,
		.resource = true,
		.run = cpu_add,
	}, {
		.name = "cpu-remove",
		.help = "Ask the guest to let the last vCPUs go, and wait: "
			"[count], [timeout-ms]",
		.args = remove_args,
		.resource = true,
		.run = cpu_remove,
	}, {
		.name = "cpu-limits",
		.help = "Limits of a cgroup v2, by default mote's: [limit] (% "
			"of a processor; 0: none), [weight], [cgroup]",
		.args = limits_args,
		.resource = true,
		.run = cpu_limits,
	},
};

const struct command_group cpu_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
