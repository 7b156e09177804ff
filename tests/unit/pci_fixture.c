/* SPDX-License-Identifier: MIT */
/* A machine without KVM for the PCI tests. The test's thread. */
#include "pci_fixture.h"

#include <string.h>
#include <unistd.h>

struct fake_kvm fake_kvm;

int kvm_check(const struct kvm_vm *vm, int capability)
{
	(void)vm;
	return capability == KVM_CAP_IRQ_ROUTING ? fake_kvm.routes : 0;
}

unsigned int kvm_arch_routes(struct kvm_irq_routing_entry *entries,
			     unsigned int max, uint32_t *first_msi)
{
	assert_true(max >= 4);
	for (unsigned int i = 0; i < 4; i++)
		entries[i] = (struct kvm_irq_routing_entry){
			.gsi = GSI_INTX + i,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
		};
	*first_msi = GSI_MSI;
	return 4;
}

int kvm_set_gsi_routing(struct kvm_vm *vm, struct kvm_irq_routing *r)
{
	(void)vm;
	if (fake_kvm.routing_error)
		return fake_kvm.routing_error;
	assert_true(r->nr <= (unsigned int)fake_kvm.routes);
	for (unsigned int i = 0; i < r->nr; i++) {
		if (r->entries[i].type != KVM_IRQ_ROUTING_MSI)
			continue;
		fake_kvm.last_address =
			(uint64_t)r->entries[i].u.msi.address_hi << 32 |
			r->entries[i].u.msi.address_lo;
		fake_kvm.last_data = r->entries[i].u.msi.data;
	}
	return 0;
}

int kvm_irqfd(struct kvm_vm *vm, uint32_t gsi, int fd, int resamplefd,
	      bool assign)
{
	struct fake_kvm *k = &fake_kvm;

	(void)vm;
	assert_true(fd >= 0);
	if (assign && k->irqfd_error)
		return k->irqfd_error;
	for (unsigned int i = 0; i < k->irqfd_count; i++) {
		if (k->irqfds[i].fd != fd || k->irqfds[i].gsi != gsi)
			continue;
		assert_false(assign);
		k->irqfds[i] = k->irqfds[--k->irqfd_count];
		return 0;
	}
	assert_true(assign && k->irqfd_count < FAKE_KVM_MAX);
	k->irqfds[k->irqfd_count].gsi = gsi;
	k->irqfds[k->irqfd_count].fd = fd;
	k->irqfds[k->irqfd_count++].resamplefd = resamplefd;
	return 0;
}

int kvm_ioeventfd(struct kvm_vm *vm, uint64_t gpa, uint32_t len, bool match,
		  uint64_t value, int fd, bool assign)
{
	struct fake_kvm *k = &fake_kvm;

	(void)vm;
	(void)value;
	assert_true(fd >= 0 && len == 0 && !match);
	for (unsigned int i = 0; i < k->ioeventfd_count; i++) {
		if (k->ioeventfds[i].gpa != gpa)
			continue;
		assert_false(assign);
		assert_int_equal(k->ioeventfds[i].fd, fd);
		k->ioeventfds[i] = k->ioeventfds[--k->ioeventfd_count];
		return 0;
	}
	assert_true(assign);
	if (k->ioeventfd_count == k->ioeventfd_room)
		return -ENOSPC;
	k->ioeventfds[k->ioeventfd_count].gpa = gpa;
	k->ioeventfds[k->ioeventfd_count++].fd = fd;
	return 0;
}

