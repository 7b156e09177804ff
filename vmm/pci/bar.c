/* SPDX-License-Identifier: MIT */
/*
 * Base address registers: homes in the windows of a root bus, and the MMIO bus
 * following what the guest writes. Machine lock held, or before the vCPUs run.
 */
#include <errno.h>
#include <linux/pci_regs.h>

#include "pci/internal.h"

#define PAGE_BYTES 0x1000ull

struct window {
	uint64_t base, len_bytes;
};

static struct window window32(const struct pci *p, unsigned int bus)
{
	uint64_t len = p->windows.mmio32_len / PCI_ROOTS;

	return (struct window){ p->windows.mmio32_base + bus * len, len };
}

static struct window window64(const struct pci *p, unsigned int bus)
{
	uint64_t len = p->windows.mmio64_len / PCI_ROOTS;

	return (struct window){ p->windows.mmio64_base + bus * len, len };
}

void pci_root_window32(const struct pci *p, unsigned int bus, uint64_t *base,
		       uint64_t *len_bytes)
{
	struct window w = window32(p, bus);

	*base = w.base;
	*len_bytes = w.len_bytes;
}

void pci_root_window64(const struct pci *p, unsigned int bus, uint64_t *base,
		       uint64_t *len_bytes)
{
	struct window w = window64(p, bus);

	*base = w.base;
	*len_bytes = w.len_bytes;
}

static bool window_holds(struct window w, uint64_t base, uint64_t len_bytes)
{
	return base >= w.base && len_bytes <= w.len_bytes &&
	       base - w.base <= w.len_bytes - len_bytes;
}

/* The end of a home of the same root bus that overlaps [base, base+len), 0. */
static uint64_t conflict_end(const struct pci_function *f, uint64_t base,
			     uint64_t len_bytes)
{
	for (unsigned int slot = 0; slot < PCI_SLOTS; slot++) {
		struct pci_function *o = f->pci->functions[f->bus][slot];

		for (unsigned int i = 0; o && i < PCI_BARS; i++) {
			const struct pci_bar *b = &o->bars[i];

			if (b->home && base < b->home + b->range.len_bytes &&
			    b->home < base + len_bytes)
				return b->home + b->range.len_bytes;
		}
	}
	return 0;
}

static uint64_t find_home(const struct pci_function *f, struct window w,
			  uint64_t len_bytes)
{
	/* Not less than a page each: systems map BARs by the page. */
	uint64_t align = len_bytes < PAGE_BYTES ? PAGE_BYTES : len_bytes;
	uint64_t end = w.base, base;

	if (!w.len_bytes)
		return 0;
	do {
		base = (end + align - 1) & ~(align - 1);
		if (base < end || !window_holds(w, base, len_bytes))
			return 0;
		end = conflict_end(f, base, len_bytes);
	} while (end);
	return base;
}

static void set_address(struct pci_function *f, unsigned int bar,
			uint64_t address)
{
	uint32_t at = PCI_BASE_ADDRESS_0 + 4 * bar;

	pci_put(f, at, 4, (uint32_t)address | (pci_get(f, at, 4) & 0xf));
	if (f->bars[bar].is_64bit)
		pci_put(f, at + 4, 4, (uint32_t)(address >> 32));
}

static uint64_t get_address(const struct pci_function *f, unsigned int bar)
{
	uint32_t at = PCI_BASE_ADDRESS_0 + 4 * bar;
	uint64_t address = pci_get(f, at, 4) & ~0xfu;

	if (f->bars[bar].is_64bit)
		address |= (uint64_t)pci_get(f, at + 4, 4) << 32;
	return address;
}

static uint64_t choose_home(const struct pci_function *f,
			    const struct pci_bar *b)
{
	uint64_t home = 0;

	/* Only what may be prefetched goes high; the rest stays where every
	 * system and every processor reaches it. */
	if (b->is_64bit && b->prefetchable)
		home = find_home(f, window64(f->pci, f->bus),
				 b->range.len_bytes);
	if (!home)
		home = find_home(f, window32(f->pci, f->bus),
				 b->range.len_bytes);
	return home;
}

