/* SPDX-License-Identifier: MIT */
/*
 * INTx, the fallback of a driver that gets no MSI-X vectors (PCI 3.0, 2.2.6): a
 * level-triggered line per function, shared with the functions whose slots
 * rotate to the same GSI. Set up and taken down under the machine lock; raised
 * on any thread; ends of interrupt are handled on the pci loop's thread.
 *
 * KVM lowers a line at the guest's end of interrupt whatever its cause does,
 * and tells every owner: the one whose cause is still there raises it again.
 */
#include <linux/pci_regs.h>
#include <unistd.h>

#include "pci/internal.h"

#define PIN_INTA 1

uint32_t pci_intx_gsi(const struct pci *p, unsigned int bus, unsigned int slot)
{
	(void)bus;	/* all root buses share the four lines */
	return p->windows.intx_gsi[slot % 4];
}

void pci_intx_describe(struct pci_function *f)
{
	if (!f->ops || !f->ops->intx_level)
		return;
	pci_put(f, PCI_INTERRUPT_PIN, 1, PIN_INTA);
	pci_put(f, PCI_INTERRUPT_LINE, 1,
		pci_intx_gsi(f->pci, f->bus, f->slot));
}

bool pci_intx_pending(struct pci_function *f)
{
	return f->ops && f->ops->intx_level && !atomic_load(&f->msix.enabled) &&
	       f->ops->intx_level(f);
}

void pci_intx_raise(struct pci_function *f)
{
	if (atomic_load(&f->intx_ready) && !atomic_load(&f->intx_disabled) &&
	    !atomic_load(&f->msix.enabled))
		irq_line_raise(&f->intx);
}

void pci_intx_evaluate(struct pci_function *f)
{
	if (pci_intx_pending(f))
		pci_intx_raise(f);
}

static void end_of_interrupt(struct loop_watch *w, uint32_t events)
{
	struct pci_function *f = w->opaque;
	uint64_t count;

	(void)events;
	(void)!read(w->fd, &count, sizeof(count));
	pci_intx_evaluate(f);
}

int pci_intx_prepare(struct pci_function *f)
{
	struct pci *p = f->pci;
	int ret;

	if (atomic_load(&f->intx_ready))
		return 0;
	ret = irq_line_init(&f->intx, p->irq,
			    pci_intx_gsi(p, f->bus, f->slot), true, NULL);
	if (ret)
		return ret;
	ret = loop_add(p->loop, &f->intx_resample, f->intx.resamplefd, EPOLLIN,
		       end_of_interrupt, f);
	if (ret) {
		irq_line_deinit(&f->intx);
		return ret;
	}
	/* A cause set before this store is seen here, one set after it sees
	 * the store and raises itself. */
	atomic_store(&f->intx_ready, true);
	pci_intx_evaluate(f);
	return 0;
}

void pci_intx_update(struct pci_function *f)
{
	atomic_store(&f->intx_disabled, pci_get(f, PCI_COMMAND, 2) &
						PCI_COMMAND_INTX_DISABLE);
	pci_intx_evaluate(f);
}

void pci_intx_teardown(struct pci_function *f)
{
	if (!atomic_exchange(&f->intx_ready, false))
		return;
	loop_remove(&f->intx_resample);
	irq_line_deinit(&f->intx);
}
