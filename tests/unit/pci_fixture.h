/* SPDX-License-Identifier: MIT */
/*
 * A machine without KVM for the PCI tests: real buses, interrupts, loop and
 * root buses above a kvm_*() that only keeps books. Test's thread.
 */
#ifndef MOTE_PCI_FIXTURE_H
#define MOTE_PCI_FIXTURE_H

#include "unit.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <pthread.h>
#include <stdbool.h>

#include "bus.h"
#include "irq.h"
#include "kvm/kvm.h"
#include "loop.h"
#include "pci/pci.h"

#define ECAM_BASE	0xe0000000ull
#define MMIO32_BASE	0xc0000000ull
#define MMIO32_LEN	0x20000000ull
#define SLICE32		(MMIO32_LEN / PCI_ROOTS)
#define MMIO64_BASE	0x140000000ull
#define MMIO64_LEN	0x1000000000ull
#define SLICE64		(MMIO64_LEN / PCI_ROOTS)
#define GSI_INTX	16u
#define GSI_MSI		24u
#define FAKE_KVM_MAX	256

/* What KVM would hold, and the errors that the next calls give. */
struct fake_kvm {
	struct {
		uint32_t gsi;
		int fd, resamplefd;
	} irqfds[FAKE_KVM_MAX];
	unsigned int irqfd_count;
	struct {
		uint64_t gpa;
		int fd;
	} ioeventfds[FAKE_KVM_MAX];
	unsigned int ioeventfd_count;
	unsigned int ioeventfd_room;	/* then -ENOSPC */
	int routes;			/* KVM_CAP_IRQ_ROUTING */
	int routing_error, irqfd_error;
	uint64_t last_address;		/* the newest MSI route */
	uint32_t last_data;
};

extern struct fake_kvm fake_kvm;

struct pci_fixture {
	struct kvm_vm vm;
	pthread_mutex_t lock;
	struct bus *mmio, *pio;
	struct irq_chip *irq;
	struct loop *loop;
	struct pci *pci;
};

void pci_fixture_init(struct pci_fixture *m);
/* Fails the test when anything is still registered with KVM. */
void pci_fixture_deinit(struct pci_fixture *m);

/* Lets the loop's thread see what has happened. */
void run_loop(struct loop *l);
/* Interrupts that reached gsi since the last call: eventfd counts. */
uint64_t take_interrupts(uint32_t gsi);
/* The guest's end of interrupt on a level line. */
void end_of_interrupt(uint32_t gsi);
bool has_ioeventfd(uint64_t gpa);

uint64_t ecam_address(unsigned int bus, unsigned int slot, uint32_t reg);
uint32_t ecam_get(struct pci_fixture *m, unsigned int bus, unsigned int slot,
		  uint32_t reg, unsigned int len);
void ecam_put(struct pci_fixture *m, unsigned int bus, unsigned int slot,
	      uint32_t reg, unsigned int len, uint32_t value);
uint64_t mmio_get(struct pci_fixture *m, uint64_t addr, unsigned int len);
void mmio_put(struct pci_fixture *m, uint64_t addr, unsigned int len,
	      uint64_t value);
/* Offset of the n-th capability (from 0) with this id, 0 when there is none. */
uint32_t find_capability(struct pci_fixture *m, unsigned int bus,
			 unsigned int slot, uint8_t id, unsigned int n);

#endif
