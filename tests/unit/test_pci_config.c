/* SPDX-License-Identifier: MIT */
/* LINK: error bus irq loop pci/root pci/config pci/function pci/bar pci/msix pci/intx pci/host_bridge pci/state state */
/* WITH: pci_fixture */
/* Configuration space by ECAM and by ports: decoding, masks, 0xcf9. */
#include "pci_fixture.h"

#include <string.h>

static const struct pci_ids ids = {
	.vendor = 0x1234, .device = 0x5678,
	.subsystem_vendor = 0x9abc, .subsystem = 0xdef0,
	.revision = 7, .class_code = 0x018000,
};

struct fixture {
	struct pci_fixture m;
	struct pci_function f;		/* bus 3, slot 5 */
	uint8_t reset_port;
};

static int set_up(void **state)
{
	struct fixture *t = test_calloc(1, sizeof(*t));

	pci_fixture_init(&t->m);
	pci_function_init(&t->f, NULL, &ids);
	assert_int_equal(pci_attach(t->m.pci, &t->f, 3, 5, NULL), 0);
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

static uint32_t pio_get(struct fixture *t, uint64_t port, unsigned int len)
{
	uint8_t data[8];

	bus_read(t->m.pio, port, data, len);
	return (uint32_t)bus_get_le(data, len);
}

static void pio_put(struct fixture *t, uint64_t port, unsigned int len,
		    uint32_t value)
{
	uint8_t data[8];

	bus_put_le(data, len, value);
	bus_write(t->m.pio, port, data, len);
}

static void test_config_header_shows_ids(void **state)
{
	struct pci_fixture *m = &((struct fixture *)*state)->m;

	assert_int_equal(ecam_get(m, 3, 5, 0, 4), 0x56781234);
	assert_int_equal(ecam_get(m, 3, 5, PCI_CLASS_REVISION, 4), 0x01800007);
	assert_int_equal(ecam_get(m, 3, 5, PCI_SUBSYSTEM_VENDOR_ID, 4),
			 0xdef09abc);
	assert_int_equal(ecam_get(m, 3, 5, PCI_HEADER_TYPE, 1), 0);
	/* No capability, no interrupt pin, no extended capability. */
	assert_int_equal(ecam_get(m, 3, 5, PCI_STATUS, 2), 0);
	assert_int_equal(ecam_get(m, 3, 5, PCI_INTERRUPT_PIN, 1), 0);
	assert_int_equal(ecam_get(m, 3, 5, 0x100, 4), 0);
	assert_int_equal(ecam_get(m, 3, 5, 0xffc, 4), 0);
}

static void test_config_host_bridge_is_at_zero(void **state)
{
	struct pci_fixture *m = &((struct fixture *)*state)->m;

	assert_int_equal(ecam_get(m, 0, 0, PCI_CLASS_REVISION, 4) >> 8,
			 0x060000);
	assert_non_null(pci_function_at(m->pci, 0, 0));
}

static void test_config_odd_accesses_are_refused(void **state)
{
	static const struct {
		unsigned int bus, slot;
		uint32_t reg;
		unsigned int len;
	} table[] = {
		{ 3, 4, 0, 4 },		/* no function in the slot */
		{ 2, 5, 0, 2 },		/* nor on the bus */
		{ 15, 31, 0xffc, 4 },
		{ 3, 5, 0x1000, 4 },	/* function 1 */
		{ 3, 5, 0x7000, 1 },
		{ 3, 5, 3, 2 },		/* across a double word */
		{ 3, 5, 1, 4 },
		{ 3, 5, 0, 8 },
		{ 3, 5, 0xfff, 1 + 1 },
	};
	struct pci_fixture *m = &((struct fixture *)*state)->m;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		uint64_t at = ecam_address(table[i].bus, table[i].slot,
					   table[i].reg);
		uint64_t ones = ~0ull >> (64 - 8 * table[i].len);

		assert_true(mmio_get(m, at, table[i].len) == ones);
		mmio_put(m, at, table[i].len, 0);
	}
	assert_int_equal(ecam_get(m, 3, 5, 0, 4), 0x56781234);
}

