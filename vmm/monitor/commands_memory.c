/* SPDX-License-Identifier: MIT */
/* Commands about the guest's memory. Main thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "monitor/internal.h"
#include "vm_dimms.h"
#include "vm_memory.h"

/* A guest that has the driver needs less, but for memory it cannot free. */
#define DEFAULT_TIMEOUT_MS 5000

static struct json_object *bytes_json(uint64_t bytes)
{
	return json_object_new_uint64(bytes);
}

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
			       bytes_json(bytes));
	return 0;
}

static int memory_set(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	struct json_object *size = json_object_object_get(args, "size");
	uint64_t bytes;
	int ret;

	/* As --memory has it, so a bare number is MiB. */
	if (!size || config_parse_size(json_object_get_string(size), &bytes))
		return error_config(e, -EINVAL, "size: %s is not a size (such "
				    "as 512M)", json_object_to_json_string(
				    size));
	ret = vm_memory_set(s->monitor->vm, bytes, e);
	return ret ? ret : wait_memory(s, arg_uint(args, "timeout-ms",
						   DEFAULT_TIMEOUT_MS),
				       result, e);
}

static int query_memory_size_summary(struct session *s,
				     struct json_object *args,
				     struct json_object **result,
				     struct error *e)
{
	struct vm_mem_info mem = { 0 };
	uint64_t dimms = 0;

	(void)args;
	(void)e;
	vm_mem_info(s->monitor->vm, &mem);
	for (unsigned int i = 0; i < CONFIG_MAX_DIMMS; i++)
		if (vm_dimm_at(s->monitor->vm, i))
			dimms += vm_dimm_at(s->monitor->vm, i)->len_bytes;
	*result = json_object_new_object();
	json_object_object_add(*result, "base-memory", bytes_json(
			vm_config(s->monitor->vm)->memory.size_bytes));
	json_object_object_add(*result, "plugged-memory",
			       bytes_json(mem.plugged + dimms));
	return 0;
}

static void add_memory_device(struct json_object *list, const char *type,
			      struct json_object *data)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "type", json_object_new_string(type));
	json_object_object_add(o, "data", data);
	json_object_array_add(list, o);
}

static struct json_object *memdev_json(const char *id)
{
	char path[320];

	snprintf(path, sizeof(path), "/objects/%s", id ? id : "ram");
	return json_object_new_string(path);
}

static struct json_object *dimm_json(const struct dimm *dimm)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "id", json_object_new_string(dimm->id));
	json_object_object_add(o, "addr", bytes_json(dimm->base));
	json_object_object_add(o, "size", bytes_json(dimm->len_bytes));
	json_object_object_add(o, "slot",
			       json_object_new_int((int)dimm->slot));
	json_object_object_add(o, "node", json_object_new_int(0));
	json_object_object_add(o, "memdev", memdev_json(dimm->memdev));
	json_object_object_add(o, "hotplugged",
			       json_object_new_boolean(dimm->hotplugged));
	json_object_object_add(o, "hotpluggable",
			       json_object_new_boolean(true));
	return o;
}

static int query_memory_devices(struct session *s, struct json_object *args,
				struct json_object **result, struct error *e)
{
	struct json_object *data;
	struct vm_mem_info mem;

	(void)args;
	(void)e;
	*result = json_object_new_array();
	for (unsigned int i = 0; i < CONFIG_MAX_DIMMS; i++) {
		const struct dimm *dimm = vm_dimm_at(s->monitor->vm, i);

		if (dimm)
			add_memory_device(*result, "dimm", dimm_json(dimm));
	}
	if (!vm_mem_info(s->monitor->vm, &mem))
		return 0;
	data = json_object_new_object();
	json_object_object_add(data, "id", json_object_new_string(mem.id));
	json_object_object_add(data, "memaddr", bytes_json(mem.base));
	json_object_object_add(data, "node", json_object_new_int(0));
	json_object_object_add(data, "memdev", memdev_json(NULL));
	json_object_object_add(data, "size", bytes_json(mem.plugged));
	json_object_object_add(data, "requested-size",
			       bytes_json(mem.requested));
	json_object_object_add(data, "max-size", bytes_json(mem.max));
	json_object_object_add(data, "block-size",
			       bytes_json(VIRTIO_MEM_BLOCK_BYTES));
	add_memory_device(*result, "virtio-mem", data);
	return 0;
}

