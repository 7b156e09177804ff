/* SPDX-License-Identifier: MIT */
/* LINK: error bus irq loop pci/root pci/config pci/function pci/bar pci/msix pci/intx pci/host_bridge pci/state state */
/* WITH: pci_fixture */
/* Slots, windows and base address registers: homes, sizing, moves. */
#include "pci_fixture.h"

#include <string.h>

#define BAR0	PCI_BASE_ADDRESS_0
#define BAR1	PCI_BASE_ADDRESS_1
#define BAR2	PCI_BASE_ADDRESS_2
#define ON	PCI_COMMAND_MEMORY

static const struct pci_ids ids = { .vendor = 1, .device = 2 };

struct device {
	struct pci_function f;		/* first: the callbacks cast */
	uint8_t mark;			/* what reads of its BARs give */
	unsigned int maps, unmaps;
	uint64_t mapped[PCI_BARS];
};

static void dev_read(void *opaque, uint64_t offset, uint8_t *data,
		     unsigned int len)
{
	(void)offset;
	memset(data, ((struct device *)opaque)->mark, len);
}

static void dev_write(void *opaque, uint64_t offset, const uint8_t *data,
		      unsigned int len)
{
	(void)opaque;
	(void)offset;
	(void)data;
	(void)len;
}

static const struct bus_ops dev_ops = { dev_read, dev_write };

static void bar_mapped(struct pci_function *f, unsigned int bar,
		       uint64_t address)
{
	struct device *d = (struct device *)f;

	assert_int_equal(d->mapped[bar], 0);
	d->mapped[bar] = address;
	d->maps++;
}

static void bar_unmapped(struct pci_function *f, unsigned int bar)
{
	struct device *d = (struct device *)f;

	assert_int_not_equal(d->mapped[bar], 0);
	d->mapped[bar] = 0;
	d->unmaps++;
}

static const struct pci_function_ops function_ops = {
	.bar_mapped = bar_mapped,
	.bar_unmapped = bar_unmapped,
};

static void dev_init(struct device *d, uint8_t mark)
{
	memset(d, 0, sizeof(*d));
	d->mark = mark;
	pci_function_init(&d->f, &function_ops, &ids);
}

/* A: bus 1 slot 0: 16 KiB at BAR 0, 1 MiB 64-bit prefetchable at BAR 2.
 * B: bus 1 slot 1: 16 KiB at BAR 0. */
struct fixture {
	struct pci_fixture m;
	struct device a, b;
};

static int set_up(void **state)
{
	struct fixture *t = test_calloc(1, sizeof(*t));

	pci_fixture_init(&t->m);
	dev_init(&t->a, 0xaa);
	dev_init(&t->b, 0xbb);
	pci_add_bar(&t->a.f, 0, 0x4000, false, false, &dev_ops, &t->a);
	pci_add_bar(&t->a.f, 2, 0x100000, true, true, &dev_ops, &t->a);
	pci_add_bar(&t->b.f, 0, 0x4000, false, false, &dev_ops, &t->b);
	assert_int_equal(pci_attach(t->m.pci, &t->a.f, 1, -1, NULL), 0);
	assert_int_equal(pci_attach(t->m.pci, &t->b.f, 1, -1, NULL), 0);
	*state = t;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *t = *state;

	pci_detach(&t->a.f);
	pci_detach(&t->b.f);
	assert_int_equal(t->a.maps, t->a.unmaps);
	assert_int_equal(t->b.maps, t->b.unmaps);
	pci_function_deinit(&t->a.f);
	pci_function_deinit(&t->b.f);
	pci_fixture_deinit(&t->m);
	test_free(t);
	return 0;
}

static uint32_t get(struct fixture *t, unsigned int slot, uint32_t reg)
{
	return ecam_get(&t->m, 1, slot, reg, 4);
}

static void put(struct fixture *t, unsigned int slot, uint32_t reg,
		uint32_t value)
{
	ecam_put(&t->m, 1, slot, reg, 4, value);
}

static void command(struct fixture *t, unsigned int slot, uint16_t value)
{
	ecam_put(&t->m, 1, slot, PCI_COMMAND, 2, value);
}

static void test_bar_homes_lie_in_the_bus_windows(void **state)
{
	struct fixture *t = *state;
	uint64_t base, len;

	pci_root_window32(t->m.pci, 1, &base, &len);
	assert_true(base == MMIO32_BASE + SLICE32 && len == SLICE32);
	pci_root_window64(t->m.pci, 1, &base, &len);
	assert_true(base == MMIO64_BASE + SLICE64 && len == SLICE64);
	assert_int_equal(get(t, 0, BAR0), MMIO32_BASE + SLICE32);
	assert_int_equal(get(t, 1, BAR0), MMIO32_BASE + SLICE32 + 0x4000);
	assert_int_equal(get(t, 0, BAR2),
			 (uint32_t)(MMIO64_BASE + SLICE64) |
			 PCI_BASE_ADDRESS_MEM_TYPE_64 |
			 PCI_BASE_ADDRESS_MEM_PREFETCH);
	assert_int_equal(get(t, 0, BAR2 + 4), (MMIO64_BASE + SLICE64) >> 32);
	assert_int_equal(pci_roots_in_use(t->m.pci), 3);
}