static void test_config_writes_keep_to_the_mask(void **state)
{
	struct fixture *t = *state;
	struct pci_fixture *m = &t->m;
	uint8_t before[PCI_CONFIG_BYTES];

	memcpy(before, t->f.config, sizeof(before));
	for (uint32_t reg = 0; reg < PCI_CONFIG_BYTES; reg += 4)
		ecam_put(m, 3, 5, reg, 4, 0xffffffff);
	for (uint32_t reg = 0; reg < PCI_CONFIG_BYTES; reg++) {
		uint8_t now = (uint8_t)ecam_get(m, 3, 5, reg, 1);

		if (reg == PCI_COMMAND)
			assert_int_equal(now, PCI_COMMAND_MEMORY |
					      PCI_COMMAND_MASTER);
		else if (reg == PCI_COMMAND + 1)
			assert_int_equal(now, PCI_COMMAND_INTX_DISABLE >> 8);
		else if (reg == PCI_CACHE_LINE_SIZE ||
			 reg == PCI_INTERRUPT_LINE)
			assert_int_equal(now, 0xff);
		else
			assert_int_equal(now, before[reg]);
	}
	/* The rest of the 4 KiB takes nothing. */
	ecam_put(m, 3, 5, 0x100, 4, 0xffffffff);
	assert_int_equal(ecam_get(m, 3, 5, 0x100, 4), 0);
	/* A reset takes back all of it. */
	pci_function_reset(&t->f);
	assert_memory_equal(t->f.config, before, sizeof(before));
}

static void test_config_byte_and_word_writes_merge(void **state)
{
	struct pci_fixture *m = &((struct fixture *)*state)->m;

	ecam_put(m, 3, 5, PCI_CACHE_LINE_SIZE, 4, 0x44332211);
	assert_int_equal(ecam_get(m, 3, 5, PCI_CACHE_LINE_SIZE, 4), 0x11);
	ecam_put(m, 3, 5, PCI_INTERRUPT_LINE, 2, 0x2233);
	assert_int_equal(ecam_get(m, 3, 5, PCI_INTERRUPT_LINE, 2), 0x33);
	ecam_put(m, 3, 5, PCI_COMMAND + 1, 1, 0xff);
	assert_int_equal(ecam_get(m, 3, 5, PCI_COMMAND, 2),
			 PCI_COMMAND_INTX_DISABLE);
}

static void test_config_ports_reach_the_same_space(void **state)
{
	struct fixture *t = *state;

	pio_put(t, 0xcf8, 4, 0x80000000 | 3 << 16 | 5 << 11);
	assert_int_equal(pio_get(t, 0xcf8, 4), 0x80032800);
	assert_int_equal(pio_get(t, 0xcfc, 4), 0x56781234);
	assert_int_equal(pio_get(t, 0xcfe, 2), 0x5678);
	assert_int_equal(pio_get(t, 0xcff, 1), 0x56);
	pio_put(t, 0xcf8, 4, 0x80000000 | 3 << 16 | 5 << 11 |
			     PCI_INTERRUPT_LINE);
	pio_put(t, 0xcfc, 1, 0x42);
	assert_int_equal(ecam_get(&t->m, 3, 5, PCI_INTERRUPT_LINE, 1), 0x42);
	/* Another function, another bus than there are, crossing. */
	pio_put(t, 0xcf8, 4, 0x80000000 | 3 << 16 | 5 << 11 | 1 << 8);
	assert_int_equal(pio_get(t, 0xcfc, 4), 0xffffffff);
	pio_put(t, 0xcf8, 4, 0x80ff2800);
	assert_int_equal(pio_get(t, 0xcfc, 4), 0xffffffff);
	pio_put(t, 0xcf8, 4, 0x80032800);
	assert_int_equal(pio_get(t, 0xcfd, 4), 0xffffffff);
	assert_int_equal(pio_get(t, 0xcff, 2), 0xffff);
	/* The enable bit. */
	pio_put(t, 0xcf8, 4, 0x00032800);
	assert_int_equal(pio_get(t, 0xcfc, 4), 0xffffffff);
}

static void test_config_address_takes_double_words_only(void **state)
{
	struct fixture *t = *state;

	pio_put(t, 0xcf8, 4, 0x80000000);
	pio_put(t, 0xcfb, 1, 0x01);	/* what Linux tries first */
	pio_put(t, 0xcf8, 1, 0x55);
	pio_put(t, 0xcfa, 2, 0x5555);
	pio_put(t, 0xcf8, 2, 0x5555);
	assert_int_equal(pio_get(t, 0xcf8, 4), 0x80000000);
	assert_int_equal(pio_get(t, 0xcf8, 2), 0xffff);
	assert_int_equal(pio_get(t, 0xcfb, 1), 0xff);
}

