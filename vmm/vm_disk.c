/* SPDX-License-Identifier: MIT */
/* What the monitor does with disks. Main thread. */
#include <errno.h>

#include "virtio/blk.h"
#include "virtio/virtio_pci.h"
#include "vm.h"
#include "vm_internal.h"

int vm_disk_resize(struct vm *vm, const char *id, uint64_t size_bytes,
		   struct error *e)
{
	struct device *device = devices_find(vm->devices, id);
	int ret;

	if (!device || device->type != DEVICE_DISK)
		return error_set(e, -ENODEV, "Cannot find disk '%s'", id);
	pthread_mutex_lock(&vm->machine_lock);
	ret = virtio_blk_resize(virtio_pci_device(device->pci), size_bytes, e);
	pthread_mutex_unlock(&vm->machine_lock);
	return ret ? error_prefix(e, ret, "disk '%s'", id) : 0;
}