static void test_bar_decodes_only_when_memory_is_on(void **state)
{
	struct fixture *t = *state;
	uint64_t at = get(t, 0, BAR0);

	assert_int_equal(mmio_get(&t->m, at, 4), 0xffffffff);
	command(t, 0, ON);
	assert_int_equal(mmio_get(&t->m, at, 4), 0xaaaaaaaa);
	assert_int_equal(mmio_get(&t->m, at + 0x3fff, 1), 0xaa);
	assert_int_equal(mmio_get(&t->m, at + 0x4000, 1), 0xff);
	assert_int_equal(mmio_get(&t->m, MMIO64_BASE + SLICE64, 1), 0xaa);
	assert_int_equal(t->a.maps, 2);
	command(t, 0, ON | PCI_COMMAND_MASTER);	/* maps nothing again */
	assert_int_equal(t->a.maps, 2);
	assert_int_equal(t->a.unmaps, 0);
	command(t, 0, 0);
	assert_int_equal(mmio_get(&t->m, at, 4), 0xffffffff);
	assert_int_equal(t->a.unmaps, 2);
}

static void test_bar_all_ones_write_reads_back_the_size(void **state)
{
	static const struct {
		uint32_t reg, mask;
	} table[] = {
		{ BAR0, 0xffffc000 },
		{ BAR1, 0 },
		{ BAR2, 0xfff0000c },
		{ BAR2 + 4, 0xffffffff },
		{ PCI_BASE_ADDRESS_4, 0 },
		{ PCI_BASE_ADDRESS_5, 0 },
		{ PCI_ROM_ADDRESS, 0 },
	};
	struct fixture *t = *state;

	/* With decoding on, as some systems do it. */
	command(t, 0, ON);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		uint32_t old = get(t, 0, table[i].reg);

		put(t, 0, table[i].reg, 0xffffffff);
		assert_int_equal(get(t, 0, table[i].reg), table[i].mask);
		put(t, 0, table[i].reg, old);
		assert_int_equal(get(t, 0, table[i].reg), old);
	}
	assert_int_equal(mmio_get(&t->m, get(t, 0, BAR0), 1), 0xaa);
	assert_int_equal(mmio_get(&t->m, MMIO64_BASE + SLICE64, 1), 0xaa);
}

static void test_bar_moves_within_the_window(void **state)
{
	struct fixture *t = *state;
	uint64_t old = get(t, 0, BAR0), new = MMIO32_BASE + SLICE32 + 0x100000;
	uint64_t high = MMIO64_BASE + SLICE64 + 0x80000000;

	command(t, 0, ON);
	put(t, 0, BAR0, (uint32_t)new);
	assert_int_equal(mmio_get(&t->m, old, 1), 0xff);
	assert_int_equal(mmio_get(&t->m, new, 1), 0xaa);
	assert_true(t->a.mapped[0] == new);
	put(t, 0, BAR2, (uint32_t)high);
	put(t, 0, BAR2 + 4, (uint32_t)(high >> 32));
	assert_int_equal(mmio_get(&t->m, high, 1), 0xaa);
	/* Byte by byte too. */
	for (unsigned int i = 0; i < 4; i++)
		ecam_put(&t->m, 1, 0, BAR0 + i, 1, (uint32_t)(old >> (8 * i)));
	assert_int_equal(mmio_get(&t->m, old, 1), 0xaa);
}

static void test_bar_outside_the_windows_is_not_mapped(void **state)
{
	static const uint32_t table[] = {
		0, 0x100000, 0xbfffc000, 0xe0000000, 0xfec00000, 0xfee00000,
		0xffffc000,
		MMIO32_BASE,			/* bus 0's part */
		MMIO32_BASE + 2 * SLICE32,	/* bus 2's part */
	};
	struct fixture *t = *state;

	command(t, 0, ON);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		put(t, 0, BAR0, table[i]);
		assert_int_equal(t->a.mapped[0], 0);
		/* The register says what was written all the same. */
		assert_int_equal(get(t, 0, BAR0), table[i]);
	}
	put(t, 0, BAR2 + 4, 0xffffffff);
	assert_int_equal(t->a.mapped[2], 0);
	put(t, 0, BAR2 + 4, 0);
	assert_int_equal(t->a.mapped[2], 0);
}