static uint8_t reset_read(void *opaque)
{
	return ((struct fixture *)opaque)->reset_port;
}

static void reset_write(void *opaque, uint8_t value)
{
	((struct fixture *)opaque)->reset_port = value;
}

static void test_config_address_is_zero_after_a_reset(void **state)
{
	struct fixture *t = *state;

	pio_put(t, 0xcf8, 4, 0x80032800);
	assert_int_equal(pio_get(t, 0xcfc, 4), 0x56781234);
	pci_reset(t->m.pci);
	assert_int_equal(pio_get(t, 0xcf8, 4), 0);
	assert_int_equal(pio_get(t, 0xcfc, 4), 0xffffffff);
}

static void test_config_reset_port_is_passed_on(void **state)
{
	struct fixture *t = *state;

	pio_put(t, 0xcf9, 1, 6);
	assert_int_equal(pio_get(t, 0xcf9, 1), 0xff);
	pci_set_reset_port(t->m.pci, reset_read, reset_write, t);
	pio_put(t, 0xcf8, 4, 0x80000600);	/* not the reset port */
	pio_put(t, 0xcf9, 2, 0x0606);
	assert_int_equal(t->reset_port, 0);
	pio_put(t, 0xcf9, 1, 6);
	assert_int_equal(t->reset_port, 6);
	assert_int_equal(pio_get(t, 0xcf9, 1), 6);
	assert_int_equal(pio_get(t, 0xcf8, 4), 0x80000600);
}

static void test_config_detached_function_reads_all_ones(void **state)
{
	struct fixture *t = *state;

	pci_detach(&t->f);
	assert_int_equal(ecam_get(&t->m, 3, 5, 0, 4), 0xffffffff);
	assert_null(pci_function_at(t->m.pci, 3, 5));
	assert_int_equal(pci_roots_in_use(t->m.pci), 1);
	assert_int_equal(pci_attach(t->m.pci, &t->f, 3, 5, NULL), 0);
	assert_int_equal(ecam_get(&t->m, 3, 5, 0, 4), 0x56781234);
}

static void test_config_capabilities_fill_the_first_256_bytes(void **state)
{
	struct pci_fixture *m = &((struct fixture *)*state)->m;
	struct pci_function f;
	uint32_t seen = 0;

	pci_function_init(&f, NULL, &ids);
	assert_int_equal(pci_add_capability(&f, PCI_CAP_ID_VNDR, 6), 0x40);
	assert_int_equal(pci_add_capability(&f, PCI_CAP_ID_PM, 8), 0x48);
	assert_int_equal(pci_add_capability(&f, PCI_CAP_ID_VNDR, 0xa4), 0x50);
	assert_int_equal(pci_add_capability(&f, PCI_CAP_ID_VNDR, 16), 0);
	assert_int_equal(pci_add_capability(&f, PCI_CAP_ID_VNDR, 12), 0xf4);
	assert_int_equal(pci_add_capability(&f, PCI_CAP_ID_VNDR, 4), 0);
	assert_int_equal(pci_attach(m->pci, &f, 4, -1, NULL), 0);
	assert_int_equal(ecam_get(m, 4, 0, PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	while (find_capability(m, 4, 0, PCI_CAP_ID_VNDR, seen))
		seen++;
	assert_int_equal(seen, 3);
	assert_int_equal(find_capability(m, 4, 0, PCI_CAP_ID_PM, 0), 0x48);
	pci_detach(&f);
	pci_function_deinit(&f);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_config_header_shows_ids),
		TEST(test_config_host_bridge_is_at_zero),
		TEST(test_config_odd_accesses_are_refused),
		TEST(test_config_writes_keep_to_the_mask),
		TEST(test_config_byte_and_word_writes_merge),
		TEST(test_config_ports_reach_the_same_space),
		TEST(test_config_address_takes_double_words_only),
		TEST(test_config_address_is_zero_after_a_reset),
		TEST(test_config_reset_port_is_passed_on),
		TEST(test_config_detached_function_reads_all_ones),
		TEST(test_config_capabilities_fill_the_first_256_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
