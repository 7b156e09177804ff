/* SPDX-License-Identifier: MIT */
/* Network devices of a running VM. Main thread. */
#include <errno.h>

#include "virtio/net.h"
#include "virtio/virtio_pci.h"
#include "vm_internal.h"

int vm_set_link(struct vm *vm, const char *id, bool up, struct error *e)
{
	struct device *device = devices_find(vm->devices, id);

	if (!device || device->type != DEVICE_NET)
		return error_class_set(e, ERROR_DEVICE_NOT_FOUND, -ENOENT,
				       "Device '%s' not found", id);
	pthread_mutex_lock(&vm->machine_lock);
	virtio_net_set_link(virtio_pci_device(device->pci), up);
	pthread_mutex_unlock(&vm->machine_lock);
	return 0;
}
