/* SPDX-License-Identifier: MIT */
/*
 * The virtio PCI transport (VIRTIO 1.2, 4.1). Registers are handled by vCPU
 * threads with the machine lock held. The two interrupt callbacks run on the
 * device's iothread (or any other) without a lock: what they read is atomic.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kvm/kvm.h"
#include "virtio/virtio_pci_internal.h"

#define VENDOR_ID	0x1af4
#define DEVICE_ID_BASE	0x1040		/* 4.1.2.1 */
#define SUBSYSTEM_BASE	0x40

static struct virtio_pci *of_function(struct pci_function *f)
{
	return (struct virtio_pci *)((char *)f - offsetof(struct virtio_pci,
							  function));
}

/* ---- interrupts: any thread ---------------------------------------------- */

static void interrupt(struct virtio_pci *v, _Atomic uint16_t *vector,
		      uint8_t cause)
{
	struct pci_msix *m = &v->function.msix;
	bool msix = atomic_load(&m->enabled);
	uint16_t n = atomic_load(vector);

	/* The configuration bit is set either way (4.1.4.5.1). */
	if (!msix || cause == ISR_CONFIG)
		atomic_fetch_or(&v->isr, cause);
	if (!msix)
		pci_intx_raise(&v->function);
	else if (n < m->count)
		msix_vector_notify(&m->vectors[n]);
}

static void queue_interrupt(void *opaque, unsigned int index)
{
	struct virtio_pci *v = opaque;

	interrupt(v, &v->queue_vectors[index], ISR_QUEUE);
}

static void config_interrupt(void *opaque)
{
	struct virtio_pci *v = opaque;

	interrupt(v, &v->config_vector, ISR_CONFIG);
}

static int queue_eventfd(void *opaque, unsigned int index)
{
	struct virtio_pci *v = opaque;
	struct pci_msix *m = &v->function.msix;
	uint16_t n = atomic_load(&v->queue_vectors[index]);

	return atomic_load(&m->enabled) && n < m->count ?
		       m->vectors[n].eventfd : -1;
}

static bool intx_level(struct pci_function *f)
{
	return atomic_load(&of_function(f)->isr) != 0;
}

/* ---- doorbells ----------------------------------------------------------- */

static int assign_ioeventfd(struct virtio_pci *v, unsigned int index,
			    bool assign)
{
	/* Any access width: what is written does not matter. */
	return kvm_ioeventfd(v->vm, v->bar_address + AREA_NOTIFY +
				    index * NOTIFY_STRIDE, 0, false, 0,
			     v->device->queues[index].kick_fd, assign);
}

/*
 * Only queues in use get an ioeventfd: each costs the kernel a grace period and
 * one of a limited number of places. Without one, a doorbell write reaches
 * user space and works as well, only slower.
 */
void virtio_pci_connect_doorbells(struct virtio_pci *v)
{
	struct virtio_device *d = v->device;

	if (!d->active || !v->bar_address)
		return;
	for (unsigned int i = 0; i < d->queue_count; i++) {
		if (!d->queues[i].enabled || (v->ioeventfds >> i & 1))
			continue;
		if (!assign_ioeventfd(v, i, true))
			v->ioeventfds |= 1ull << i;
	}
}

void virtio_pci_disconnect_doorbells(struct virtio_pci *v)
{
	for (unsigned int i = 0; i < v->device->queue_count; i++)
		if (v->ioeventfds >> i & 1)
			assign_ioeventfd(v, i, false);
	v->ioeventfds = 0;
}

/* ---- the function -------------------------------------------------------- */

/*
 * The access that the VIRTIO_PCI_CAP_PCI_CFG capability describes (4.1.4.9): 0
 * when it is none that the BAR could take.
 */
