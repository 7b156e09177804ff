/* SPDX-License-Identifier: MIT */
/* PCI hot-plug registers. vCPU threads and the main one, machine lock held. */
#include "platform/pci_hotplug.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pci/pci.h"
#include "platform/registers.h"
#include "state.h"

enum reg {
	REG_BUSES = 0x00,
	REG_SELECT = 0x04,
	REG_ADDED = 0x08,
	REG_REQUESTED = 0x0c,
	REG_EJECT = 0x10,
};

#define REGISTERS_BYTES 0x14

struct pci_hotplug {
	struct registers regs;
	struct ged *ged;
	struct pci_hotplug_owner owner;
	uint32_t buses;
	uint32_t selected;
	uint32_t added[PCI_ROOTS], requested[PCI_ROOTS];
	uint32_t wanted[PCI_ROOTS];	/* requested, and not gone yet */
	/* Requests that were taken and not answered by an ejection. */
	uint8_t asked[PCI_ROOTS][PCI_SLOTS];
};

static uint32_t take(uint32_t *mask)
{
	uint32_t value = *mask;

	*mask = 0;
	return value;
}

static uint32_t take_requests(struct pci_hotplug *h, unsigned int bus)
{
	uint32_t slots = take(&h->requested[bus]);

	for (unsigned int slot = 0; slot < PCI_SLOTS; slot++)
		if ((slots >> slot & 1) && h->asked[bus][slot] < UINT8_MAX)
			h->asked[bus][slot]++;
	return slots;
}

/*
 * Linux answers each request with an ejection, also when the slot is empty by
 * then, or another function's: such an answer is to somebody who has gone.
 */
static void eject(struct pci_hotplug *h, unsigned int bus, unsigned int slot)
{
	bool stale = false;

	if (bus < PCI_ROOTS && slot < PCI_SLOTS && h->asked[bus][slot]) {
		h->asked[bus][slot]--;
		stale = !(h->wanted[bus] >> slot & 1);
	}
	if (!stale)
		h->owner.ejected(h->owner.opaque, bus, slot);
}

static uint32_t hotplug_read(void *opaque, uint64_t offset)
{
	struct pci_hotplug *h = opaque;

	if (offset == REG_BUSES)
		return take(&h->buses);
	if (offset == REG_ADDED && h->selected < PCI_ROOTS)
		return take(&h->added[h->selected]);
	if (offset == REG_REQUESTED && h->selected < PCI_ROOTS)
		return take_requests(h, h->selected);
	return 0;
}

static void hotplug_write(void *opaque, uint64_t offset, uint32_t value)
{
	struct pci_hotplug *h = opaque;

	if (offset == REG_SELECT)
		h->selected = value;
	else if (offset == REG_EJECT)
		eject(h, value >> 8, value & 0xff);
}

static const struct registers_ops hotplug_ops = { hotplug_read, hotplug_write };

int pci_hotplug_create(struct pci_hotplug **out, struct bus *mmio,
		       uint64_t base, struct ged *ged,
		       const struct pci_hotplug_owner *owner, struct error *e)
{
	struct pci_hotplug *h = calloc(1, sizeof(*h));
	int ret;

	if (!h)
		return error_set(e, -ENOMEM, "out of memory");
	h->ged = ged;
	h->owner = *owner;
	ret = registers_add(&h->regs, mmio, base, REGISTERS_BYTES, &hotplug_ops,
			    h, "PCI hot-plug registers", e);
	if (ret) {
		free(h);
		return ret;
	}
	*out = h;
	return 0;
}

void pci_hotplug_destroy(struct pci_hotplug *h)
{
	if (!h)
		return;
	registers_remove(&h->regs);
	free(h);
}

static void tell(struct pci_hotplug *h, unsigned int bus)
{
	h->buses |= 1u << bus;
	ged_raise(h->ged, GED_PCI_HOTPLUG);
}

void pci_hotplug_added(struct pci_hotplug *h, unsigned int bus,
		       unsigned int slot)
{
	h->added[bus] |= 1u << slot;
	tell(h, bus);
}

void pci_hotplug_request(struct pci_hotplug *h, unsigned int bus,
			 unsigned int slot)
{
	h->requested[bus] |= 1u << slot;
	h->wanted[bus] |= 1u << slot;
	tell(h, bus);
}

void pci_hotplug_gone(struct pci_hotplug *h, unsigned int bus,
		      unsigned int slot)
{
	h->added[bus] &= ~(1u << slot);
	h->requested[bus] &= ~(1u << slot);
	h->wanted[bus] &= ~(1u << slot);
}

void pci_hotplug_reset(struct pci_hotplug *h)
{
	h->buses = h->selected = 0;
	memset(h->added, 0, sizeof(h->added));
	memset(h->requested, 0, sizeof(h->requested));
	memset(h->wanted, 0, sizeof(h->wanted));
	memset(h->asked, 0, sizeof(h->asked));
}

void pci_hotplug_save(const struct pci_hotplug *h, struct state_writer *w)
{
	state_put_u32(w, h->buses);
	state_put_u32(w, h->selected);
	for (unsigned int i = 0; i < PCI_ROOTS; i++) {
		state_put_u32(w, h->added[i]);
		state_put_u32(w, h->requested[i]);
	}
}

int pci_hotplug_load(struct pci_hotplug *h, struct state_reader *r)
{
	h->buses = state_get_u32(r);
	h->selected = state_get_u32(r);
	for (unsigned int i = 0; i < PCI_ROOTS; i++) {
		h->added[i] = state_get_u32(r);
		h->requested[i] = state_get_u32(r);
	}
	return state_reader_error(r);
}

void pci_hotplug_still_wanted(struct pci_hotplug *h, unsigned int bus,
			      unsigned int slot)
{
	h->wanted[bus] |= 1u << slot;
	if (!(h->requested[bus] >> slot & 1))
		h->asked[bus][slot] = 1;
}
