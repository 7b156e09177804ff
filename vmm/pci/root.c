/* SPDX-License-Identifier: MIT */
/*
 * The root buses: which function is in which slot. Main thread before the vCPUs
 * run, later whoever holds the machine lock.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pci/internal.h"

int pci_create(struct pci **out, struct bus *mmio, struct bus *pio,
	       struct irq_chip *irq, struct loop *loop,
	       const struct pci_windows *w, struct error *e)
{
	struct pci *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return error_set(e, -ENOMEM, "out of memory");
	p->mmio = mmio;
	p->pio = pio;
	p->irq = irq;
	p->loop = loop;
	p->windows = *w;
	p->vector_room = UINT64_MAX;
	p->vector_cpus = 1;
	ret = pci_config_attach(p, e);
	if (ret)
		goto err_free;
	pci_host_bridge_init(&p->host_bridge);
	ret = pci_attach(p, &p->host_bridge, 0, 0, e);
	if (ret)
		goto err_config;
	*out = p;
	return 0;

err_config:
	pci_config_detach(p);
err_free:
	free(p);
	return ret;
}

void pci_destroy(struct pci *p)
{
	if (!p)
		return;
	pci_detach(&p->host_bridge);
	pci_function_deinit(&p->host_bridge);
	for (unsigned int bus = 0; bus < PCI_ROOTS; bus++)
		for (unsigned int slot = 0; slot < PCI_SLOTS; slot++)
			assert(!p->functions[bus][slot]);
	pci_config_detach(p);
	free(p);
}

void pci_reset(struct pci *p)
{
	p->config_address = 0;
}

void pci_set_reset_port(struct pci *p, uint8_t (*read)(void *opaque),
			void (*write)(void *opaque, uint8_t value),
			void *opaque)
{
	p->reset_read = read;
	p->reset_write = write;
	p->reset_opaque = opaque;
}

uint32_t pci_roots_in_use(const struct pci *p)
{
	uint32_t mask = 1;

	for (unsigned int bus = 0; bus < PCI_ROOTS; bus++)
		for (unsigned int slot = 0; slot < PCI_SLOTS; slot++)
			if (p->functions[bus][slot])
				mask |= 1u << bus;
	return mask;
}

struct pci_function *pci_function_at(struct pci *p, unsigned int bus,
				     unsigned int slot)
{
	if (bus >= PCI_ROOTS || slot >= PCI_SLOTS)
		return NULL;
	return p->functions[bus][slot];
}

/* The lowest free slot of a bus, or the one asked for; -EBUSY, -ENOSPC. */
static int choose_slot(const struct pci *p, unsigned int bus, int slot)
{
	if (slot >= 0)
		return p->functions[bus][slot] ? -EBUSY : slot;
	for (int s = 0; s < PCI_SLOTS; s++)
		if (!p->functions[bus][s])
			return s;
	return -ENOSPC;
}

/* As pci_attach() on this bus; on failure the function is as before. */
static int attach_to_bus(struct pci *p, struct pci_function *f,
			 unsigned int bus, int slot, struct error *e)
{
	int ret = choose_slot(p, bus, slot);

	if (ret == -EBUSY)
		return error_class_set(e, ERROR_ALREADY_ATTACHED, ret,
				       "slot %d of pcie.%u is taken", slot,
				       bus);
	if (ret < 0)
		return error_class_set(e, ERROR_NO_AVAILABLE_LOCATION, ret,
				       "no free PCI slot on pcie.%u", bus);
	slot = ret;
	f->pci = p;
	f->bus = (uint8_t)bus;
	f->slot = (uint8_t)slot;
	p->functions[bus][slot] = f;
	ret = pci_bars_allocate(f, e);
	if (ret) {
		p->functions[bus][slot] = NULL;
		f->pci = NULL;
	}
	return ret;
}

/* A bus may have free slots and no room for the BARs: then the next is tried. */
static int attach_to_any(struct pci *p, struct pci_function *f, int slot,
			 struct error *e)
{
	for (unsigned int bus = 0; bus < PCI_ROOTS; bus++)
		if (!attach_to_bus(p, f, bus, slot, NULL))
			return 0;
	return error_class_set(e, ERROR_NO_AVAILABLE_LOCATION, -ENOSPC,
			       "no root bus has a free PCI slot and room for "
			       "the BARs");
}

int pci_attach(struct pci *p, struct pci_function *f, int bus, int slot,
	       struct error *e)
{
	int ret;

	assert(!f->pci);
	if (bus < -1 || bus >= PCI_ROOTS || slot < -1 || slot >= PCI_SLOTS)
		return error_config(e, -EINVAL, "no PCI slot %d on bus pcie.%d",
				    slot, bus);
	ret = bus < 0 ? attach_to_any(p, f, slot, e) :
			attach_to_bus(p, f, (unsigned int)bus, slot, e);
	if (ret)
		return ret;
	pci_intx_describe(f);
	memcpy(f->initial, f->config, sizeof(f->config));
	return 0;
}

void pci_hide(struct pci_function *f)
{
	f->hidden = true;
}

void pci_detach(struct pci_function *f)
{
	struct pci *p = f->pci;

	if (!p)
		return;
	pci_bars_unmap(f);
	pci_bars_release(f);
	pci_msix_reset(f);
	pci_intx_teardown(f);
	p->functions[f->bus][f->slot] = NULL;
	f->pci = NULL;
}
