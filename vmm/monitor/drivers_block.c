/* SPDX-License-Identifier: MIT */
/* device_add virtio-blk-pci. Main thread. */
#include <errno.h>

#include "monitor/block_nodes.h"
#include "monitor/drivers.h"

const struct prop driver_blk_props[] = {
	{ "drive", PROP_STRING, true },
	{ "serial", PROP_STRING, false },
	{ "num-queues", PROP_UINT, false },
	{ "write-cache", PROP_IGNORED, false },
	{ "config-wce", PROP_IGNORED, false },
	{ "scsi", PROP_IGNORED, false },
	/* Hints, and what the image has or has not. */
	{ "physical_block_size", PROP_IGNORED, false },
	{ "min_io_size", PROP_IGNORED, false },
	{ "opt_io_size", PROP_IGNORED, false },
	{ "discard", PROP_IGNORED, false },
	{ "write-zeroes", PROP_IGNORED, false },
	{ "logical_block_size", PROP_UINT, false },	/* 512 */
	{ 0 },
};

int driver_blk_add(struct session *s, struct json_object *args,
		   struct device_spec spec, struct error *e)
{
	const char *drive = prop_string(args, "drive");
	const char *serial = prop_string(args, "serial");
	uint64_t queues = prop_uint(args, "num-queues", 1);
	const struct block_node *n = block_node_find(s->monitor, drive);
	struct config_disk disk;

	if (!n)
		return error_set(e, -ENOENT, "Property 'virtio-blk-pci.drive' "
				 "can't find value '%s'", drive);
	if (block_node_user(s->monitor, n))
		return error_set(e, -EBUSY, "Property 'virtio-blk-pci.drive' "
				 "can't take value '%s', it's in use", drive);
	if (prop_uint(args, "logical_block_size", 512) != 512)
		return error_class_set(e, ERROR_NOT_SUPPORTED, -EINVAL,
				       "Parameter 'logical_block_size': only "
				       "512 is supported");
	if (!queues || queues > UINT32_MAX)
		return error_set(e, -EINVAL,
				 "Parameter 'num-queues' is out of range");
	/* A copy of pointers, for the time of the call: the device has its own. */
	disk = n->disk;
	disk.queues = (unsigned int)queues;
	disk.id = (char *)(spec.id ? spec.id : "");
	disk.serial = (char *)serial;
	spec.type = DEVICE_DISK;
	spec.config = &disk;
	return vm_device_add(s->monitor->vm, &spec, NULL, e);
}
