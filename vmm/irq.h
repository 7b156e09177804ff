/* SPDX-License-Identifier: MIT */
/*
 * Interrupts into the guest: fixed lines on the I/O APIC and MSI vectors. Both
 * are an eventfd tied to a GSI with KVM_IRQFD; raising one is a write to it,
 * from any thread, without a lock.
 *
 * All functions but irq_line_raise(), msix_vector_notify() run under the
 * machine lock (bus.h) or before the vCPUs run.
 */
#ifndef MOTE_IRQ_H
#define MOTE_IRQ_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

struct irq_chip;
struct kvm_vm;

int irq_chip_create(struct irq_chip **out, struct kvm_vm *vm, struct error *e);
void irq_chip_destroy(struct irq_chip *c);

/*
 * A line of the I/O APIC. Edge: every raise is a pulse. Level: a raise asserts
 * the line until the guest's end of interrupt; then KVM lowers it and signals
 * resamplefd, and the owner raises again if its cause is still there. Several
 * level lines may share a GSI.
 */
struct irq_line {
	struct irq_chip *chip;
	uint32_t gsi;
	int eventfd;
	int resamplefd;		/* -1 for an edge line */
};

#define IRQ_LINE_INIT { .eventfd = -1, .resamplefd = -1 }

int irq_line_init(struct irq_line *l, struct irq_chip *c, uint32_t gsi,
		  bool level, struct error *e);
void irq_line_deinit(struct irq_line *l);
void irq_line_raise(struct irq_line *l);

/*
 * One MSI-X vector (PCI 3.0, 6.8.2). It starts masked. While masked its irqfd
 * is taken away and raises count up in the eventfd: that count is the pending
 * bit. Unmasking puts the irqfd back, which delivers what is pending.
 */
struct msix_vector {
	struct irq_chip *chip;
	int eventfd;
	uint32_t gsi;		/* valid while has_gsi */
	bool has_gsi;
	bool connected;		/* irqfd in place */
	uint64_t address;
	uint32_t data;
};

/* -EMFILE, -ENFILE: no eventfd */
int msix_vector_init(struct msix_vector *v, struct irq_chip *c);
void msix_vector_deinit(struct msix_vector *v);
/*
 * Routes the vector to address/data and connects it. -ENOSPC: no GSI left;
 * the vector then stays masked.
 */
int msix_vector_unmask(struct msix_vector *v, uint64_t address, uint32_t data);
void msix_vector_mask(struct msix_vector *v);
bool msix_vector_pending(const struct msix_vector *v);
/* Forgets what is pending (device reset). */
void msix_vector_clear(struct msix_vector *v);
/* Any thread, no lock. */
void msix_vector_notify(struct msix_vector *v);

#endif
