/* SPDX-License-Identifier: MIT */
/* Network devices of a running VM. Main thread. */
#include <errno.h>
#include <string.h>

#include "virtio/virtio_pci.h"
#include "vm_devices.h"
#include "vm_internal.h"

static struct virtio_device *virtio_of(const struct device *device)
{
	return virtio_pci_device(device->pci);
}

/* By its id, or by what it is made from. */
static struct device *find(struct vm *vm, const char *name)
{
	struct device *d;

	for (d = devices_first(vm->devices); d; d = d->next) {
		const struct config_net *n = d->config;

		if (d->type == DEVICE_NET &&
		    ((d->id && !strcmp(d->id, name)) ||
		     (n->netdev && !strcmp(n->netdev, name))))
			break;
	}
	return d;
}

int vm_set_link(struct vm *vm, const char *id, bool up, struct error *e)
{
	struct device *device = find(vm, id);

	if (!device)
		return error_class_set(e, ERROR_DEVICE_NOT_FOUND, -ENOENT,
				       "Device '%s' not found", id);
	pthread_mutex_lock(&vm->machine_lock);
	virtio_net_set_link(virtio_of(device), up);
	pthread_mutex_unlock(&vm->machine_lock);
	return 0;
}

/* What describes the device from now on: another back end, the same device. */
static void *changed_config(const struct device *device,
			    const struct config_net *c)
{
	const struct config_net *old = device->config;
	struct config_net now = *c;

	now.id = old->id;
	now.mac = old->mac;
	memcpy(now.mac_bytes, old->mac_bytes, sizeof(now.mac_bytes));
	now.netdev = NULL;
	return devices_copy_config(device, &now);
}

int vm_nic_replace(struct vm *vm, struct device *device,
		   const struct config_net *c, struct error *e)
{
	struct net_backend *backend;
	void *config = changed_config(device, c);
	int ret;

	if (!config)
		return error_set(e, -ENOMEM, "out of memory");
	ret = devices_open_net(&backend, c, e);
	if (!ret) {
		pthread_mutex_lock(&vm->machine_lock);
		ret = virtio_net_set_backend(virtio_of(device), backend, e);
		pthread_mutex_unlock(&vm->machine_lock);
		if (ret)
			net_backend_destroy(backend);
	}
	devices_set_config(device, config, ret == 0);
	return ret;
}

void vm_nic_state(struct vm *vm, const struct device *device,
		  struct vm_nic_state *out)
{
	const struct virtio_device *d = virtio_of(device);

	(void)vm;
	out->link_up = virtio_net_link(d);
	virtio_net_count(d, &out->received, &out->sent);
}
