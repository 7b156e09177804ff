/* SPDX-License-Identifier: MIT */
/* device_add of a virtio-balloon-pci and a virtio-mem-pci. Main thread. */
#include "monitor/drivers.h"

#include <errno.h>

#include "monitor/objects.h"
#include "virtio/mem.h"
#include "vm_memory.h"
#include "vm_mems.h"

const struct prop driver_balloon_props[] = {
	{ "deflate-on-oom", PROP_BOOL, false },
	{ "free-page-reporting", PROP_BOOL, false },
	{ "guest-stats-polling-interval", PROP_UINT, false },
	{ 0 },
};

int driver_balloon_add(struct session *s, struct json_object *args,
		       struct device_spec spec, struct error *e)
{
	const struct config_balloon config = {
		.enable = true,
		.deflate_on_oom = prop_bool(args, "deflate-on-oom", false),
		.free_page_reporting = prop_bool(args, "free-page-reporting",
						 false),
	};
	uint64_t seconds = prop_uint(args, "guest-stats-polling-interval",
				     BALLOON_STATS_SECONDS);
	int ret;

	if (seconds > UINT32_MAX)
		return error_set(e, -EINVAL, "timer value is too big");
	spec.type = DEVICE_BALLOON;
	spec.config = &config;
	ret = vm_device_add(s->monitor->vm, &spec, NULL, e);
	if (!ret)
		vm_balloon_set_stats_interval(s->monitor->vm,
					      (uint32_t)seconds);
	return ret;
}

const struct prop driver_mem_props[] = {
	{ "memdev", PROP_STRING, true },
	{ "requested-size", PROP_UINT, false },
	{ "block-size", PROP_UINT, false },
	{ "memaddr", PROP_UINT, false },
	{ "node", PROP_IGNORED, false },
	{ "prealloc", PROP_IGNORED, false },
	{ "unplugged-inaccessible", PROP_IGNORED, false },
	{ "dynamic-memslots", PROP_IGNORED, false },
	{ 0 },
};

int driver_mem_add(struct session *s, struct json_object *args,
		   struct device_spec spec, struct error *e)
{
	const char *memdev = prop_string(args, "memdev");
	struct config_memory backing;
	int ret;

	if (prop_uint(args, "block-size", VIRTIO_MEM_BLOCK_BYTES) !=
	    VIRTIO_MEM_BLOCK_BYTES)
		return error_class_set(e, ERROR_NOT_SUPPORTED, -EINVAL,
				       "block-size: blocks have 2 MiB");
	if (prop_uint(args, "memaddr", 0))
		return error_class_set(e, ERROR_NOT_SUPPORTED, -EINVAL,
				       "memaddr: the address is not to be "
				       "chosen");
	ret = object_memory(s->monitor, memdev, &backing, e);
	return ret ? ret : vm_mem_add(s->monitor->vm, spec, memdev, &backing,
				      prop_uint(args, "requested-size", 0), e);
}
