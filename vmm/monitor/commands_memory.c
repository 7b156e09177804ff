/* SPDX-License-Identifier: MIT */
/* Commands about the guest's memory. Main thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "monitor/internal.h"
#include "vm_dimms.h"
#include "vm_memory.h"
#include "vm_mems.h"

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
	uint64_t dimms = 0;

	(void)args;
	(void)e;
	for (unsigned int i = 0; i < CONFIG_MAX_DIMMS; i++)
		if (vm_dimm_at(s->monitor->vm, i))
			dimms += vm_dimm_at(s->monitor->vm, i)->len_bytes;
	*result = json_object_new_object();
	json_object_object_add(*result, "base-memory", bytes_json(
			vm_config(s->monitor->vm)->memory.size_bytes));
	json_object_object_add(*result, "plugged-memory",
			       bytes_json(vm_mems_plugged(s->monitor->vm) +
					  dimms));
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

static struct json_object *mem_json(const struct vm_mem_info *mem)
{
	struct json_object *o = json_object_new_object();

	if (mem->id)
		json_object_object_add(o, "id",
				       json_object_new_string(mem->id));
	json_object_object_add(o, "memaddr", bytes_json(mem->base));
	json_object_object_add(o, "node", json_object_new_int(0));
	json_object_object_add(o, "memdev", memdev_json(mem->memdev));
	json_object_object_add(o, "size", bytes_json(mem->plugged));
	json_object_object_add(o, "requested-size",
			       bytes_json(mem->requested));
	json_object_object_add(o, "max-size", bytes_json(mem->max));
	json_object_object_add(o, "block-size",
			       bytes_json(VIRTIO_MEM_BLOCK_BYTES));
	return o;
}

static int query_memory_devices(struct session *s, struct json_object *args,
				struct json_object **result, struct error *e)
{
	struct vm *vm = s->monitor->vm;
	struct vm_mem_info mem;

	(void)args;
	(void)e;
	*result = json_object_new_array();
	for (unsigned int i = 0; i < CONFIG_MAX_DIMMS; i++)
		if (vm_dimm_at(vm, i))
			add_memory_device(*result, "dimm",
					  dimm_json(vm_dimm_at(vm, i)));
	for (unsigned int n = 0; vm_mem_info(vm, n, &mem); n++)
		add_memory_device(*result, "virtio-mem", mem_json(&mem));
	return 0;
}

static const struct command_arg memory_set_args[] = {
	{ "size", ARG_ANY, true },
	{ "timeout-ms", ARG_UINT, false },
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
	},
};

const struct command_group memory_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
