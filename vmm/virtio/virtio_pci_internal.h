/* SPDX-License-Identifier: MIT */
/*
 * What the two halves of the PCI transport share: the function with its
 * capabilities (virtio_pci.c), the registers in its BAR (virtio_pci_regs.c).
 * Machine lock, or before the vCPUs run.
 */
#ifndef MOTE_VIRTIO_PCI_INTERNAL_H
#define MOTE_VIRTIO_PCI_INTERNAL_H

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include "virtio/virtio_pci.h"

/* The only BAR: one 32-bit one, which every root bus has room for. */
#define BAR		0
#define BAR_BYTES	0x4000u
#define AREA_COMMON	0x0000u
#define AREA_ISR	0x0800u
#define AREA_DEVICE	0x1000u
#define AREA_NOTIFY	0x2000u
#define AREA_MSIX_TABLE	0x3000u
#define AREA_MSIX_PBA	0x3800u
#define DEVICE_BYTES	(AREA_NOTIFY - AREA_DEVICE)

/* Without NOTIF_CONFIG_DATA and RING_RESET the layout ends here (4.1.4.3). */
#define COMMON_BYTES	VIRTIO_PCI_COMMON_Q_NDATA
#define NOTIFY_STRIDE	4u		/* notify_off_multiplier */
#define ISR_QUEUE	1u		/* 4.1.4.5 */
#define ISR_CONFIG	2u
#define PCI_CFG_DATA	16u		/* struct virtio_pci_cfg_cap */

_Static_assert(VIRTIO_MAX_QUEUES <= 64, "a bit of ioeventfds each");
_Static_assert((VIRTIO_MAX_QUEUES + 1) * PCI_MSIX_ENTRY_SIZE <=
	       AREA_MSIX_PBA - AREA_MSIX_TABLE, "room for the MSI-X table");

struct virtio_pci {
	struct pci_function function;
	struct virtio_device *device;
	struct pci *pci;
	struct kvm_vm *vm;
	uint64_t bar_address;		/* 0: not mapped */
	uint64_t ioeventfds;		/* bit n: queue n's doorbell has one */
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select;
	unsigned int claimed;		/* vectors; 0: INTx only */
	uint8_t pci_cfg;		/* offset of that capability */
	_Atomic uint8_t isr;
	_Atomic uint16_t config_vector;
	_Atomic uint16_t queue_vectors[VIRTIO_MAX_QUEUES];
};

/* The registers, as a device reset leaves them. */
void virtio_pci_forget(struct virtio_pci *v);
/* Ioeventfds for the queues in use, while the BAR is mapped. */
void virtio_pci_connect_doorbells(struct virtio_pci *v);
void virtio_pci_disconnect_doorbells(struct virtio_pci *v);

/* The BAR's; opaque is the struct virtio_pci. */
extern const struct bus_ops virtio_pci_bar_ops;

#endif
