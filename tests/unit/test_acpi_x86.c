/* SPDX-License-Identifier: MIT */
/* LINK: boot/acpi_x86 boot/acpi_cpus_x86 boot/acpi_dimms boot/aml guest_mem error */
/* ACPI tables as a guest finds them: from the root pointer down. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "boot/acpi.h"
#include "layout_x86.h"

static uint8_t ram[1 << 20];

struct tables {
	struct guest_mem *mem;
	gpa_t rsdp;
	uint32_t ids[255];
	bool present[255];
};

static struct tables build_all(unsigned int boot, unsigned int max,
			       bool hotplug, unsigned int dimm_slots)
{
	static struct tables t;
	struct acpi_params p = {
		.apic_ids = t.ids,
		.present = t.present,
		.cpu_hotplug = boot < max,
		.max_cpus = max,
		.root_buses = 0x3,
		.last_bus = 15,
		.mmio32_base = 0xc0000000,
		.mmio32_per_bus = 0x2000000,
		.mmio64_base = 0x100000000ull,
		.mmio64_per_bus = 0x40000000,
		.serial = true,
		.hotplug = hotplug,
		.dimm_slots = dimm_slots,
	};
	struct error e;

	memset(ram, 0, sizeof(ram));
	for (uint32_t i = 0; i < 255; i++)
		t.present[i] = i < boot;
	for (uint32_t i = 0; i < 255; i++)
		t.ids[i] = i * 2 % 255;
	assert_int_equal(guest_mem_create(&t.mem), 0);
	assert_int_equal(guest_mem_add(t.mem, 0, sizeof(ram), ram), 0);
	assert_int_equal(acpi_build(&p, t.mem, &t.rsdp, &e), 0);
	return t;
}

static struct tables build_with(unsigned int boot, unsigned int max,
				bool hotplug)
{
	return build_all(boot, max, hotplug, 0);
}

static struct tables build(unsigned int boot, unsigned int max)
{
	return build_with(boot, max, false);
}

static uint64_t get(gpa_t at, unsigned int len)
{
	uint64_t v = 0;

	while (len--)
		v = v << 8 | ram[at + len];
	return v;
}

static void assert_sum_is_zero(gpa_t at, size_t len)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + ram[at + i]);
	assert_int_equal(sum, 0);
}

/* The table with the signature, its checksum checked; 0 when there is none. */
static gpa_t table(const struct tables *t, const char *signature)
{
	gpa_t xsdt = get(t->rsdp + 24, 8), at;
	uint64_t len = get(xsdt + 4, 4);

	assert_memory_equal(ram + xsdt, "XSDT", 4);
	assert_sum_is_zero(xsdt, len);
	for (uint64_t i = 36; i < len; i += 8) {
		at = get(xsdt + i, 8);
		assert_true(at >= LAYOUT_ACPI_TABLES && at < LAYOUT_ACPI_END);
		assert_sum_is_zero(at, get(at + 4, 4));
		if (!memcmp(ram + at, signature, 4))
			return at;
	}
	return 0;
}

static void test_acpi_root_pointer_is_in_the_bios_area(void **state)
{
	struct tables t = build(1, 1);

	(void)state;
	assert_int_equal(t.rsdp % 16, 0);
	assert_in_range(t.rsdp, 0xe0000, 0xfffff);
	assert_memory_equal(ram + t.rsdp, "RSD PTR ", 8);
	assert_sum_is_zero(t.rsdp, 20);
	assert_sum_is_zero(t.rsdp, 36);
	guest_mem_destroy(t.mem);
}

static void test_acpi_fadt_is_hardware_reduced(void **state)
{
	struct tables t = build(1, 1);
	gpa_t fadt = table(&t, "FACP"), dsdt;

	(void)state;
	assert_true(fadt);
	assert_true(get(fadt + 112, 4) & (1 << 20));	/* HW_REDUCED */
	assert_true(get(fadt + 112, 4) & (1 << 10));	/* RESET_REG_SUP */
	assert_int_equal(get(fadt + 116 + 4, 8), LAYOUT_PORT_RESET);
	assert_int_equal(get(fadt + 244 + 4, 8), LAYOUT_PORT_SLEEP);
	dsdt = get(fadt + 140, 8);
	assert_memory_equal(ram + dsdt, "DSDT", 4);
	assert_sum_is_zero(dsdt, get(dsdt + 4, 4));
	guest_mem_destroy(t.mem);
}

