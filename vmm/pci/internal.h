/* SPDX-License-Identifier: MIT */
/* What the files of vmm/pci/ share; everything under the machine lock. */
#ifndef MOTE_PCI_INTERNAL_H
#define MOTE_PCI_INTERNAL_H

#include "pci/pci.h"

#define PCI_ECAM_BYTES_PER_BUS 0x100000ull

struct pci {
	struct bus *mmio, *pio;		/* pio NULL: no port I/O here */
	struct irq_chip *irq;
	struct loop *loop;
	struct pci_windows windows;
	struct pci_function *functions[PCI_ROOTS][PCI_SLOTS];
	struct pci_function host_bridge;
	struct bus_range ecam, ports;
	uint32_t config_address;	/* 0xcf8 */
	uint8_t (*reset_read)(void *opaque);
	void (*reset_write)(void *opaque, uint8_t value);
	void *reset_opaque;
	uint64_t vector_room;		/* UINT64_MAX: no limit */
	unsigned int vector_cpus;
	bool bars_refused;	/* a BAR waits for its range to become free */
};

/* config.c: the two ways to configuration space, added to the buses. */
int pci_config_attach(struct pci *p, struct error *e);
void pci_config_detach(struct pci *p);
/* bar.c */

/* Gives every BAR of a function in its slot a home; on failure none has one. */
int pci_bars_allocate(struct pci_function *f, struct error *e);
void pci_bars_release(struct pci_function *f);
/* Makes the MMIO bus agree with the command and base address registers. */
void pci_bars_update(struct pci_function *f);
/* Clears PCI_COMMAND_MEMORY. */
void pci_bars_unmap(struct pci_function *f);
/* Another home than the one from attach: where a saved function had it. */
int pci_bar_set_home(struct pci_function *f, unsigned int bar, uint64_t home);

/* msix.c */

/* After a write to the message control word. */
void pci_msix_update(struct pci_function *f);
void pci_msix_reset(struct pci_function *f);
void pci_msix_deinit(struct pci_function *f);
void pci_msix_save(const struct pci_function *f, struct state_writer *w);
/* After the configuration space. */
int pci_msix_load(struct pci_function *f, struct state_reader *r);

/* intx.c */

/* The pin and where it leads, for a function that has a cause to ask about. */
void pci_intx_describe(struct pci_function *f);
/* After a write to the command register. */
void pci_intx_update(struct pci_function *f);
void pci_intx_teardown(struct pci_function *f);
/* The line is asserted as far as the function is concerned (6.2.3, Interrupt
 * Status); any thread. */
bool pci_intx_pending(struct pci_function *f);
/* Raises it when it is pending and the guest lets it through. */
void pci_intx_evaluate(struct pci_function *f);

/* host_bridge.c */
void pci_host_bridge_init(struct pci_function *f);

/* Registers of a function's own copy, any alignment. */
static inline uint32_t pci_get(const struct pci_function *f, uint32_t offset,
			       unsigned int len)
{
	return (uint32_t)bus_get_le(f->config + offset, len);
}

static inline void pci_put(struct pci_function *f, uint32_t offset,
			   unsigned int len, uint32_t value)
{
	bus_put_le(f->config + offset, len, value);
}

/* True when an access touches [at, at + size). */
static inline bool pci_touches(uint32_t offset, uint32_t len, uint32_t at,
			       uint32_t size)
{
	return offset < at + size && at < offset + len;
}

#endif
