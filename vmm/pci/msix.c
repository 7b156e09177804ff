/* SPDX-License-Identifier: MIT */
/*
 * MSI-X (PCI 3.0, 6.8.2): the table, the pending bits and the message control
 * word drive the vectors of irq.h. Under the machine lock, or before the vCPUs
 * run; the data path only calls msix_vector_notify().
 */
#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#include "pci/internal.h"
#include "state.h"

#define VECTORS_MAX	2048u
#define MASK_BIT	PCI_MSIX_ENTRY_CTRL_MASKBIT

void pci_set_vector_room(struct pci *p, unsigned int per_cpu,
			 unsigned int cpus)
{
	p->vector_room = (uint64_t)per_cpu * cpus;
	p->vector_cpus = cpus;
}

/*
 * In vectors of all processors together. Linux spreads a device's queues over
 * the processors, but reserves a vector on every one of them for a queue that
 * they all share; the vector for configuration changes is on one.
 */
static uint64_t vector_cost(const struct pci *p, unsigned int count)
{
	uint64_t cpus = p->vector_cpus;

	return (count - 1 + cpus - 1) / cpus * cpus + 1;
}

bool pci_claim_vectors(struct pci *p, unsigned int count)
{
	uint64_t cost = vector_cost(p, count);

	if (p->vector_room == UINT64_MAX)
		return true;
	if (cost > p->vector_room)
		return false;
	p->vector_room -= cost;
	return true;
}

void pci_release_vectors(struct pci *p, unsigned int count)
{
	if (p->vector_room != UINT64_MAX)
		p->vector_room += vector_cost(p, count);
}

static uint8_t *entry_at(const struct pci_msix *m, unsigned int index)
{
	return m->table + (size_t)index * PCI_MSIX_ENTRY_SIZE;
}

static void mask_table(const struct pci_msix *m)
{
	memset(m->table, 0, (size_t)m->count * PCI_MSIX_ENTRY_SIZE);
	for (unsigned int i = 0; i < m->count; i++)
		entry_at(m, i)[PCI_MSIX_ENTRY_VECTOR_CTRL] = MASK_BIT;
}

static int create_vectors(struct pci_msix *m, struct irq_chip *irq)
{
	int ret;

	for (; m->count < m->room; m->count++) {
		ret = msix_vector_init(&m->vectors[m->count], irq);
		if (ret)
			return ret;
	}
	return 0;
}