static void test_acpi_madt_has_every_possible_cpu(void **state)
{
	static const unsigned int maxima[] = { 1, 4, 255 };

	(void)state;
	for (size_t m = 0; m < 3; m++) {
		unsigned int boot = (maxima[m] + 1) / 2, cpus = 0, others = 0;
		struct tables t = build(boot, maxima[m]);
		gpa_t madt = table(&t, "APIC"), end = madt + get(madt + 4, 4);

		for (gpa_t p = madt + 44; p < end; p += ram[p + 1]) {
			assert_true(ram[p + 1] >= 2);
			if (ram[p] != 0) {
				others++;
				continue;
			}
			assert_int_equal(ram[p + 3], t.ids[cpus]);
			assert_int_equal(get(p + 4, 4), cpus < boot ? 1 : 2);
			cpus++;
		}
		assert_int_equal(cpus, maxima[m]);
		assert_int_equal(others, 2);	/* I/O APIC, NMI */
		guest_mem_destroy(t.mem);
	}
}

static void test_acpi_mcfg_covers_the_root_buses(void **state)
{
	struct tables t = build(1, 1);
	gpa_t mcfg = table(&t, "MCFG");

	(void)state;
	assert_int_equal(get(mcfg + 44, 8), LAYOUT_ECAM);
	assert_int_equal(ram[mcfg + 54], 0);
	assert_int_equal(ram[mcfg + 55], 15);
	guest_mem_destroy(t.mem);
}

static void test_acpi_info_is_what_the_dsdt_reads(void **state)
{
	struct tables t = build(1, 1);

	(void)state;
	assert_int_equal(get(LAYOUT_ACPI_INFO, 4), 3);
	assert_int_equal(get(LAYOUT_ACPI_INFO + 4, 4), 0xc0000000);
	assert_int_equal(get(LAYOUT_ACPI_INFO + 12, 4), 1);
	assert_int_equal(get(LAYOUT_ACPI_INFO + 16, 8), 0x100000000ull);
	guest_mem_destroy(t.mem);
}

/* Bytes in [at, at + len), how often. */
static unsigned int occurrences(gpa_t at, uint64_t len, const void *what,
				size_t what_len)
{
	unsigned int n = 0;

	for (uint64_t i = 0; i + what_len <= len; i++)
		n += !memcmp(ram + at + i, what, what_len);
	return n;
}

static void test_acpi_slots_are_there_with_hotplug_only(void **state)
{
	struct tables t = build(1, 1);

	(void)state;
	assert_int_equal(table(&t, "SSDT"), 0);
	assert_int_equal(get(LAYOUT_ACPI_INFO + 32, 4), 0);
	guest_mem_destroy(t.mem);
}

/* Two buses are in use: theirs are in the root table, all others wait. */
static void test_acpi_every_bus_has_a_table_of_its_slots(void **state)
{
	struct tables t = build_with(255, 255, true);
	gpa_t first = table(&t, "SSDT"), xsdt = get(t.rsdp + 24, 8);
	uint64_t stride = get(LAYOUT_ACPI_INFO + 36, 4);

	(void)state;
	assert_int_equal(get(LAYOUT_ACPI_INFO + 32, 4), first);
	assert_int_equal(get(xsdt + 4, 4), 36 + (3 + 2) * 8);
	assert_int_equal(get(xsdt + 36 + 4 * 8, 8), first + stride);
	for (unsigned int bus = 0; bus < 16; bus++) {
		const char digit = "0123456789ABCDEF"[bus];
		const uint8_t number[] = { 0x08, 'B', 'U', 'S', 'N', 0x0a,
					   (uint8_t)bus };	/* NameOp */
		const char name[] = { 'P', 'C', 'I', digit };
		const char method[] = { 'S', 'L', 'T', digit };
		gpa_t at = first + bus * stride;
		uint64_t len = get(at + 4, 4);

		assert_true(len <= stride);
		assert_memory_equal(ram + at, "SSDT", 4);
		assert_sum_is_zero(at, len);
		assert_int_equal(occurrences(at, len, number, 7), 1);
		assert_int_equal(occurrences(at, len, method, 4), 1);
		assert_true(occurrences(at, len, name, 4) >= 2);
		assert_int_equal(occurrences(at, len, "PCIX", 4), 0);
		assert_int_equal(occurrences(at, len, "_EJ0", 4), 32);
		for (unsigned int slot = 0; slot < 32; slot++) {
			const unsigned int sun = bus * 32 + slot;
			const uint8_t sun_name[] = { 0x08, '_', 'S', 'U', 'N', 0x0b,
						 (uint8_t)sun,
						 (uint8_t)(sun >> 8) };

			assert_int_equal(occurrences(at, len, sun_name, 8), 1);
		}
	}
	guest_mem_destroy(t.mem);
}

