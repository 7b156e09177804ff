/* SPDX-License-Identifier: MIT */
/*
 * One function's configuration header (PCI 3.0, 6.1): built before the function
 * is attached, put back at reset. Main thread, or under the machine lock.
 */
#include <assert.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "pci/internal.h"

static void set_writable(struct pci_function *f, uint32_t offset,
			 unsigned int len, uint32_t mask)
{
	bus_put_le(f->writable + offset, len, mask);
}

void pci_function_init(struct pci_function *f,
		       const struct pci_function_ops *ops,
		       const struct pci_ids *ids)
{
	memset(f, 0, sizeof(*f));
	f->ops = ops;
	f->intx = (struct irq_line)IRQ_LINE_INIT;
	f->intx_resample = (struct loop_watch)LOOP_WATCH_INIT;
	f->cap_end = PCI_STD_HEADER_SIZEOF;

	pci_put(f, PCI_VENDOR_ID, 2, ids->vendor);
	pci_put(f, PCI_DEVICE_ID, 2, ids->device);
	pci_put(f, PCI_CLASS_REVISION, 4,
		ids->class_code << 8 | ids->revision);
	pci_put(f, PCI_SUBSYSTEM_VENDOR_ID, 2, ids->subsystem_vendor);
	pci_put(f, PCI_SUBSYSTEM_ID, 2, ids->subsystem);

	set_writable(f, PCI_COMMAND, 2,
		     PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
		     PCI_COMMAND_INTX_DISABLE);
	set_writable(f, PCI_CACHE_LINE_SIZE, 1, 0xff);
	set_writable(f, PCI_INTERRUPT_LINE, 1, 0xff);
}

uint8_t pci_add_capability(struct pci_function *f, uint8_t id, uint8_t len)
{
	uint8_t at = f->cap_end;

	assert(len >= PCI_CAP_SIZEOF && !f->pci);
	/* Capabilities are double-word aligned (6.7). cap_end is 0 when the
	 * last one reached the end. */
	if (!at || len > PCI_CONFIG_BYTES - at)
		return 0;
	f->config[at + PCI_CAP_LIST_ID] = id;
	if (f->last_cap)
		f->config[f->last_cap + PCI_CAP_LIST_NEXT] = at;
	else
		f->config[PCI_CAPABILITY_LIST] = at;
	f->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	f->last_cap = at;
	f->cap_end = (uint8_t)((at + len + 3) & ~3);
	return at;
}

void pci_add_bar(struct pci_function *f, unsigned int bar, uint64_t len_bytes,
		 bool is_64bit, bool prefetchable, const struct bus_ops *ops,
		 void *opaque)
{
	struct pci_bar *b = &f->bars[bar];
	uint32_t at = PCI_BASE_ADDRESS_0 + 4 * bar;
	uint64_t mask = ~(len_bytes - 1);

	assert(bar + is_64bit < PCI_BARS && !f->pci);
	assert(len_bytes >= 16 && !(len_bytes & (len_bytes - 1)));
	assert(is_64bit || len_bytes <= 0x80000000u);
	b->range = (struct bus_range){
		.len_bytes = len_bytes,
		.ops = ops,
		.opaque = opaque,
	};
	b->is_64bit = is_64bit;
	b->prefetchable = prefetchable;
	/* The address bits below the size stay zero, so the all-ones write of
	 * 6.2.5.1 reads back as the size. */
	set_writable(f, at, 4, (uint32_t)mask);
	if (is_64bit)
		set_writable(f, at + 4, 4, (uint32_t)(mask >> 32));
	pci_put(f, at, 4,
		(is_64bit ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0) |
		(prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0));
}

void pci_function_reset(struct pci_function *f)
{
	assert(f->pci);
	pci_bars_unmap(f);
	memcpy(f->config, f->initial, sizeof(f->config));
	pci_msix_reset(f);
	pci_intx_update(f);
}

void pci_function_deinit(struct pci_function *f)
{
	assert(!f->pci);
	pci_msix_deinit(f);
}
