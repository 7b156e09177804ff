/* SPDX-License-Identifier: MIT */
/* LINK: error bus irq loop pci/root pci/config pci/function pci/bar pci/msix pci/intx pci/host_bridge pci/state state */
/* WITH: pci_fixture */
/* MSI-X: table, masks, pending bits, and INTx as what is left without it. */
#include "pci_fixture.h"

#include <string.h>

#define VECTORS		70u
#define TABLE		0x0000u
#define PBA		0x0800u
#define SLOT		2u		/* of bus 0 */
#define ENABLE		PCI_MSIX_FLAGS_ENABLE
#define MASKALL		PCI_MSIX_FLAGS_MASKALL
#define ADDRESS		0xfee01000ull

struct fixture {
	struct pci_function f;		/* first: intx_level casts */
	struct pci_fixture m;
	uint64_t bar;
	bool level;
};

static void bar_read(void *opaque, uint64_t offset, uint8_t *data,
		     unsigned int len)
{
	if (offset >= PBA)
		pci_msix_pba_read(opaque, offset - PBA, data, len);
	else
		pci_msix_table_read(opaque, offset, data, len);
}

static void bar_write(void *opaque, uint64_t offset, const uint8_t *data,
		      unsigned int len)
{
	if (offset < PBA)
		pci_msix_table_write(opaque, offset, data, len);
}

static const struct bus_ops bar_ops = { bar_read, bar_write };

static bool intx_level(struct pci_function *f)
{
	return ((struct fixture *)f)->level;
}

static const struct pci_function_ops function_ops = {
	.intx_level = intx_level,
};

static int set_up(void **state)
{
	static const struct pci_ids ids = { .vendor = 1, .device = 2 };
	struct fixture *t = test_calloc(1, sizeof(*t));

	pci_fixture_init(&t->m);
	pci_function_init(&t->f, &function_ops, &ids);
	pci_add_bar(&t->f, 0, 0x1000, false, false, &bar_ops, &t->f);
	assert_int_equal(pci_add_msix(&t->f, t->m.irq, VECTORS, 0, TABLE, PBA,
				      NULL), 0);
	assert_int_equal(pci_attach(t->m.pci, &t->f, 0, SLOT, NULL), 0);
	t->bar = ecam_get(&t->m, 0, SLOT, PCI_BASE_ADDRESS_0, 4);
	ecam_put(&t->m, 0, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	*state = t;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *t = *state;

	pci_detach(&t->f);
	pci_function_deinit(&t->f);
	pci_fixture_deinit(&t->m);
	test_free(t);
	return 0;
}

static uint64_t entry(struct fixture *t, unsigned int vector, uint32_t field)
{
	return t->bar + TABLE + 16 * vector + field;
}

static void control(struct fixture *t, uint16_t flags)
{
	ecam_put(&t->m, 0, SLOT, t->f.msix.cap + PCI_MSIX_FLAGS, 2, flags);
}

/* As Linux: masked, address, data, unmasked. */
static void program(struct fixture *t, unsigned int vector, uint64_t address,
		    uint32_t data)
{
	mmio_put(&t->m, entry(t, vector, 12), 4, 1);
	mmio_put(&t->m, entry(t, vector, 0), 4, (uint32_t)address);
	mmio_put(&t->m, entry(t, vector, 4), 4, address >> 32);
	mmio_put(&t->m, entry(t, vector, 8), 4, data);
	mmio_put(&t->m, entry(t, vector, 12), 4, 0);
}

static void test_msix_capability_describes_the_table(void **state)
{
	struct fixture *t = *state;
	uint32_t at = find_capability(&t->m, 0, SLOT, PCI_CAP_ID_MSIX, 0);

	assert_int_equal(at, t->f.msix.cap);
	assert_int_equal(ecam_get(&t->m, 0, SLOT, at + 2, 2), VECTORS - 1);
	assert_int_equal(ecam_get(&t->m, 0, SLOT, at + 4, 4), TABLE | 0);
	assert_int_equal(ecam_get(&t->m, 0, SLOT, at + 8, 4), PBA | 0);
	/* Enable and function mask can be written, nothing else. */
	control(t, 0xffff);
	assert_int_equal(ecam_get(&t->m, 0, SLOT, at + 2, 2),
			 (VECTORS - 1) | ENABLE | MASKALL);
	ecam_put(&t->m, 0, SLOT, at + 4, 4, 0xffffffff);
	assert_int_equal(ecam_get(&t->m, 0, SLOT, at + 4, 4), TABLE | 0);
}

static void test_msix_vectors_start_masked(void **state)
{
	struct fixture *t = *state;

	control(t, ENABLE);
	for (unsigned int i = 0; i < VECTORS; i++)
		assert_int_equal(mmio_get(&t->m, entry(t, i, 12), 4), 1);
	assert_int_equal(fake_kvm.irqfd_count, 0);
}

static void test_msix_unmasked_vector_is_delivered(void **state)
{
	struct fixture *t = *state;

	control(t, ENABLE | MASKALL);
	program(t, 3, ADDRESS, 0x4041);
	assert_int_equal(fake_kvm.irqfd_count, 0);
	control(t, ENABLE);
	assert_int_equal(fake_kvm.irqfd_count, 1);
	assert_true(fake_kvm.last_address == ADDRESS);
	assert_int_equal(fake_kvm.last_data, 0x4041);
	msix_vector_notify(&t->f.msix.vectors[3]);
	assert_int_equal(take_interrupts(GSI_MSI), 1);
	assert_int_equal(mmio_get(&t->m, t->bar + PBA, 8), 0);
}

static void test_msix_masked_vector_is_pending_until_unmasked(void **state)
{
	static const unsigned int vectors[] = { 0, 31, 32, 63, 64, 69 };
	struct fixture *t = *state;

	control(t, ENABLE);
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		unsigned int n = vectors[i];
		uint64_t qword = t->bar + PBA + n / 64 * 8;

		msix_vector_notify(&t->f.msix.vectors[n]);
		assert_true(mmio_get(&t->m, qword, 8) == 1ull << n % 64);
		assert_true(mmio_get(&t->m, t->bar + PBA + n / 32 * 4, 4) ==
			    1ull << n % 32);
		program(t, n, ADDRESS, 1);
		assert_int_equal(mmio_get(&t->m, qword, 8), 0);
		assert_int_equal(take_interrupts(GSI_MSI +
						 (uint32_t)i), 1);
	}
}