int pci_add_msix(struct pci_function *f, struct irq_chip *irq,
		 unsigned int count, unsigned int bar, uint32_t table_offset,
		 uint32_t pba_offset, struct error *e)
{
	struct pci_msix *m = &f->msix;
	int ret;

	assert(count >= 1 && count <= VECTORS_MAX && !m->count);
	assert(bar < PCI_BARS && !((table_offset | pba_offset) & 7));
	m->vectors = calloc(count, sizeof(*m->vectors));
	m->table = calloc(count, PCI_MSIX_ENTRY_SIZE);
	m->room = count;
	if (!m->vectors || !m->table) {
		ret = error_set(e, -ENOMEM, "out of memory");
		goto err;
	}
	ret = create_vectors(m, irq);
	if (ret) {
		error_errno(e, ret, "MSI-X vector %u of %u", m->count, count);
		goto err;
	}
	m->cap = pci_add_capability(f, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
	if (!m->cap) {
		ret = error_set(e, -ENOSPC, "no room for the MSI-X capability");
		goto err;
	}
	mask_table(m);
	pci_put(f, m->cap + PCI_MSIX_FLAGS, 2, count - 1);
	pci_put(f, m->cap + PCI_MSIX_TABLE, 4, table_offset | bar);
	pci_put(f, m->cap + PCI_MSIX_PBA, 4, pba_offset | bar);
	bus_put_le(f->writable + m->cap + PCI_MSIX_FLAGS, 2,
		   PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	return 0;
err:
	pci_msix_deinit(f);
	return ret;
}

void pci_msix_deinit(struct pci_function *f)
{
	struct pci_msix *m = &f->msix;

	while (m->count > 0)
		msix_vector_deinit(&m->vectors[--m->count]);
	free(m->vectors);
	free(m->table);
	memset(m, 0, sizeof(*m));
}

/* Connects or disconnects a vector as the masks say. */
static void follow(struct pci_msix *m, unsigned int index)
{
	struct msix_vector *v = &m->vectors[index];
	uint8_t *entry = entry_at(m, index);
	uint64_t address = bus_get_le(entry + PCI_MSIX_ENTRY_LOWER_ADDR, 8);
	uint32_t data = (uint32_t)bus_get_le(entry + PCI_MSIX_ENTRY_DATA, 4);
	uint8_t *control = entry + PCI_MSIX_ENTRY_VECTOR_CTRL;

	if (!atomic_load(&m->enabled) || m->function_masked ||
	    (*control & MASK_BIT))
		msix_vector_mask(v);
	else if (msix_vector_unmask(v, address, data))
		*control |= MASK_BIT;	/* the truth: nothing is delivered */
}

void pci_msix_update(struct pci_function *f)
{
	struct pci_msix *m = &f->msix;
	uint32_t flags = pci_get(f, m->cap + PCI_MSIX_FLAGS, 2);
	bool enabled = flags & PCI_MSIX_FLAGS_ENABLE;
	bool masked = flags & PCI_MSIX_FLAGS_MASKALL;
	bool was_enabled = atomic_load(&m->enabled);

	if (enabled == was_enabled && masked == m->function_masked)
		return;
	atomic_store(&m->enabled, enabled);
	m->function_masked = masked;
	for (unsigned int i = 0; i < m->count; i++)
		follow(m, i);
	if (was_enabled && !enabled)
		pci_intx_evaluate(f);
}

void pci_msix_reset(struct pci_function *f)
{
	struct pci_msix *m = &f->msix;

	if (!m->count)
		return;
	pci_put(f, m->cap + PCI_MSIX_FLAGS, 2, m->count - 1);
	atomic_store(&m->enabled, false);
	m->function_masked = false;
	mask_table(m);
	for (unsigned int i = 0; i < m->count; i++) {
		msix_vector_mask(&m->vectors[i]);
		msix_vector_clear(&m->vectors[i]);
	}
}

/* Double and quad words only, aligned (6.8.2). */
static bool table_access_valid(const struct pci_msix *m, uint64_t offset,
			       unsigned int len)
{
	return (len == 4 || len == 8) && !(offset & (len - 1)) &&
	       offset < (uint64_t)m->count * PCI_MSIX_ENTRY_SIZE;
}

void pci_msix_table_read(struct pci_function *f, uint64_t offset, uint8_t *data,
			 unsigned int len)
{
	if (table_access_valid(&f->msix, offset, len))
		memcpy(data, f->msix.table + offset, len);
	else
		memset(data, 0xff, len);
}

void pci_msix_table_write(struct pci_function *f, uint64_t offset,
			  const uint8_t *data, unsigned int len)
{
	struct pci_msix *m = &f->msix;
	unsigned int index;
	uint8_t *control;

	if (!table_access_valid(m, offset, len))
		return;
	memcpy(m->table + offset, data, len);
	index = (unsigned int)(offset / PCI_MSIX_ENTRY_SIZE);
	/* The other bits of vector control are reserved. */
	control = entry_at(m, index) + PCI_MSIX_ENTRY_VECTOR_CTRL;
	bus_put_le(control, 4, *control & MASK_BIT);
	follow(m, index);
}

void pci_msix_pba_read(struct pci_function *f, uint64_t offset, uint8_t *data,
		       unsigned int len)
{
	struct pci_msix *m = &f->msix;
	uint64_t first = offset * 8, bits = 0;

	/* One quad word holds 64 pending bits; past the last they are zero. */
	if ((len != 4 && len != 8) || (offset & (len - 1)) ||
	    offset >= VECTORS_MAX / 8) {
		memset(data, 0xff, len);
		return;
	}
	for (unsigned int i = 0; i < 8 * len && first + i < m->count; i++)
		if (msix_vector_pending(&m->vectors[first + i]))
			bits |= 1ull << i;
	bus_put_le(data, len, bits);
}

void pci_function_hold_interrupts(struct pci_function *f)
{
	for (unsigned int i = 0; i < f->msix.count; i++)
		msix_vector_mask(&f->msix.vectors[i]);
}

void pci_function_release_interrupts(struct pci_function *f)
{
	for (unsigned int i = 0; i < f->msix.count; i++)
		follow(&f->msix, i);
}

void pci_msix_save(const struct pci_function *f, struct state_writer *w)
{
	const struct pci_msix *m = &f->msix;

	state_put_u32(w, m->count);
	for (unsigned int i = 0; i < m->count; i++) {
		state_put_bytes(w, entry_at(m, i), PCI_MSIX_ENTRY_SIZE);
		state_put_bool(w, msix_vector_pending(&m->vectors[i]));
	}
}

int pci_msix_load(struct pci_function *f, struct state_reader *r)
{
	struct pci_msix *m = &f->msix;
	uint32_t count = state_get_u32(r), flags;

	if (state_reader_error(r))
		return state_reader_error(r);
	if (count != m->count)
		return -EPROTO;
	for (unsigned int i = 0; i < count; i++) {
		uint8_t *control = entry_at(m, i) + PCI_MSIX_ENTRY_VECTOR_CTRL;

		state_get_bytes(r, entry_at(m, i), PCI_MSIX_ENTRY_SIZE);
		bus_put_le(control, 4, *control & MASK_BIT);
		if (state_get_bool(r))
			msix_vector_notify(&m->vectors[i]);
	}
	if (state_reader_error(r) || !count)
		return state_reader_error(r);
	flags = pci_get(f, m->cap + PCI_MSIX_FLAGS, 2);
	atomic_store(&m->enabled, flags & PCI_MSIX_FLAGS_ENABLE);
	m->function_masked = flags & PCI_MSIX_FLAGS_MASKALL;
	pci_function_release_interrupts(f);
	return 0;
}