/* QEMU's object tree has one object here: the virtio-mem, by id or path. */
static int find_mem(struct session *s, struct json_object *args,
		    struct vm_mem_info *mem, struct error *e)
{
	const char *path = arg_string(args, "path"), *id = path;

	if (!strncmp(id, "/machine/peripheral/", 20))
		id += 20;
	if (vm_mem_info(s->monitor->vm, mem) && !strcmp(id, mem->id))
		return 0;
	return error_class_set(e, ERROR_DEVICE_NOT_FOUND, -ENOENT,
			       "Device '%s' not found", path);
}

static int no_property(struct json_object *args, struct error *e)
{
	return error_set(e, -ENOENT, "Property 'virtio-mem-pci.%s' not found",
			 arg_string(args, "property"));
}

static int qom_get(struct session *s, struct json_object *args,
		   struct json_object **result, struct error *e)
{
	struct vm_mem_info mem;
	int ret = find_mem(s, args, &mem, e);
	const struct {
		const char *name;
		uint64_t value;
	} properties[] = {
		{ "requested-size", mem.requested }, { "size", mem.plugged },
		{ "memaddr", mem.base }, { "block-size",
					   VIRTIO_MEM_BLOCK_BYTES },
	};

	for (size_t i = 0; !ret && i < 4; i++) {
		if (strcmp(properties[i].name, arg_string(args, "property")))
			continue;
		*result = bytes_json(properties[i].value);
		return 0;
	}
	return ret ? ret : no_property(args, e);
}

static int qom_set(struct session *s, struct json_object *args,
		   struct json_object **result, struct error *e)
{
	struct json_object *value = json_object_object_get(args, "value");
	struct vm_mem_info mem;
	int ret = find_mem(s, args, &mem, e);

	(void)result;
	if (ret)
		return ret;
	if (strcmp(arg_string(args, "property"), "requested-size"))
		return no_property(args, e);
	if (!json_object_is_type(value, json_type_int) ||
	    json_object_get_int64(value) < 0)
		return error_set(e, -EINVAL, "Invalid parameter type for "
				 "'value', expected: integer");
	ret = vm_mem_request(s->monitor->vm, json_object_get_uint64(value), e);
	return ret ? error_prefix(e, ret, "requested-size") : 0;
}

static const struct command_arg memory_set_args[] = {
	{ "size", ARG_ANY, true },
	{ "timeout-ms", ARG_UINT, false },
	{ 0 },
};

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
	}, {
		.name = "memory-set",
		.help = "How much memory the guest is to have: size (512M; a "
			"bare number is MiB), [timeout-ms]",
		.args = memory_set_args,
		.resource = true,
		.run = memory_set,
	}, {
		.name = "query-memory-size-summary",
		.help = "The RAM at the start, and what is plugged",
		.run = query_memory_size_summary,
	}, {
		.name = "query-memory-devices",
		.help = "The devices that memory is plugged by",
		.run = query_memory_devices,
	}, {
		.name = "qom-get",
		.help = "A property of the virtio-mem: path=memory0, property "
			"(requested-size, size)",
		.args = qom_get_args,
		.run = qom_get,
	}, {
		.name = "qom-set",
		.help = "What the virtio-mem is to plug: path=memory0, "
			"property=requested-size, value (bytes)",
		.args = qom_set_args,
		.run = qom_set,
	},
};

const struct command_group memory_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