static void test_msix_masks_and_disable_disconnect(void **state)
{
	struct fixture *t = *state;

	control(t, ENABLE);
	program(t, 0, ADDRESS, 1);
	program(t, 1, ADDRESS, 2);
	assert_int_equal(fake_kvm.irqfd_count, 2);
	mmio_put(&t->m, entry(t, 0, 12), 4, 1);
	assert_int_equal(fake_kvm.irqfd_count, 1);
	control(t, ENABLE | MASKALL);
	assert_int_equal(fake_kvm.irqfd_count, 0);
	control(t, ENABLE);
	assert_int_equal(fake_kvm.irqfd_count, 1);
	control(t, 0);
	assert_int_equal(fake_kvm.irqfd_count, 0);
	control(t, ENABLE);
	assert_int_equal(fake_kvm.irqfd_count, 1);
}

static void test_msix_address_change_while_unmasked_is_routed(void **state)
{
	struct fixture *t = *state;

	control(t, ENABLE);
	program(t, 0, ADDRESS, 1);
	mmio_put(&t->m, entry(t, 0, 0), 8, 0x0000000100000000 | ADDRESS);
	assert_true(fake_kvm.last_address == (0x100000000 | ADDRESS));
	mmio_put(&t->m, entry(t, 0, 8), 8, 0x99);
	assert_int_equal(fake_kvm.last_data, 0x99);
	assert_int_equal(fake_kvm.irqfd_count, 1);
}

static void test_msix_without_a_gsi_stays_masked(void **state)
{
	struct fixture *t = *state;

	fake_kvm.routing_error = -ENOSPC;
	control(t, ENABLE);
	program(t, 5, ADDRESS, 1);
	assert_int_equal(fake_kvm.irqfd_count, 0);
	assert_int_equal(mmio_get(&t->m, entry(t, 5, 12), 4), 1);
	msix_vector_notify(&t->f.msix.vectors[5]);
	assert_int_equal(mmio_get(&t->m, t->bar + PBA, 4), 1 << 5);
	fake_kvm.routing_error = 0;
	mmio_put(&t->m, entry(t, 5, 12), 4, 0);
	assert_int_equal(mmio_get(&t->m, entry(t, 5, 12), 4), 0);
	assert_int_equal(take_interrupts(GSI_MSI), 1);
}