static unsigned int window_access(const struct virtio_pci *v, uint32_t *offset)
{
	const uint8_t *cap = v->function.config + v->pci_cfg;
	uint64_t len = bus_get_le(cap + VIRTIO_PCI_CAP_LENGTH, 4);

	*offset = (uint32_t)bus_get_le(cap + VIRTIO_PCI_CAP_OFFSET, 4);
	if (cap[VIRTIO_PCI_CAP_BAR] != BAR ||
	    (len != 1 && len != 2 && len != 4) || (*offset & (len - 1)) ||
	    *offset >= BAR_BYTES)
		return 0;
	return (unsigned int)len;
}

/* Before a read of its data field. */
static void config_reading(struct pci_function *f, uint32_t offset,
			   uint32_t len)
{
	struct virtio_pci *v = of_function(f);
	uint32_t data = v->pci_cfg + PCI_CFG_DATA, at;

	(void)offset;
	len = window_access(v, &at);
	if (len)
		virtio_pci_bar_ops.read(v, at, f->config + data, len);
}

static void config_written(struct pci_function *f, uint32_t offset,
			   uint32_t len)
{
	struct virtio_pci *v = of_function(f);
	uint32_t data = v->pci_cfg + PCI_CFG_DATA, at;

	/* A driver that gives MSI-X up while the device works wants INTx. */
	if (v->device->active && !atomic_load(&f->msix.enabled))
		pci_intx_prepare(f);
	virtio_device_interrupts_changed(v->device);
	if (offset >= data + 4 || offset + len <= data)
		return;
	len = window_access(v, &at);
	if (len)
		virtio_pci_bar_ops.write(v, at, f->config + data, len);
}

static void bar_mapped(struct pci_function *f, unsigned int bar,
		       uint64_t address)
{
	struct virtio_pci *v = of_function(f);

	(void)bar;
	v->bar_address = address;
	virtio_pci_connect_doorbells(v);
}

static void bar_unmapped(struct pci_function *f, unsigned int bar)
{
	struct virtio_pci *v = of_function(f);

	(void)bar;
	virtio_pci_disconnect_doorbells(v);
	v->bar_address = 0;
}

static const struct pci_function_ops function_ops = {
	.config_written = config_written,
	.config_reading = config_reading,
	.bar_mapped = bar_mapped,
	.bar_unmapped = bar_unmapped,
	.intx_level = intx_level,
};

/* 4.1.4: a structure of the BAR; returns the capability's offset. */
static uint8_t add_structure(struct pci_function *f, uint8_t type, uint8_t len,
			     uint32_t offset, uint32_t length)
{
	uint8_t at = pci_add_capability(f, PCI_CAP_ID_VNDR, len);
	uint8_t *cap = f->config + at;

	if (!at)
		return 0;
	cap[VIRTIO_PCI_CAP_LEN] = len;
	cap[VIRTIO_PCI_CAP_CFG_TYPE] = type;
	cap[VIRTIO_PCI_CAP_BAR] = BAR;
	bus_put_le(cap + VIRTIO_PCI_CAP_OFFSET, 4, offset);
	bus_put_le(cap + VIRTIO_PCI_CAP_LENGTH, 4, length);
	return at;
}

/* In the order in which drivers look for them: every step is an exit. */
static void add_structures(struct virtio_pci *v)
{
	const uint8_t cap = sizeof(struct virtio_pci_cap);
	struct pci_function *f = &v->function;
	struct virtio_device *d = v->device;
	uint8_t at;

	add_structure(f, VIRTIO_PCI_CAP_COMMON_CFG, cap, AREA_COMMON,
		      COMMON_BYTES);
	add_structure(f, VIRTIO_PCI_CAP_ISR_CFG, cap, AREA_ISR, 1);
	at = add_structure(f, VIRTIO_PCI_CAP_NOTIFY_CFG, cap + 4, AREA_NOTIFY,
			   d->queue_count * NOTIFY_STRIDE);
	bus_put_le(f->config + at + VIRTIO_PCI_NOTIFY_CAP_MULT, 4,
		   NOTIFY_STRIDE);
	if (d->config_bytes)
		add_structure(f, VIRTIO_PCI_CAP_DEVICE_CFG, cap, AREA_DEVICE,
			      d->config_bytes);
	at = add_structure(f, VIRTIO_PCI_CAP_PCI_CFG, cap + 4, 0, 0);
	f->writable[at + VIRTIO_PCI_CAP_BAR] = 0xff;
	memset(f->writable + at + VIRTIO_PCI_CAP_OFFSET, 0xff, 12);
	f->hook_offset = at + PCI_CFG_DATA;
	f->hook_len = 4;
	v->pci_cfg = at;
}

