/* SPDX-License-Identifier: MIT */
/*
 * The registers of the virtio PCI transport (VIRTIO 1.2, 4.1.4.3 to 4.1.4.6).
 * vCPU threads, machine lock held.
 */
#include <linux/virtio_config.h>
#include <string.h>

#include "virtio/virtio_pci_internal.h"

/* ---- common configuration (4.1.4.3) -------------------------------------- */

void virtio_pci_forget(struct virtio_pci *v)
{
	v->device_feature_select = 0;
	v->driver_feature_select = 0;
	v->queue_select = 0;
	atomic_store(&v->isr, 0);
	atomic_store(&v->config_vector, VIRTIO_MSI_NO_VECTOR);
	for (unsigned int i = 0; i < VIRTIO_MAX_QUEUES; i++)
		atomic_store(&v->queue_vectors[i], VIRTIO_MSI_NO_VECTOR);
}

static void write_status(struct virtio_pci *v, uint8_t value)
{
	/* The INTx line is made here and not when it is first raised, which
	 * is on the data path. If that fails the device is mute; nothing can
	 * tell the driver. */
	if ((value & VIRTIO_CONFIG_S_DRIVER_OK) &&
	    !atomic_load(&v->function.msix.enabled))
		pci_intx_prepare(&v->function);
	if (!value)
		virtio_pci_disconnect_doorbells(v);
	virtio_reg_status_write(v->device, value);
	if (!value)
		virtio_pci_forget(v);
	else
		virtio_pci_connect_doorbells(v);
}

/* NULL: queue_select names no queue; its registers read as zero. */
static struct virtio_queue *selected(struct virtio_pci *v)
{
	if (v->queue_select >= v->device->queue_count)
		return NULL;
	return &v->device->queues[v->queue_select];
}

/* A vector that the table has not is refused by reading back NO_VECTOR
 * (4.1.5.1.2.1). */
static uint16_t checked_vector(struct virtio_pci *v, uint64_t value)
{
	return value < v->function.msix.count ? (uint16_t)value :
						VIRTIO_MSI_NO_VECTOR;
}

static uint64_t queue_read(struct virtio_pci *v, uint32_t offset)
{
	const struct virtio_queue *q = selected(v);

	if (!q)
		return offset == VIRTIO_PCI_COMMON_Q_MSIX ?
			       VIRTIO_MSI_NO_VECTOR : 0;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		return q->config.size;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		return atomic_load(&v->queue_vectors[v->queue_select]);
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return q->enabled;
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return v->queue_select;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
		return q->config.desc;
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		return q->config.desc >> 32;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
		return q->config.avail;
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		return q->config.avail >> 32;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
		return q->config.used;
	default:
		return q->config.used >> 32;
	}
}

/* Fields are accessed at their own width (4.1.3.1); other accesses read as
 * zero and write nothing. */
#define FIELD(offset, len) ((offset) << 4 | (len))

static uint64_t common_read(struct virtio_pci *v, uint32_t offset,
			    unsigned int len)
{
	struct virtio_device *d = v->device;

	switch (FIELD(offset, len)) {
	case FIELD(VIRTIO_PCI_COMMON_DFSELECT, 4):
		return v->device_feature_select;
	case FIELD(VIRTIO_PCI_COMMON_DF, 4):
		return virtio_reg_device_features(d, v->device_feature_select);
	case FIELD(VIRTIO_PCI_COMMON_GFSELECT, 4):
		return v->driver_feature_select;
	case FIELD(VIRTIO_PCI_COMMON_GF, 4):
		return virtio_reg_driver_features_read(
			d, v->driver_feature_select);
	case FIELD(VIRTIO_PCI_COMMON_MSIX, 2):
		return atomic_load(&v->config_vector);
	case FIELD(VIRTIO_PCI_COMMON_NUMQ, 2):
		return d->queue_count;
	case FIELD(VIRTIO_PCI_COMMON_STATUS, 1):
		return virtio_reg_status(d);
	case FIELD(VIRTIO_PCI_COMMON_CFGGENERATION, 1):
		return atomic_load(&d->config_generation);
	case FIELD(VIRTIO_PCI_COMMON_Q_SELECT, 2):
		return v->queue_select;
	case FIELD(VIRTIO_PCI_COMMON_Q_SIZE, 2):
	case FIELD(VIRTIO_PCI_COMMON_Q_MSIX, 2):
	case FIELD(VIRTIO_PCI_COMMON_Q_ENABLE, 2):
	case FIELD(VIRTIO_PCI_COMMON_Q_NOFF, 2):
	case FIELD(VIRTIO_PCI_COMMON_Q_DESCLO, 4):
	case FIELD(VIRTIO_PCI_COMMON_Q_DESCHI, 4):
	case FIELD(VIRTIO_PCI_COMMON_Q_AVAILLO, 4):
	case FIELD(VIRTIO_PCI_COMMON_Q_AVAILHI, 4):
	case FIELD(VIRTIO_PCI_COMMON_Q_USEDLO, 4):
	case FIELD(VIRTIO_PCI_COMMON_Q_USEDHI, 4):
		return queue_read(v, offset);
	default:
		return 0;
	}
}