static void test_msix_table_takes_aligned_words_only(void **state)
{
	struct fixture *t = *state;
	uint64_t end = entry(t, VECTORS, 0);

	mmio_put(&t->m, entry(t, 1, 0), 8, 0x1122334455667788);
	assert_true(mmio_get(&t->m, entry(t, 1, 0), 8) == 0x1122334455667788);
	assert_int_equal(mmio_get(&t->m, entry(t, 1, 4), 4), 0x11223344);
	mmio_put(&t->m, entry(t, 1, 0), 1, 0);
	mmio_put(&t->m, entry(t, 1, 2), 2, 0);
	mmio_put(&t->m, entry(t, 1, 2), 4, 0);
	mmio_put(&t->m, entry(t, 1, 4), 8, 0);
	assert_true(mmio_get(&t->m, entry(t, 1, 0), 8) == 0x1122334455667788);
	assert_int_equal(mmio_get(&t->m, entry(t, 1, 0), 2), 0xffff);
	assert_int_equal(mmio_get(&t->m, entry(t, 1, 2), 4), 0xffffffff);
	/* Behind the last entry, and reserved bits of vector control. */
	mmio_put(&t->m, end, 8, 0x55);
	assert_true(mmio_get(&t->m, end, 8) == ~0ull);
	mmio_put(&t->m, entry(t, 1, 12), 4, 0xfffffffe);
	assert_int_equal(mmio_get(&t->m, entry(t, 1, 12), 4), 0);
	/* Pending bits past the last vector, and odd reads of them. */
	assert_int_equal(mmio_get(&t->m, t->bar + PBA + 16, 8), 0);
	assert_int_equal(mmio_get(&t->m, t->bar + PBA + 2, 2), 0xffff);
	mmio_put(&t->m, t->bar + PBA, 4, 0xffffffff);
	assert_int_equal(mmio_get(&t->m, t->bar + PBA, 4), 0);
}

