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