int pci_bars_allocate(struct pci_function *f, struct error *e)
{
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		struct pci_bar *b = &f->bars[i];

		if (!b->range.len_bytes)
			continue;
		b->home = choose_home(f, b);
		if (!b->home) {
			pci_bars_release(f);
			return error_class_set(e, ERROR_NO_AVAILABLE_LOCATION,
					       -ENOSPC, "pcie.%u: no room for "
					       "a BAR of %llu bytes", f->bus,
					       (unsigned long long)
					       b->range.len_bytes);
		}
		set_address(f, i, b->home);
	}
	return 0;
}

void pci_bars_release(struct pci_function *f)
{
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		if (!f->bars[i].range.len_bytes)
			continue;
		f->bars[i].home = 0;
		set_address(f, i, 0);
	}
}

int pci_bar_set_home(struct pci_function *f, unsigned int bar, uint64_t home)
{
	struct pci_bar *b = &f->bars[bar];
	uint64_t len = b->range.len_bytes;

	if (!len)
		return home ? -EPROTO : 0;
	if ((home & (len - 1)) ||
	    (!window_holds(window32(f->pci, f->bus), home, len) &&
	     !window_holds(window64(f->pci, f->bus), home, len)))
		return -EPROTO;
	b->home = home;
	/* A reset puts it back there. */
	bus_put_le(f->initial + PCI_BASE_ADDRESS_0 + 4 * bar, 4,
		   ((uint32_t)home & ~0xfu) |
		   (f->initial[PCI_BASE_ADDRESS_0 + 4 * bar] & 0xf));
	if (b->is_64bit)
		bus_put_le(f->initial + PCI_BASE_ADDRESS_0 + 4 * bar + 4, 4,
			   home >> 32);
	return 0;
}

/* Where the guest wants the BAR; false when nowhere that it could be. A BAR
 * outside its root bus's windows would cover RAM or another device. */
static bool decodes(const struct pci_function *f, unsigned int bar,
		    uint64_t *address)
{
	uint64_t len = f->bars[bar].range.len_bytes;

	if (!len || !(pci_get(f, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY))
		return false;
	*address = get_address(f, bar);
	return window_holds(window32(f->pci, f->bus), *address, len) ||
	       window_holds(window64(f->pci, f->bus), *address, len);
}

static void unmap(struct pci_function *f, unsigned int bar)
{
	bus_remove(f->pci->mmio, &f->bars[bar].range);
	if (f->ops && f->ops->bar_unmapped)
		f->ops->bar_unmapped(f, bar);
}

static void map_all(struct pci_function *f)
{
	uint64_t address = 0;

	for (unsigned int i = 0; i < PCI_BARS; i++) {
		struct pci_bar *b = &f->bars[i];

		if (b->range.attached || !decodes(f, i, &address))
			continue;
		b->range.base = address;
		if (bus_add(f->pci->mmio, &b->range)) {
			f->pci->bars_refused = true;
			continue;
		}
		if (f->ops && f->ops->bar_mapped)
			f->ops->bar_mapped(f, i, address);
	}
}

/* An address became free: a BAR that waited may have been waiting for it. */
static void retry_refused(struct pci *p)
{
	if (!p->bars_refused)
		return;
	p->bars_refused = false;
	for (unsigned int bus = 0; bus < PCI_ROOTS; bus++)
		for (unsigned int slot = 0; slot < PCI_SLOTS; slot++)
			if (p->functions[bus][slot])
				map_all(p->functions[bus][slot]);
}

void pci_bars_update(struct pci_function *f)
{
	bool freed = false;
	uint64_t address = 0;

	for (unsigned int i = 0; i < PCI_BARS; i++) {
		struct pci_bar *b = &f->bars[i];

		if (!b->range.attached ||
		    (decodes(f, i, &address) && address == b->range.base))
			continue;
		unmap(f, i);
		freed = true;
	}
	map_all(f);
	if (freed)
		retry_refused(f->pci);
}

void pci_bars_unmap(struct pci_function *f)
{
	pci_put(f, PCI_COMMAND, 2,
		pci_get(f, PCI_COMMAND, 2) & ~PCI_COMMAND_MEMORY);
	pci_bars_update(f);
}