static void common_write(struct virtio_pci *v, uint32_t offset,
			 unsigned int len, uint32_t value)
{
	struct virtio_device *d = v->device;
	uint16_t q = v->queue_select;

	switch (FIELD(offset, len)) {
	case FIELD(VIRTIO_PCI_COMMON_DFSELECT, 4):
		v->device_feature_select = value;
		break;
	case FIELD(VIRTIO_PCI_COMMON_GFSELECT, 4):
		v->driver_feature_select = value;
		break;
	case FIELD(VIRTIO_PCI_COMMON_GF, 4):
		virtio_reg_driver_features(d, v->driver_feature_select, value);
		break;
	case FIELD(VIRTIO_PCI_COMMON_MSIX, 2):
		atomic_store(&v->config_vector, checked_vector(v, value));
		break;
	case FIELD(VIRTIO_PCI_COMMON_STATUS, 1):
		write_status(v, (uint8_t)value);
		break;
	case FIELD(VIRTIO_PCI_COMMON_Q_SELECT, 2):
		v->queue_select = (uint16_t)value;
		break;
	case FIELD(VIRTIO_PCI_COMMON_Q_SIZE, 2):
		virtio_reg_queue_size(d, q, (uint16_t)value);
		break;
	case FIELD(VIRTIO_PCI_COMMON_Q_MSIX, 2):
		if (selected(v))
			atomic_store(&v->queue_vectors[q],
				     checked_vector(v, value));
		virtio_device_interrupts_changed(d);
		break;
	case FIELD(VIRTIO_PCI_COMMON_Q_ENABLE, 2):
		if (value == 1)
			virtio_reg_queue_enable(d, q);
		break;
	case FIELD(VIRTIO_PCI_COMMON_Q_DESCLO, 4):
	case FIELD(VIRTIO_PCI_COMMON_Q_DESCHI, 4):
	case FIELD(VIRTIO_PCI_COMMON_Q_AVAILLO, 4):
	case FIELD(VIRTIO_PCI_COMMON_Q_AVAILHI, 4):
	case FIELD(VIRTIO_PCI_COMMON_Q_USEDLO, 4):
	case FIELD(VIRTIO_PCI_COMMON_Q_USEDHI, 4):
		offset -= VIRTIO_PCI_COMMON_Q_DESCLO;
		virtio_reg_queue_address(d, q, offset / 8, offset & 4, value);
		break;
	default:
		break;
	}
}

/* ---- the BAR ------------------------------------------------------------- */

static void bar_read(void *opaque, uint64_t offset, uint8_t *data,
		     unsigned int len)
{
	struct virtio_pci *v = opaque;
	struct pci_function *f = &v->function;

	if (offset >= AREA_MSIX_PBA) {
		pci_msix_pba_read(f, offset - AREA_MSIX_PBA, data, len);
	} else if (offset >= AREA_MSIX_TABLE) {
		pci_msix_table_read(f, offset - AREA_MSIX_TABLE, data, len);
	} else if (offset >= AREA_NOTIFY) {
		memset(data, 0, len);
	} else if (offset >= AREA_DEVICE) {
		virtio_reg_config_read(v->device, offset - AREA_DEVICE, data,
				       len);
	} else if (offset >= AREA_ISR) {
		memset(data, 0, len);
		if (offset == AREA_ISR)	/* reading clears it (4.1.4.5) */
			data[0] = atomic_exchange(&v->isr, 0);
	} else if (len == 8) {
		/* A 64-bit field as two halves, which is how they are made. */
		bar_read(v, offset, data, 4);
		bar_read(v, offset + 4, data + 4, 4);
	} else {
		bus_put_le(data, len, common_read(v, (uint32_t)offset, len));
	}
}

static void bar_write(void *opaque, uint64_t offset, const uint8_t *data,
		      unsigned int len)
{
	struct virtio_pci *v = opaque;
	struct virtio_device *d = v->device;

	if (offset >= AREA_MSIX_PBA) {
		return;		/* read-only */
	} else if (offset >= AREA_MSIX_TABLE) {
		pci_msix_table_write(&v->function, offset - AREA_MSIX_TABLE,
				     data, len);
	} else if (offset >= AREA_NOTIFY) {
		offset -= AREA_NOTIFY;
		if (offset % NOTIFY_STRIDE == 0 &&
		    offset / NOTIFY_STRIDE < d->queue_count)
			virtio_reg_queue_notify(d, (unsigned int)offset /
						   NOTIFY_STRIDE);
	} else if (offset >= AREA_DEVICE) {
		virtio_reg_config_write(d, offset - AREA_DEVICE, data, len);
	} else if (offset >= AREA_ISR) {
		return;
	} else if (len == 8) {
		bar_write(v, offset, data, 4);
		bar_write(v, offset + 4, data + 4, 4);
	} else {
		common_write(v, (uint32_t)offset, len,
			     (uint32_t)bus_get_le(data, len));
	}
}

const struct bus_ops virtio_pci_bar_ops = {
	.read = bar_read,
	.write = bar_write,
};