static void test_bar_on_an_occupied_range_waits_for_it(void **state)
{
	struct fixture *t = *state;
	uint64_t a = get(t, 0, BAR0), b = get(t, 1, BAR0);

	command(t, 0, ON);
	command(t, 1, ON);
	put(t, 0, BAR0, (uint32_t)b);
	assert_int_equal(mmio_get(&t->m, b, 1), 0xbb);
	assert_int_equal(t->a.mapped[0], 0);
	/* The two change places. */
	put(t, 1, BAR0, (uint32_t)a);
	assert_int_equal(mmio_get(&t->m, a, 1), 0xbb);
	assert_int_equal(mmio_get(&t->m, b, 1), 0xaa);
	/* One leaves. */
	put(t, 1, BAR0, (uint32_t)b);
	assert_int_equal(t->b.mapped[0], 0);
	pci_detach(&t->a.f);
	assert_int_equal(mmio_get(&t->m, b, 1), 0xbb);
}

static void test_bar_reset_restores_the_home(void **state)
{
	struct fixture *t = *state;
	uint64_t home = get(t, 0, BAR0);

	command(t, 0, ON);
	put(t, 0, BAR0, (uint32_t)(home + 0x100000));
	put(t, 0, BAR2 + 4, 0);
	pci_function_reset(&t->a.f);
	assert_int_equal(get(t, 0, BAR0), home);
	assert_int_equal(get(t, 0, PCI_COMMAND) & 0xffff, 0);
	assert_int_equal(mmio_get(&t->m, home, 1), 0xff);
	command(t, 0, ON);
	assert_true(t->a.mapped[0] == home);
	assert_true(t->a.mapped[2] == MMIO64_BASE + SLICE64);
}

static void test_bar_home_is_reused_after_detach(void **state)
{
	struct fixture *t = *state;
	struct device c;
	uint32_t home = get(t, 0, BAR0);

	pci_detach(&t->a.f);
	dev_init(&c, 0xcc);
	pci_add_bar(&c.f, 0, 0x4000, false, false, &dev_ops, &c);
	pci_add_bar(&c.f, 1, 16, false, false, &dev_ops, &c);
	assert_int_equal(pci_attach(t->m.pci, &c.f, 1, -1, NULL), 0);
	assert_int_equal(c.f.slot, 0);
	assert_int_equal(get(t, 0, BAR0), home);
	/* A page of its own: systems map BARs by the page. */
	assert_int_equal(get(t, 0, BAR1) & 0xfff, 0);
	pci_detach(&c.f);
	pci_function_deinit(&c.f);
}

static void test_bar_too_large_is_refused_and_leaves_nothing(void **state)
{
	struct fixture *t = *state;
	struct error e;
	struct device c;

	dev_init(&c, 0xcc);
	pci_add_bar(&c.f, 0, 0x1000, false, false, &dev_ops, &c);
	pci_add_bar(&c.f, 1, 2 * SLICE32, false, false, &dev_ops, &c);
	assert_int_equal(pci_attach(t->m.pci, &c.f, 2, -1, &e), -ENOSPC);
	assert_int_equal(e.class, ERROR_NO_AVAILABLE_LOCATION);
	assert_null(pci_function_at(t->m.pci, 2, 0));
	pci_function_deinit(&c.f);
}

static void test_bar_without_room_on_a_bus_goes_to_the_next(void **state)
{
	struct fixture *t = *state;
	struct device d[PCI_ROOTS + 1];
	struct error e;

	for (unsigned int i = 0; i < PCI_ROOTS; i++) {
		dev_init(&d[i], 0);
		/* Three quarters of a window: a bus takes one of them. */
		pci_add_bar(&d[i].f, 0, SLICE32 / 2, false, false, &dev_ops,
			    &d[i]);
		pci_add_bar(&d[i].f, 1, SLICE32 / 4, false, false, &dev_ops,
			    &d[i]);
		assert_int_equal(pci_attach(t->m.pci, &d[i].f, -1, -1, &e), 0);
		assert_int_equal(d[i].f.bus, i);
	}
	dev_init(&d[PCI_ROOTS], 0);
	pci_add_bar(&d[PCI_ROOTS].f, 0, SLICE32 / 2, false, false, &dev_ops,
		    &d[PCI_ROOTS]);
	assert_int_equal(pci_attach(t->m.pci, &d[PCI_ROOTS].f, -1, -1, &e),
			 -ENOSPC);
	assert_int_equal(e.class, ERROR_NO_AVAILABLE_LOCATION);
	assert_null(d[PCI_ROOTS].f.pci);
	pci_function_deinit(&d[PCI_ROOTS].f);
	for (unsigned int i = 0; i < PCI_ROOTS; i++) {
		pci_detach(&d[i].f);
		pci_function_deinit(&d[i].f);
	}
}

