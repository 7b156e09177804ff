/* SPDX-License-Identifier: MIT */
/*
 * PCI hot-plug for ACPI: the registers behind PHPE and _EJ0 in boot/dsdt.asl and
 * boot/pci_bus.asl, which say what has come, what is to go, and that it went.
 *
 * At these offsets (platform/registers.h):
 *	0x00	read	bit n: there is news about root bus n; taken by reading
 *	0x04	write	the root bus that the next two are about
 *	0x08	read	bit n: slot n has got a function; taken by reading
 *	0x0c	read	bit n: slot n is to be let go; taken by reading
 *	0x10	write	bus << 8 | slot: the guest has let it go
 *
 * All functions run with the machine lock held, or before the vCPUs run.
 */
#ifndef MOTE_PCI_HOTPLUG_H
#define MOTE_PCI_HOTPLUG_H

#include <stdint.h>

#include "bus.h"
#include "error.h"
#include "platform/ged.h"

struct pci_hotplug;

/* On vCPU threads; any bus and slot, there or not. */
struct pci_hotplug_owner {
	void (*ejected)(void *opaque, unsigned int bus, unsigned int slot);
	void *opaque;
};

int pci_hotplug_create(struct pci_hotplug **out, struct bus *mmio,
		       uint64_t base, struct ged *ged,
		       const struct pci_hotplug_owner *owner, struct error *e);
void pci_hotplug_destroy(struct pci_hotplug *h);

/* A function is in the slot now: the guest is told. */
void pci_hotplug_added(struct pci_hotplug *h, unsigned int bus,
		       unsigned int slot);
/* The guest is asked to let the slot's function go; again: it is reminded. What
 * it answers once the slot has another function is not taken for that one's. */
void pci_hotplug_request(struct pci_hotplug *h, unsigned int bus,
			 unsigned int slot);
/* The slot is empty again: what the guest was not told yet is void. */
void pci_hotplug_gone(struct pci_hotplug *h, unsigned int bus,
		      unsigned int slot);
void pci_hotplug_reset(struct pci_hotplug *h);

/* Machine lock held, vCPUs stopped. */
struct state_writer;
struct state_reader;
void pci_hotplug_save(const struct pci_hotplug *h, struct state_writer *w);
int pci_hotplug_load(struct pci_hotplug *h, struct state_reader *r);
/* Behind that: the guest had been asked for this one, and has not answered yet. */
void pci_hotplug_still_wanted(struct pci_hotplug *h, unsigned int bus,
			      unsigned int slot);

#endif