static int add_vectors(struct virtio_pci *v, struct irq_chip *irq,
		       struct error *e)
{
	const struct virtio_device *d = v->device;
	unsigned int count = d->info->vectors ? d->info->vectors :
						d->queue_count + 1;

	if (!pci_claim_vectors(v->pci, count))
		return 0;
	v->claimed = count;
	return pci_add_msix(&v->function, irq, count, BAR, AREA_MSIX_TABLE,
			    AREA_MSIX_PBA, e);
}

static void remove_vectors(struct virtio_pci *v)
{
	pci_function_deinit(&v->function);
	if (v->claimed)
		pci_release_vectors(v->pci, v->claimed);
}

int virtio_pci_create(struct virtio_pci **out, struct virtio_device *d,
		      struct pci *pci, struct irq_chip *irq, struct kvm_vm *vm,
		      int bus, int slot, struct error *e)
{
	const struct pci_ids ids = {
		.vendor = VENDOR_ID,
		.device = (uint16_t)(DEVICE_ID_BASE + d->info->type_id),
		.subsystem_vendor = VENDOR_ID,
		.subsystem = (uint16_t)(SUBSYSTEM_BASE + d->info->type_id),
		.revision = 1,
		.class_code = d->info->pci_class,
	};
	struct virtio_pci *v;
	int ret;

	if (d->config_bytes > DEVICE_BYTES ||
	    d->queue_count > VIRTIO_MAX_QUEUES)
		return error_set(e, -EINVAL, "%s: too large for the transport",
				 d->info->name);
	v = calloc(1, sizeof(*v));
	if (!v)
		return error_set(e, -ENOMEM, "out of memory");
	v->device = d;
	v->pci = pci;
	v->vm = vm;
	virtio_pci_forget(v);
	pci_function_init(&v->function, &function_ops, &ids);
	add_structures(v);
	pci_add_bar(&v->function, BAR, BAR_BYTES, false, false,
		    &virtio_pci_bar_ops, v);
	ret = add_vectors(v, irq, e);
	if (!ret)
		ret = pci_attach(pci, &v->function, bus, slot, e);
	if (ret) {
		remove_vectors(v);
		free(v);
		return error_prefix(e, ret, "%s", d->info->name);
	}
	d->irq = (struct virtio_interrupts){
		.queue = queue_interrupt,
		.config = config_interrupt,
		.queue_eventfd = queue_eventfd,
		.opaque = v,
	};
	*out = v;
	return 0;
}

void virtio_pci_destroy(struct virtio_pci *v)
{
	if (!v)
		return;
	/* Reset first: after it the iothread raises no interrupt, and the
	 * vectors and the line can go. */
	virtio_device_reset(v->device);
	pci_detach(&v->function);
	remove_vectors(v);
	v->device->irq = (struct virtio_interrupts){ 0 };
	virtio_device_destroy(v->device);
	free(v);
}

struct virtio_device *virtio_pci_device(struct virtio_pci *v)
{
	return v->device;
}

struct pci_function *virtio_pci_function(struct virtio_pci *v)
{
	return &v->function;
}

void virtio_pci_reset(struct virtio_pci *v)
{
	virtio_device_reset(v->device);
	virtio_pci_forget(v);
	pci_function_reset(&v->function);
}