static void test_msix_reset_masks_and_forgets(void **state)
{
	struct fixture *t = *state;

	control(t, ENABLE);
	program(t, 0, ADDRESS, 1);
	msix_vector_notify(&t->f.msix.vectors[1]);
	pci_function_reset(&t->f);
	assert_int_equal(fake_kvm.irqfd_count, 0);
	assert_false(atomic_load(&t->f.msix.enabled));
	ecam_put(&t->m, 0, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(mmio_get(&t->m, entry(t, 0, 0), 8), 0);
	assert_int_equal(mmio_get(&t->m, entry(t, 0, 12), 4), 1);
	assert_int_equal(mmio_get(&t->m, t->bar + PBA, 8), 0);
	control(t, ENABLE);
	assert_int_equal(fake_kvm.irqfd_count, 0);
}

static void test_vectors_are_given_out_while_they_fit(void **state)
{
	struct fixture *t = *state;
	struct pci *p = t->m.pci;

	assert_true(pci_claim_vectors(p, 2048));	/* no limit yet */
	pci_set_vector_room(p, 10, 1);
	assert_true(pci_claim_vectors(p, 2));
	assert_true(pci_claim_vectors(p, 5));
	assert_false(pci_claim_vectors(p, 4));
	assert_true(pci_claim_vectors(p, 3));
	assert_false(pci_claim_vectors(p, 1));
	pci_release_vectors(p, 5);
	assert_true(pci_claim_vectors(p, 4));
	/* One queue costs a vector on each of four processors, like four. */
	pci_set_vector_room(p, 5, 4);
	assert_true(pci_claim_vectors(p, 2));
	assert_true(pci_claim_vectors(p, 5));
	assert_true(pci_claim_vectors(p, 6));
	assert_false(pci_claim_vectors(p, 2));
	assert_true(pci_claim_vectors(p, 1));
	pci_release_vectors(p, 6);
	assert_true(pci_claim_vectors(p, 6));
}

/* ---- INTx ---------------------------------------------------------------- */

#define GSI	(GSI_INTX + SLOT)

static void test_intx_is_raised_until_the_cause_is_gone(void **state)
{
	struct fixture *t = *state;

	assert_int_equal(ecam_get(&t->m, 0, SLOT, PCI_INTERRUPT_PIN, 1), 1);
	assert_int_equal(ecam_get(&t->m, 0, SLOT, PCI_INTERRUPT_LINE, 1), GSI);
	pci_intx_raise(&t->f);		/* no line yet: nothing to write to */
	assert_int_equal(pci_intx_prepare(&t->f), 0);
	assert_int_equal(pci_intx_prepare(&t->f), 0);
	assert_int_equal(fake_kvm.irqfd_count, 1);
	assert_int_equal(take_interrupts(GSI), 0);
	t->level = true;
	pci_intx_raise(&t->f);
	assert_int_equal(take_interrupts(GSI), 1);
	assert_true(ecam_get(&t->m, 0, SLOT, PCI_STATUS, 2) &
		    PCI_STATUS_INTERRUPT);
	end_of_interrupt(GSI);
	run_loop(t->m.loop);
	assert_int_equal(take_interrupts(GSI), 1);
	t->level = false;
	assert_false(ecam_get(&t->m, 0, SLOT, PCI_STATUS, 2) &
		     PCI_STATUS_INTERRUPT);
	end_of_interrupt(GSI);
	run_loop(t->m.loop);
	assert_int_equal(take_interrupts(GSI), 0);
}

static void test_intx_cause_from_before_the_line_is_raised(void **state)
{
	struct fixture *t = *state;

	t->level = true;
	pci_intx_raise(&t->f);
	assert_int_equal(pci_intx_prepare(&t->f), 0);
	assert_int_equal(take_interrupts(GSI), 1);
}

static void test_intx_disable_holds_it_back(void **state)
{
	struct fixture *t = *state;

	assert_int_equal(pci_intx_prepare(&t->f), 0);
	ecam_put(&t->m, 0, SLOT, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	t->level = true;
	pci_intx_raise(&t->f);
	end_of_interrupt(GSI);
	run_loop(t->m.loop);
	assert_int_equal(take_interrupts(GSI), 0);
	/* The status bit is there also when it is disabled (6.2.3). */
	assert_true(ecam_get(&t->m, 0, SLOT, PCI_STATUS, 2) &
		    PCI_STATUS_INTERRUPT);
	ecam_put(&t->m, 0, SLOT, PCI_COMMAND, 2, 0);
	assert_int_equal(take_interrupts(GSI), 1);
}

static void test_intx_and_msix_exclude_each_other(void **state)
{
	struct fixture *t = *state;

	assert_int_equal(pci_intx_prepare(&t->f), 0);
	t->level = true;
	control(t, ENABLE);
	pci_intx_raise(&t->f);
	end_of_interrupt(GSI);
	run_loop(t->m.loop);
	assert_int_equal(take_interrupts(GSI), 0);
	assert_false(ecam_get(&t->m, 0, SLOT, PCI_STATUS, 2) &
		     PCI_STATUS_INTERRUPT);
	control(t, 0);
	assert_int_equal(take_interrupts(GSI), 1);
}

static void test_intx_without_a_line_fails_and_can_be_tried_again(void **state)
{
	struct fixture *t = *state;

	fake_kvm.irqfd_error = -EBUSY;
	assert_int_equal(pci_intx_prepare(&t->f), -EBUSY);
	pci_intx_raise(&t->f);
	fake_kvm.irqfd_error = 0;
	assert_int_equal(pci_intx_prepare(&t->f), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_msix_capability_describes_the_table),
		TEST(test_msix_vectors_start_masked),
		TEST(test_msix_unmasked_vector_is_delivered),
		TEST(test_msix_masked_vector_is_pending_until_unmasked),
		TEST(test_msix_masks_and_disable_disconnect),
		TEST(test_msix_address_change_while_unmasked_is_routed),
		TEST(test_msix_without_a_gsi_stays_masked),
		TEST(test_msix_table_takes_aligned_words_only),
		TEST(test_msix_reset_masks_and_forgets),
		TEST(test_vectors_are_given_out_while_they_fit),
		TEST(test_intx_is_raised_until_the_cause_is_gone),
		TEST(test_intx_cause_from_before_the_line_is_raised),
		TEST(test_intx_disable_holds_it_back),
		TEST(test_intx_and_msix_exclude_each_other),
		TEST(test_intx_without_a_line_fails_and_can_be_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