static void test_acpi_generation_id_is_where_it_is_written(void **state)
{
	/* DWordConst, little-endian (ACPI 6.4, 20.2.3). */
	const uint8_t address[] = { 0x0c, LAYOUT_GENERATION & 0xff,
				    LAYOUT_GENERATION >> 8 & 0xff,
				    LAYOUT_GENERATION >> 16, 0 };
	struct tables t = build(1, 1);
	gpa_t dsdt = get(table(&t, "FACP") + 140, 8);
	size_t len = get(dsdt + 4, 4);
	uint8_t *name = memmem(ram + dsdt, len, "ADDR", 4);

	(void)state;
	assert_non_null(memmem(ram + dsdt, len, "VM_Gen_Counter", 15));
	assert_non_null(name);
	assert_non_null(memmem(name, 16, address, sizeof(address)));
	assert_true(LAYOUT_GENERATION >= LAYOUT_ACPI_INFO + 0x40);
	assert_true(LAYOUT_GENERATION + 16 <= LAYOUT_ACPI_TABLES);
	guest_mem_destroy(t.mem);
}

/* One for each that there may be, and only when some can come. */
static void test_acpi_processors_that_come_and_go(void **state)
{
	struct tables t = build(4, 4);
	const uint8_t entry[] = { 0, 8, 254, 254 * 2 % 255, 1, 0, 0, 0 };
	gpa_t at;

	(void)state;
	assert_int_equal(table(&t, "SSDT"), 0);
	guest_mem_destroy(t.mem);
	t = build(1, 255);
	at = table(&t, "SSDT");
	assert_true(at);
	assert_memory_equal(ram + at + 16, "MOTECPUS", 8);
	assert_int_equal(occurrences(at, get(at + 4, 4), "_MAT", 4), 255);
	/* The first stays. */
	assert_int_equal(occurrences(at, get(at + 4, 4), "_EJ0", 4), 254);
	assert_int_equal(occurrences(at, get(at + 4, 4), entry, 8), 1);
	guest_mem_destroy(t.mem);
}

static void test_acpi_dimms_that_come_and_go(void **state)
{
	/* NameOp, _UID, BytePrefix. */
	const uint8_t last[] = { 0x08, '_', 'U', 'I', 'D', 0x0a, 255 };
	struct tables t = build_all(1, 1, false, 256);
	gpa_t at = table(&t, "SSDT");
	uint64_t len;

	(void)state;
	assert_true(at);
	len = get(at + 4, 4);
	assert_memory_equal(ram + at + 16, "MOTEDIMM", 8);
	assert_int_equal(occurrences(at, len, "_CRS", 4), 256);
	assert_int_equal(occurrences(at, len, "_OST", 4), 256);
	assert_int_equal(occurrences(at, len, last, sizeof(last)), 1);
	/* Its device, and the notification. */
	assert_int_equal(occurrences(at, len, "M0FF", 4), 2);
	guest_mem_destroy(t.mem);
	/* With all that is optional there is room. */
	t = build_all(1, 255, true, 256);
	guest_mem_destroy(t.mem);
}

static void test_acpi_without_memory_fails(void **state)
{
	struct acpi_params p = { .max_cpus = 0 };
	struct guest_mem *mem;
	struct error e;
	gpa_t rsdp;

	(void)state;
	assert_int_equal(guest_mem_create(&mem), 0);
	assert_int_equal(acpi_build(&p, mem, &rsdp, &e), -ENOSPC);
	guest_mem_destroy(mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_acpi_root_pointer_is_in_the_bios_area),
		cmocka_unit_test(test_acpi_fadt_is_hardware_reduced),
		cmocka_unit_test(test_acpi_madt_has_every_possible_cpu),
		cmocka_unit_test(test_acpi_mcfg_covers_the_root_buses),
		cmocka_unit_test(test_acpi_info_is_what_the_dsdt_reads),
		cmocka_unit_test(test_acpi_slots_are_there_with_hotplug_only),
		cmocka_unit_test(test_acpi_every_bus_has_a_table_of_its_slots),
		cmocka_unit_test(test_acpi_generation_id_is_where_it_is_written),
		cmocka_unit_test(test_acpi_processors_that_come_and_go),
		cmocka_unit_test(test_acpi_dimms_that_come_and_go),
		cmocka_unit_test(test_acpi_without_memory_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
