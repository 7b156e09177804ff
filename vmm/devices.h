/* SPDX-License-Identifier: MIT */
/*
 * The virtio devices of a VM, made from its configuration through one table of
 * kinds (devices.c). Main thread; everything after creation with the machine
 * lock held.
 */
#ifndef MOTE_DEVICES_H
#define MOTE_DEVICES_H

#include "char/chardev.h"
#include "config.h"
#include "error.h"
#include "guest_mem.h"
#include "irq.h"
#include "kvm/kvm.h"
#include "loop.h"
#include "pci/pci.h"

struct devices;

/* All outlive the devices. */
struct devices_params {
	const struct vm_config *config;
	struct guest_mem *mem;
	struct loop *io_loop;		/* the iothread's */
	struct pci *pci;
	struct irq_chip *irq;
	struct kvm_vm *kvm;
	struct chardev *console;	/* NULL: no virtio console */
};

int devices_create(struct devices **out, const struct devices_params *p,
		   struct error *e);
void devices_destroy(struct devices *d);

/* Nothing is in flight on return; resume undoes it. */
void devices_quiesce(struct devices *d);
void devices_resume(struct devices *d);
/* System reset. */
void devices_reset(struct devices *d);

size_t devices_count(const struct devices *d);

#endif
