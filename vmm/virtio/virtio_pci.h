/* SPDX-License-Identifier: MIT */
/*
 * The PCI transport of virtio (VIRTIO 1.2, 4.1), modern only: ties a struct
 * virtio_device to a PCI function. Machine lock, or before the vCPUs run.
 */
#ifndef MOTE_VIRTIO_PCI_H
#define MOTE_VIRTIO_PCI_H

#include "error.h"
#include "pci/pci.h"
#include "virtio/device.h"

struct virtio_pci;
struct kvm_vm;

/*
 * Plugs device d (taken over on success; the caller keeps it on failure) at
 * bus/slot, -1 for any. One MSI-X vector per queue and one for configuration
 * changes, or INTx alone when the guest would run out of vectors
 * (pci_set_vector_room()).
 */
int virtio_pci_create(struct virtio_pci **out, struct virtio_device *d,
		      struct pci *pci, struct irq_chip *irq, struct kvm_vm *vm,
		      int bus, int slot, struct error *e);
/* Unplugs and destroys the device too. */
void virtio_pci_destroy(struct virtio_pci *v);

struct virtio_device *virtio_pci_device(struct virtio_pci *v);
struct pci_function *virtio_pci_function(struct virtio_pci *v);
/* System reset: device and function as after create. */
void virtio_pci_reset(struct virtio_pci *v);

/*
 * Saving: function, registers, device. vCPUs stopped, device quiesced, and its
 * interrupts held back (pci_function_hold_interrupts()).
 */
void virtio_pci_save(const struct virtio_pci *v, struct state_writer *w);
/* Into a new, quiesced one, after the interrupt controllers. On failure it is
 * to be destroyed. */
int virtio_pci_load(struct virtio_pci *v, struct state_reader *r,
		    struct error *e);

#endif
