/* SPDX-License-Identifier: MIT */
/*
 * qom-get and qom-set: of QEMU's object tree there are the virtio-mem and the
 * balloon. Main thread.
 */
#include <errno.h>
#include <string.h>

#include "monitor/internal.h"
#include "vm_devices.h"
#include "vm_memory.h"
#include "vm_mems.h"

/* Objects are named by id or path. */
static const char *id_of(const char *path)
{
	return strncmp(path, "/machine/peripheral/", 20) ? path : path + 20;
}

static int find_mem(struct session *s, struct json_object *args,
		    struct vm_mem_info *mem, struct error *e)
{
	const char *path = arg_string(args, "path");
	int n = vm_mem_find(s->monitor->vm, id_of(path));

	if (n >= 0) {
		vm_mem_info(s->monitor->vm, (unsigned int)n, mem);
		return n;
	}
	return error_class_set(e, ERROR_DEVICE_NOT_FOUND, -ENOENT,
			       "Device '%s' not found", path);
}

static int no_property(struct json_object *args, const char *driver,
		       struct error *e)
{
	return error_set(e, -ENOENT, "Property '%s.%s' not found", driver,
			 arg_string(args, "property"));
}

static int get_mem(struct session *s, struct json_object *args,
		   struct json_object **result, struct error *e)
{
	struct vm_mem_info mem = { .id = NULL };
	int ret = find_mem(s, args, &mem, e);
	const struct {
		const char *name;
		uint64_t value;
	} properties[] = {
		{ "requested-size", mem.requested }, { "size", mem.plugged },
		{ "memaddr", mem.base }, { "block-size",
					   VIRTIO_MEM_BLOCK_BYTES },
	};

	for (size_t i = 0; ret >= 0 && i < 4; i++) {
		if (strcmp(properties[i].name, arg_string(args, "property")))
			continue;
		*result = json_object_new_uint64(properties[i].value);
		return 0;
	}
	return ret < 0 ? ret : no_property(args, "virtio-mem-pci", e);
}

/* Is the path that of the balloon? */
static bool is_balloon(struct session *s, struct json_object *args)
{
	const char *id = id_of(arg_string(args, "path"));
	const struct device *device = vm_device_find(s->monitor->vm, id);

	return device && device->type == DEVICE_BALLOON;
}

/* QEMU's names. */
static struct json_object *balloon_stats(const struct vm *vm)
{
	static const char *const names[BALLOON_STATS] = {
		[BALLOON_STAT_SWAP_IN] = "stat-swap-in",
		[BALLOON_STAT_SWAP_OUT] = "stat-swap-out",
		[BALLOON_STAT_MAJOR_FAULTS] = "stat-major-faults",
		[BALLOON_STAT_MINOR_FAULTS] = "stat-minor-faults",
		[BALLOON_STAT_FREE] = "stat-free-memory",
		[BALLOON_STAT_TOTAL] = "stat-total-memory",
		[BALLOON_STAT_AVAILABLE] = "stat-available-memory",
		[BALLOON_STAT_CACHES] = "stat-disk-caches",
		[BALLOON_STAT_HTLB_ALLOC] = "stat-htlb-pgalloc",
		[BALLOON_STAT_HTLB_FAIL] = "stat-htlb-pgfail",
	};
	struct json_object *o = json_object_new_object();
	struct json_object *stats = json_object_new_object();

	for (unsigned int i = 0; i < BALLOON_STATS; i++)
		json_object_object_add(stats, names[i], json_object_new_uint64(
					       vm_balloon_stat(vm, i)));
	json_object_object_add(o, "last-update", json_object_new_int64(
				       vm_balloon_stats_time(vm)));
	json_object_object_add(o, "stats", stats);
	return o;
}

static int qom_get(struct session *s, struct json_object *args,
		   struct json_object **result, struct error *e)
{
	const char *property = arg_string(args, "property");

	if (!is_balloon(s, args))
		return get_mem(s, args, result, e);
	if (!strcmp(property, "guest-stats"))
		*result = balloon_stats(s->monitor->vm);
	else if (!strcmp(property, "guest-stats-polling-interval"))
		*result = json_object_new_int64(
			vm_balloon_stats_interval(s->monitor->vm));
	else
		return no_property(args, "virtio-balloon-pci", e);
	return 0;
}

static int bad_value(struct error *e)
{
	return error_set(e, -EINVAL, "Invalid parameter type for 'value', "
			 "expected: integer");
}

/* In QEMU's words. */
static int set_balloon(struct vm *vm, struct json_object *args,
		       struct json_object *value, struct error *e)
{
	int64_t seconds = json_object_get_int64(value);

	if (strcmp(arg_string(args, "property"),
		   "guest-stats-polling-interval"))
		return no_property(args, "virtio-balloon-pci", e);
	if (!json_object_is_type(value, json_type_int))
		return bad_value(e);
	if (seconds < 0)
		return error_set(e, -EINVAL, "timer value must be greater than "
				 "zero");
	if (seconds > UINT32_MAX)
		return error_set(e, -EINVAL, "timer value is too big");
	vm_balloon_set_stats_interval(vm, (uint32_t)seconds);
	return 0;
}

static int qom_set(struct session *s, struct json_object *args,
		   struct json_object **result, struct error *e)
{
	struct json_object *value = json_object_object_get(args, "value");
	struct vm_mem_info mem;
	int n, ret;

	(void)result;
	if (is_balloon(s, args))
		return set_balloon(s->monitor->vm, args, value, e);
	n = find_mem(s, args, &mem, e);
	if (n < 0)
		return n;
	if (strcmp(arg_string(args, "property"), "requested-size"))
		return no_property(args, "virtio-mem-pci", e);
	if (!json_object_is_type(value, json_type_int) ||
	    json_object_get_int64(value) < 0)
		return bad_value(e);
	ret = vm_mem_request(s->monitor->vm, (unsigned int)n,
			     json_object_get_uint64(value), e);
	return ret ? error_prefix(e, ret, "requested-size") : 0;
}

static const struct command_arg qom_get_args[] = {
	{ "path", ARG_STRING, true },
	{ "property", ARG_STRING, true },
	{ 0 },
};

static const struct command_arg qom_set_args[] = {
	{ "path", ARG_STRING, true },
	{ "property", ARG_STRING, true },
	{ "value", ARG_ANY, true },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "qom-get",
		.help = "A property of a virtio-mem or a balloon: path (its id), "
			"property (requested-size, size; guest-stats)",
		.args = qom_get_args,
		.run = qom_get,
	}, {
		.name = "qom-set",
		.help = "What a virtio-mem is to plug, path (its id), "
			"property=requested-size, value (bytes); how often a "
			"balloon's guest is asked, "
			"property=guest-stats-polling-interval (seconds)",
		.args = qom_set_args,
		.run = qom_set,
	},
};

const struct command_group qom_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