void pci_fixture_init(struct pci_fixture *m)
{
	const struct pci_windows windows = {
		.ecam_base = ECAM_BASE,
		.mmio32_base = MMIO32_BASE,
		.mmio32_len = MMIO32_LEN,
		.mmio64_base = MMIO64_BASE,
		.mmio64_len = MMIO64_LEN,
		.intx_gsi = { GSI_INTX, GSI_INTX + 1, GSI_INTX + 2,
			      GSI_INTX + 3 },
	};
	struct error e;

	memset(&fake_kvm, 0, sizeof(fake_kvm));
	fake_kvm.routes = 1024;
	fake_kvm.ioeventfd_room = FAKE_KVM_MAX;
	memset(m, 0, sizeof(*m));
	pthread_mutex_init(&m->lock, NULL);
	assert_int_equal(bus_create(&m->mmio, &m->lock), 0);
	assert_int_equal(bus_create(&m->pio, &m->lock), 0);
	assert_int_equal(irq_chip_create(&m->irq, &m->vm, &e), 0);
	assert_int_equal(loop_create(&m->loop), 0);
	assert_int_equal(pci_create(&m->pci, m->mmio, m->pio, m->irq, m->loop,
				    &windows, &e), 0);
}

void pci_fixture_deinit(struct pci_fixture *m)
{
	pci_destroy(m->pci);
	loop_destroy(m->loop);
	irq_chip_destroy(m->irq);
	bus_destroy(m->pio);
	bus_destroy(m->mmio);
	pthread_mutex_destroy(&m->lock);
	assert_int_equal(fake_kvm.irqfd_count, 0);
	assert_int_equal(fake_kvm.ioeventfd_count, 0);
}

static void stop(void *opaque)
{
	loop_stop(opaque);
}

void run_loop(struct loop *l)
{
	struct loop_timer t;

	assert_int_equal(loop_timer_init(l, &t, stop, l), 0);
	loop_timer_set(&t, 2000000, 0);
	loop_run(l);
	loop_timer_deinit(&t);
}

uint64_t take_interrupts(uint32_t gsi)
{
	uint64_t sum = 0, count;

	for (unsigned int i = 0; i < fake_kvm.irqfd_count; i++)
		if (fake_kvm.irqfds[i].gsi == gsi &&
		    read(fake_kvm.irqfds[i].fd, &count, 8) == 8)
			sum += count;
	return sum;
}

void end_of_interrupt(uint32_t gsi)
{
	uint64_t one = 1;

	for (unsigned int i = 0; i < fake_kvm.irqfd_count; i++)
		if (fake_kvm.irqfds[i].gsi == gsi)
			assert_int_equal(write(fake_kvm.irqfds[i].resamplefd,
					       &one, 8), 8);
}

bool has_ioeventfd(uint64_t gpa)
{
	for (unsigned int i = 0; i < fake_kvm.ioeventfd_count; i++)
		if (fake_kvm.ioeventfds[i].gpa == gpa)
			return true;
	return false;
}

uint64_t mmio_get(struct pci_fixture *m, uint64_t addr, unsigned int len)
{
	uint8_t data[8];

	bus_read(m->mmio, addr, data, len);
	return bus_get_le(data, len);
}

void mmio_put(struct pci_fixture *m, uint64_t addr, unsigned int len,
	      uint64_t value)
{
	uint8_t data[8];

	bus_put_le(data, len, value);
	bus_write(m->mmio, addr, data, len);
}

uint64_t ecam_address(unsigned int bus, unsigned int slot, uint32_t reg)
{
	return ECAM_BASE + (bus << 20 | slot << 15 | reg);
}

uint32_t ecam_get(struct pci_fixture *m, unsigned int bus, unsigned int slot,
		  uint32_t reg, unsigned int len)
{
	return (uint32_t)mmio_get(m, ecam_address(bus, slot, reg), len);
}

void ecam_put(struct pci_fixture *m, unsigned int bus, unsigned int slot,
	      uint32_t reg, unsigned int len, uint32_t value)
{
	mmio_put(m, ecam_address(bus, slot, reg), len, value);
}

uint32_t find_capability(struct pci_fixture *m, unsigned int bus,
			 unsigned int slot, uint8_t id, unsigned int n)
{
	uint32_t at = ecam_get(m, bus, slot, PCI_CAPABILITY_LIST, 1);
	unsigned int hops = 0;

	while (at) {
		assert_true(at >= 0x40 && !(at & 3) && ++hops < 48);
		if (ecam_get(m, bus, slot, at, 1) == id && !n--)
			return at;
		at = ecam_get(m, bus, slot, at + PCI_CAP_LIST_NEXT, 1);
	}
	return 0;
}
