/* SPDX-License-Identifier: MIT */
/* Saving the PCI transport. Main thread, machine lock held, vCPUs stopped. */
#include <errno.h>

#include "state.h"
#include "virtio/virtio_pci_internal.h"

void virtio_pci_save(const struct virtio_pci *v, struct state_writer *w)
{
	pci_function_save(&v->function, w);
	state_put_u32(w, v->device_feature_select);
	state_put_u32(w, v->driver_feature_select);
	state_put_u16(w, v->queue_select);
	state_put_u8(w, atomic_load(&v->isr));
	state_put_u16(w, atomic_load(&v->config_vector));
	for (unsigned int i = 0; i < v->device->queue_count; i++)
		state_put_u16(w, atomic_load(&v->queue_vectors[i]));
	virtio_device_save(v->device, w);
}

/* 4.1.4.3: only a vector that exists is ever stored. */
static int load_vector(const struct virtio_pci *v, _Atomic uint16_t *vector,
		       struct state_reader *r)
{
	uint16_t n = state_get_u16(r);

	if (!state_reader_error(r) && n != VIRTIO_MSI_NO_VECTOR &&
	    n >= v->function.msix.count)
		return -EPROTO;
	atomic_store(vector, n);
	return state_reader_error(r);
}

static int load_registers(struct virtio_pci *v, struct state_reader *r)
{
	uint8_t isr;
	int ret;

	v->device_feature_select = state_get_u32(r);
	v->driver_feature_select = state_get_u32(r);
	v->queue_select = state_get_u16(r);
	isr = state_get_u8(r);
	if (isr & ~(ISR_QUEUE | ISR_CONFIG))
		return -EPROTO;
	atomic_store(&v->isr, isr);
	ret = load_vector(v, &v->config_vector, r);
	for (unsigned int i = 0; !ret && i < v->device->queue_count; i++)
		ret = load_vector(v, &v->queue_vectors[i], r);
	return ret;
}

int virtio_pci_load(struct virtio_pci *v, struct state_reader *r,
		    struct error *e)
{
	struct virtio_device *d = v->device;
	int ret = pci_function_load(&v->function, r);

	if (ret)
		return error_errno(e, ret, "%s: its PCI function is another",
				   d->info->name);
	ret = load_registers(v, r);
	if (ret)
		return error_errno(e, ret, "%s: bad registers", d->info->name);
	ret = virtio_device_load(d, r, e);
	if (ret)
		return ret;
	/* As a driver that sets DRIVER_OK without MSI-X does. */
	if (d->active && !atomic_load(&v->function.msix.enabled))
		pci_intx_prepare(&v->function);
	virtio_pci_connect_doorbells(v);
	return 0;
}