static void test_bar_64bit_falls_back_to_the_low_window(void **state)
{
	struct fixture *t = *state;
	struct device full, c;
	uint64_t home;

	/* Bus 2's 4 GiB begin at 13 GiB: 13, 14-15 and 16 are aligned homes. */
	dev_init(&full, 0xee);
	pci_add_bar(&full.f, 0, 2ull << 30, true, true, &dev_ops, &full);
	pci_add_bar(&full.f, 2, 1ull << 30, true, true, &dev_ops, &full);
	pci_add_bar(&full.f, 4, 1ull << 30, true, true, &dev_ops, &full);
	assert_int_equal(pci_attach(t->m.pci, &full.f, 2, 6, NULL), 0);
	assert_int_equal(ecam_get(&t->m, 2, 6, BAR0 + 4, 4), 3);
	assert_int_equal(ecam_get(&t->m, 2, 6, BAR2 + 4, 4), 3);
	assert_int_equal(ecam_get(&t->m, 2, 6, PCI_BASE_ADDRESS_5, 4), 4);

	dev_init(&c, 0xcc);
	pci_add_bar(&c.f, 2, 0x200000, true, true, &dev_ops, &c);
	assert_int_equal(pci_attach(t->m.pci, &c.f, 2, 7, NULL), 0);
	home = ecam_get(&t->m, 2, 7, BAR2, 4) & ~0xfu;
	assert_true(home == MMIO32_BASE + 2 * SLICE32);
	assert_int_equal(ecam_get(&t->m, 2, 7, BAR2 + 4, 4), 0);
	ecam_put(&t->m, 2, 7, PCI_COMMAND, 2, ON);
	assert_int_equal(mmio_get(&t->m, home, 1), 0xcc);
	pci_detach(&c.f);
	pci_function_deinit(&c.f);
	pci_detach(&full.f);
	pci_function_deinit(&full.f);
}

static void test_slot_taken_or_invalid_is_refused(void **state)
{
	static const struct {
		int bus, slot, ret;
	} table[] = {
		{ 0, 0, -EBUSY }, { 1, 0, -EBUSY }, { PCI_ROOTS, 0, -EINVAL },
		{ 0, PCI_SLOTS, -EINVAL }, { -2, 0, -EINVAL },
		{ 0, -2, -EINVAL },
	};
	struct fixture *t = *state;
	struct error e;
	struct device c;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		dev_init(&c, 0);
		assert_int_equal(pci_attach(t->m.pci, &c.f, table[i].bus,
					    table[i].slot, &e), table[i].ret);
		pci_function_deinit(&c.f);
	}
}

static void test_slots_fill_all_buses_in_order(void **state)
{
	struct fixture *t = *state;
	const unsigned int room = PCI_ROOTS * PCI_SLOTS - 3;
	struct device *d = test_calloc(room + 1, sizeof(*d));
	struct error e;

	for (unsigned int i = 0; i < room; i++) {
		dev_init(&d[i], 0);
		pci_add_bar(&d[i].f, 0, 0x4000, false, false, &dev_ops, &d[i]);
		assert_int_equal(pci_attach(t->m.pci, &d[i].f, -1, -1, &e), 0);
		assert_int_equal(pci_intx_gsi(t->m.pci, d[i].f.bus,
					      d[i].f.slot),
				 GSI_INTX + d[i].f.slot % 4);
	}
	assert_int_equal(d[0].f.bus, 0);
	assert_int_equal(d[0].f.slot, 1);
	assert_int_equal(d[31].f.bus, 1);
	assert_int_equal(d[31].f.slot, 2);
	assert_int_equal(pci_roots_in_use(t->m.pci), 0xffff);
	dev_init(&d[room], 0);
	assert_int_equal(pci_attach(t->m.pci, &d[room].f, -1, -1, &e), -ENOSPC);
	assert_int_equal(e.class, ERROR_NO_AVAILABLE_LOCATION);
	for (unsigned int i = 0; i < room; i++) {
		pci_detach(&d[i].f);
		pci_function_deinit(&d[i].f);
	}
	test_free(d);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_bar_homes_lie_in_the_bus_windows),
		TEST(test_bar_decodes_only_when_memory_is_on),
		TEST(test_bar_all_ones_write_reads_back_the_size),
		TEST(test_bar_moves_within_the_window),
		TEST(test_bar_outside_the_windows_is_not_mapped),
		TEST(test_bar_on_an_occupied_range_waits_for_it),
		TEST(test_bar_reset_restores_the_home),
		TEST(test_bar_home_is_reused_after_detach),
		TEST(test_bar_too_large_is_refused_and_leaves_nothing),
		TEST(test_bar_without_room_on_a_bus_goes_to_the_next),
		TEST(test_bar_64bit_falls_back_to_the_low_window),
		TEST(test_slot_taken_or_invalid_is_refused),
		TEST(test_slots_fill_all_buses_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
