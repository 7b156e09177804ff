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

/* The lowest free place that agrees with *bus and *slot, where -1 is any. */
static int choose_slot(const struct pci *p, int *bus, int *slot)
{
	for (int b = 0; b < PCI_ROOTS; b++) {
		if (*bus >= 0 && b != *bus)
			continue;
		for (int s = 0; s < PCI_SLOTS; s++) {
			if ((*slot >= 0 && s != *slot) || p->functions[b][s])
				continue;
			*bus = b;
			*slot = s;
			return 0;
		}
	}
	return *bus >= 0 && *slot >= 0 ? -EBUSY : -ENOSPC;
}

int pci_attach(struct pci *p, struct pci_function *f, int bus, int slot,
	       struct error *e)
{
	int ret;

	assert(!f->pci);
	if (bus < -1 || bus >= PCI_ROOTS || slot < -1 || slot >= PCI_SLOTS)
		return error_config(e, -EINVAL, "no PCI slot %d on bus pcie.%d",
				    slot, bus);
	ret = choose_slot(p, &bus, &slot);
	if (ret == -EBUSY)
		return error_class_set(e, ERROR_ALREADY_ATTACHED, ret,
				       "slot %d of pcie.%d is taken", slot,
				       bus);
	if (ret)
		return error_class_set(e, ERROR_NO_AVAILABLE_LOCATION, ret,
				       "no free PCI slot");
	f->pci = p;
	f->bus = (uint8_t)bus;
	f->slot = (uint8_t)slot;
	p->functions[bus][slot] = f;
	ret = pci_bars_allocate(f, e);
	if (ret) {
		p->functions[bus][slot] = NULL;
		f->pci = NULL;
		return ret;
	}
	pci_intx_describe(f);
	memcpy(f->initial, f->config, sizeof(f->config));
	return 0;
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
