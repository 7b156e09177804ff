/* SPDX-License-Identifier: MIT */
/* What the monitor does with disks. Main thread. */
#include <errno.h>

#include "virtio/blk.h"
#include "virtio/virtio_pci.h"
#include "vm_devices.h"
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

void vm_disk_count(const struct device *device,
		   struct virtio_blk_counters *out)
{
	virtio_blk_count(virtio_pci_device(device->pci), out);
}

int vm_disk_replace(struct vm *vm, struct device *device,
		    const struct config_disk *c, struct error *e)
{
	const struct config_disk *old = device->config;
	struct config_disk now = *old;
	void *config;
	int ret;

	now.path = c->path;
	now.format = c->format;
	now.readonly = c->readonly;
	now.direct = c->direct;
	config = devices_copy_config(device, &now);
	if (!config)
		return error_set(e, -ENOMEM, "out of memory");
	pthread_mutex_lock(&vm->machine_lock);
	ret = virtio_blk_replace(virtio_pci_device(device->pci), &now, e);
	pthread_mutex_unlock(&vm->machine_lock);
	devices_set_config(device, config, ret == 0);
	return ret;
}
