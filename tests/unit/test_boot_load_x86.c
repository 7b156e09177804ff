/* SPDX-License-Identifier: MIT */
/* LINK: error guest_mem boot/source boot/elf boot/codec boot/codec_stream boot/codec_block boot/confine boot/decompress boot/cache boot/initrd boot/place boot/image boot/bzimage_x86 boot/linux_x86 boot/pvh_x86 boot/image_x86 boot/wait */
#include "boot_machine_x86.h"

#include <asm/bootparam.h>

static const struct boot_params *boot_params(struct machine *m)
{
	return (const void *)(m->low + m->entry.info);
}

static uint64_t ramdisk(struct machine *m)
{
	const struct boot_params *bp = boot_params(m);

	return (uint64_t)bp->ext_ramdisk_image << 32 | bp->hdr.ramdisk_image;
}

/* ---- what Linux is told -------------------------------------------------- */

static void test_boot_params_hold_header_map_and_pointers(void **state)
{
	struct machine *m = *state;
	const struct boot_params *bp;

	machine_boot(m, vmlinuz(CODEC_GZIP));
	bp = boot_params(m);
	assert_int_equal(bp->hdr.boot_flag, 0xaa55);
	assert_int_equal(bp->hdr.version, 0x20f);
	assert_int_equal(bp->hdr.kernel_info_offset, 0x12345678);
	assert_int_equal(bp->hdr.type_of_loader, 0xff);
	assert_int_equal(bp->hdr.loadflags, LOADED_HIGH | CAN_USE_HEAP);
	assert_int_equal(bp->hdr.cmd_line_ptr, LAYOUT_CMDLINE);
	assert_string_equal(m->low + LAYOUT_CMDLINE, "console=ttyS0 quiet");
	assert_int_equal(bp->hdr.setup_data, 0);
	assert_int_equal(bp->hdr.ramdisk_size, 0);
	assert_int_equal(bp->hdr.ramdisk_image, 0);
	assert_int_equal(bp->acpi_rsdp_addr, MACHINE_RSDP);
	assert_int_equal(bp->sentinel, 0);
	assert_int_equal(bp->_pad7[0], 0);
	assert_int_equal(bp->e820_entries, MACHINE_MAP_COUNT);
	for (size_t i = 0; i < MACHINE_MAP_COUNT; i++) {
		assert_int_equal(bp->e820_table[i].addr, machine_map[i].base);
		assert_int_equal(bp->e820_table[i].size,
				 machine_map[i].len_bytes);
		assert_int_equal(bp->e820_table[i].type, machine_map[i].type);
	}
	/* A vmlinux gets a header as well. */
	machine_boot(m, vmlinux());
	assert_int_equal(bp->hdr.version, 0x20f);
	assert_int_equal(bp->hdr.cmd_line_ptr, LAYOUT_CMDLINE);
	assert_int_equal(bp->e820_entries, MACHINE_MAP_COUNT);
}

static void test_boot_memory_map_of_128_entries_is_the_most(void **state)
{
	struct boot_memory map[129];
	struct machine *m = *state;

	memcpy(map, machine_map, sizeof(machine_map));
	for (size_t i = MACHINE_MAP_COUNT; i < 129; i++)
		map[i] = (struct boot_memory){ 0x200000000 + i * 4096, 4096,
					       BOOT_RESERVED };
	m->load.map = map;
	m->load.map_count = 128;
	machine_boot(m, vmlinuz(CODEC_GZIP));
	assert_int_equal(boot_params(m)->e820_entries, 128);
	assert_int_equal(boot_params(m)->e820_table[127].addr,
			 map[127].base);
	m->load.map_count = 129;
	assert_int_equal(machine_load(m), -E2BIG);
}

/* Intel SDM volume 3, 4.5: what address a 4-level walk of va ends at. */
static uint64_t walk(struct machine *m, uint64_t va)
{
	uint64_t table = m->entry.page_tables;

	for (int shift = 39; shift >= 12; shift -= 9) {
		uint64_t pte = get_le(m->low + table + 8 *
				      ((va >> shift) & 511), 8);

		if ((pte & 3) != 3)
			return UINT64_MAX;
		if (shift < 39 && (pte & 0x80))
			return (pte & ~((1ull << shift) - 1)) |
			       (va & ((1ull << shift) - 1));
		table = pte & 0x000ffffffffff000;
	}
	return table | (va & 0xfff);
}

static void test_boot_page_tables_map_4_gib_to_themselves(void **state)
{
	struct machine *m = *state;

	memset(m->low, 0xff, 1 << 20);
	machine_boot(m, vmlinuz(CODEC_GZIP));
	for (uint64_t va = 0; va < 1ull << 32; va += 0x1ff000)
		assert_int_equal(walk(m, va | 0x123), va | 0x123);
	assert_int_equal(walk(m, 0xffffffff), 0xffffffff);
	assert_int_equal(walk(m, 1ull << 32), UINT64_MAX);
	assert_int_equal(walk(m, 1ull << 39), UINT64_MAX);
	assert_int_equal(walk(m, KERNEL_VADDR), UINT64_MAX);
}

static void test_boot_gdt_has_flat_64_bit_segments(void **state)
{
	struct machine *m = *state;
	uint64_t code, data;

	machine_boot(m, vmlinuz(CODEC_GZIP));
	code = get_le(m->low + m->entry.gdt + 0x10, 8);
	data = get_le(m->low + m->entry.gdt + 0x18, 8);
	assert_int_equal(code >> 40 & 0xff, 0x9b);	/* code, present */
	assert_int_equal(code >> 52 & 0xf, 0xa);	/* G, L */
	assert_int_equal(data >> 40 & 0xff, 0x93);
	assert_int_equal(m->entry.stack, LAYOUT_BOOT_STACK);
}

static void test_boot_command_line_over_the_limit_is_refused(void **state)
{
	struct machine *m = *state;
	char line[2050];

	memset(line, 'x', sizeof(line));
	line[2048] = '\0';
	m->load.cmdline = line;
	assert_int_equal(machine_open(m, vmlinuz(CODEC_GZIP)), 0);
	assert_int_equal(boot_cmdline_limit(m->image), 2047);
	assert_refused(m, machine_load(m), "2048 bytes");
	line[2047] = '\0';
	assert_int_equal(machine_load(m), 0);
	m->load.cmdline = "";
	assert_int_equal(machine_load(m), 0);
	assert_int_equal(boot_params(m)->hdr.cmd_line_ptr, 0);
	m->load.cmdline = NULL;
	assert_int_equal(machine_load(m), 0);
}

static void test_boot_command_line_limit_is_the_kernels_or_ours(void **state)
{
	struct bytes b = vmlinuz(CODEC_GZIP);
	struct machine *m = *state;

	put_le(b.p + BZ_CMDLINE_SIZE, 0xffffffff, 4);
	assert_int_equal(machine_open(m, b), 0);
	assert_int_equal(boot_cmdline_limit(m->image), LAYOUT_CMDLINE_MAX - 1);
	assert_int_equal(machine_open(m, vmlinux()), 0);
	assert_int_equal(boot_cmdline_limit(m->image), 2047);
}

/* ---- initial ramdisks ---------------------------------------------------- */

struct ramdisks {
	char *paths[3];
	struct bytes content[3];
};

static void add_ramdisks(struct machine *m, struct ramdisks *r, size_t count,
			 const size_t *lens)
{
	static const char *const names[] = { "a.cpio", "b.cpio", "c.cpio" };

	for (size_t i = 0; i < count; i++) {
		r->content[i] = bytes_new(lens[i]);
		fill_pattern(r->content[i].p, lens[i], (uint32_t)i + 50);
		r->paths[i] = file_new(m->dir, names[i], r->content[i].p,
				       lens[i]);
	}
	m->open.initrds = (const char *const *)r->paths;
	m->open.initrd_count = count;
}

static void free_ramdisks(struct machine *m, struct ramdisks *r)
{
	for (size_t i = 0; i < m->open.initrd_count; i++) {
		free(r->paths[i]);
		bytes_free(&r->content[i]);
	}
	m->open.initrd_count = 0;
}

static void test_initrd_files_are_concatenated_at_the_top_of_ram(void **state)
{
	const size_t lens[] = { 10001, 2, 30000 };
	const size_t starts[] = { 0, 10004, 10008 };
	struct machine *m = *state;
	struct ramdisks r;
	uint64_t at;

	add_ramdisks(m, &r, 3, lens);
	memset(m->low + LOW_BYTES - 0x10000, 0xee, 0x10000);
	machine_boot(m, vmlinuz(CODEC_GZIP));
	for (int again = 0; again < 2; again++) {
		at = ramdisk(m);
		assert_int_equal(boot_params(m)->hdr.ramdisk_size, 40008);
		assert_int_equal(at, (LOW_BYTES - 40008) & ~0xfffull);
		for (size_t i = 0; i < 3; i++)
			assert_memory_equal(m->low + at + starts[i],
					    r.content[i].p, lens[i]);
		assert_int_equal(get_le(m->low + at + 10001, 3), 0);
		assert_int_equal(get_le(m->low + at + 10006, 2), 0);
		memset(m->low + at, 0x77, 40008);
		assert_int_equal(machine_load(m), 0);
	}
	free_ramdisks(m, &r);
}

static void test_initrd_stays_below_initrd_addr_max(void **state)
{
	const size_t len = 0x5001;
	struct machine *m = *state;
	struct bytes b = vmlinuz(CODEC_GZIP);
	struct ramdisks r;

	add_ramdisks(m, &r, 1, &len);
	put_le(b.p + BZ_INITRD_ADDR_MAX, 0x1fffffe, 4);
	put_le(b.p + BZ_XLOADFLAGS, 1, 2);
	machine_boot(m, b);
	assert_int_equal(ramdisk(m), 0x1ffa000);

	/* The kernel says that there is no limit. */
	b = vmlinuz(CODEC_GZIP);
	put_le(b.p + BZ_INITRD_ADDR_MAX, 0x1fffffe, 4);
	machine_boot(m, b);
	assert_int_equal(ramdisk(m), LOW_BYTES - 0x6000);
	free_ramdisks(m, &r);
}

static void test_initrd_fits_to_the_byte_above_init_size(void **state)
{
	/* init_size ends at 24 MiB of 48 MiB. */
	const size_t room = 24u << 20;
	size_t len = room;
	struct machine *m = *state;
	struct ramdisks r;

	add_ramdisks(m, &r, 1, &len);
	machine_boot(m, vmlinuz(CODEC_GZIP));
	assert_int_equal(ramdisk(m), 24u << 20);
	assert_memory_equal(m->low + (24u << 20), r.content[0].p, len);
	assert_loaded(m);
	free_ramdisks(m, &r);

	len = room + 1;
	add_ramdisks(m, &r, 1, &len);
	assert_int_equal(machine_open(m, vmlinuz(CODEC_GZIP)), 0);
	assert_refused(m, machine_load(m), "initrd: 25165825 bytes do not fit "
		       "between the kernel's end at 0x1800000 and 0x3000000");
	free_ramdisks(m, &r);
}

static void test_initrd_that_cannot_be_read_is_named(void **state)
{
	const size_t lens[] = { 100, 0 };
	struct machine *m = *state;
	struct ramdisks r;

	add_ramdisks(m, &r, 2, lens);
	assert_refused(m, machine_open(m, vmlinuz(CODEC_GZIP)),
		       "b.cpio: empty");
	assert_int_equal(unlink(r.paths[0]), 0);
	assert_refused(m, machine_open(m, vmlinuz(CODEC_GZIP)),
		       "a.cpio: No such file");
	free_ramdisks(m, &r);
}

static void test_initrd_that_shrinks_before_a_reset_is_named(void **state)
{
	const size_t len = 100000;
	struct machine *m = *state;
	struct ramdisks r;

	add_ramdisks(m, &r, 1, &len);
	machine_boot(m, vmlinuz(CODEC_GZIP));
	assert_int_equal(truncate(r.paths[0], 99999), 0);
	assert_refused(m, machine_load(m), "a.cpio: became shorter");
	free_ramdisks(m, &r);
}

/* ---- payloads of unknown formats ----------------------------------------- */

static struct bytes packed(void)
{
	struct bytes payload = bytes_new(0x3000), b;

	fill_pattern(payload.p, payload.len, 9);
	memset(payload.p, 0x11, 16);
	b = bzimage_new(payload);
	bytes_free(&payload);
	return b;
}

static void test_boot_unknown_payload_enters_the_kernels_own_code(void **state)
{
	struct machine *m = *state;
	struct bytes b = packed(), copy = packed();

	machine_boot(m, b);
	assert_int_equal(m->entry.protocol, BOOT_LINUX64);
	assert_int_equal(m->entry.entry, 0x1000200);
	assert_memory_equal(m->low + 0x1000000, copy.p + BZ_SETUP_BYTES,
			    copy.len - BZ_SETUP_BYTES);
	assert_int_equal(boot_params(m)->hdr.code32_start, 0x1000000);
	bytes_free(&copy);
}

static void test_boot_unknown_payload_is_relocated_into_ram(void **state)
{
	struct machine *m = *state;
	struct bytes b = packed();

	put_le(b.p + BZ_PREF_ADDRESS, 0x10000000, 8);
	machine_boot(m, b);
	assert_int_equal(m->entry.entry, 0x200200);
	assert_int_equal(m->low[0x200000], 0x90);

	/* Not relocatable: at code32_start or not at all. */
	b = packed();
	put_le(b.p + BZ_RELOCATABLE, 0, 1);
	machine_boot(m, b);
	assert_int_equal(m->entry.entry, 0x100200);
}

static void test_boot_hostile_unpackable_bzimage_is_refused(void **state)
{
	static const struct {
		size_t at[2];
		unsigned int len[2];
		uint64_t value[2];
		const char *text;
	} bad[] = {
		{ { BZ_XLOADFLAGS }, { 2 }, { 0 }, "xloadflags 0" },
		{ { BZ_VERSION }, { 2 }, { 0x20b }, "xloadflags" },
		{ { BZ_PREF_ADDRESS }, { 8 }, { 0 }, "below 0x100000" },
		{ { BZ_PREF_ADDRESS, BZ_KERNEL_ALIGNMENT }, { 8, 4 },
		  { UINT64_MAX, 0 }, "kernel_alignment 0" },
		{ { BZ_PREF_ADDRESS, BZ_KERNEL_ALIGNMENT }, { 8, 4 },
		  { UINT64_MAX - 100, 3 }, "kernel_alignment 0x3" },
		{ { BZ_PREF_ADDRESS, BZ_KERNEL_ALIGNMENT }, { 8, 4 },
		  { 0x100000000, 0x80000000 }, "needs RAM" },
		{ { BZ_PREF_ADDRESS, BZ_INIT_SIZE }, { 8, 4 },
		  { UINT64_MAX, 0xffffffff }, "needs RAM" },
		{ { BZ_CODE32_START, BZ_RELOCATABLE }, { 4, 1 },
		  { 0xfffff000, 0 }, "needs RAM" },
	};
	struct machine *m = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bytes b = packed();
		int ret;

		for (size_t k = 0; k < 2 && bad[i].at[k]; k++)
			put_le(b.p + bad[i].at[k], bad[i].value[k],
			       bad[i].len[k]);
		ret = machine_open(m, b);
		if (!ret)
			ret = machine_load(m);
		assert_refused(m, ret, bad[i].text);
	}
}

/* ---- PVH ----------------------------------------------------------------- */

static const struct elf_part unikernel[] = {
	{ 0x100000, 0x100000, 0x2000, 0x5000 },
};

static void test_boot_elf_with_a_pvh_note_is_entered_there(void **state)
{
	const size_t len = 5000;
	struct machine *m = *state;
	struct ramdisks r;
	const uint8_t *info, *module, *map;

	add_ramdisks(m, &r, 1, &len);
	memset(m->low + LAYOUT_PVH_INFO, 0xff, 4096);
	machine_boot(m, elf64_new(unikernel, 1, 0x100010, 0x100020));
	assert_int_equal(m->entry.protocol, BOOT_PVH);
	assert_int_equal(m->entry.entry, 0x100020);
	assert_int_equal(boot_cmdline_limit(m->image), LAYOUT_CMDLINE_MAX - 1);

	info = m->low + m->entry.info;
	assert_int_equal(get_le(info, 4), 0x336ec578);
	assert_int_equal(get_le(info + 4, 4), 1);
	assert_int_equal(get_le(info + 12, 4), 1);
	assert_string_equal(m->low + get_le(info + 24, 8),
			    "console=ttyS0 quiet");
	assert_int_equal(get_le(info + 32, 8), MACHINE_RSDP);
	module = m->low + get_le(info + 16, 8);
	assert_int_equal(get_le(module + 8, 8), len);
	assert_int_equal(get_le(module + 16, 8), 0);
	assert_int_equal(get_le(module, 8), LOW_BYTES - 0x2000);
	assert_memory_equal(m->low + get_le(module, 8), r.content[0].p, len);
	assert_int_equal(get_le(info + 48, 4), MACHINE_MAP_COUNT);
	map = m->low + get_le(info + 40, 8);
	for (size_t i = 0; i < MACHINE_MAP_COUNT; i++) {
		assert_int_equal(get_le(map + 24 * i, 8), machine_map[i].base);
		assert_int_equal(get_le(map + 24 * i + 8, 8),
				 machine_map[i].len_bytes);
		assert_int_equal(get_le(map + 24 * i + 16, 4),
				 machine_map[i].type);
	}
	assert_int_equal(get_le(m->low + m->entry.gdt + 0x10, 8) >> 52 & 0xf,
			 0xc);		/* G, D: 32 bits */
	free_ramdisks(m, &r);
}

static void test_boot_linux_with_both_entries_takes_the_64_bit_one(void **state)
{
	struct machine *m = *state;

	machine_boot(m, elf64_new(parts, 2, ENTRY, KERNEL + 0x80));
	assert_loaded(m);
}

static void test_boot_elf_without_a_usable_entry_is_refused(void **state)
{
	struct machine *m = *state;

	assert_refused(m, machine_open(m, elf64_new(parts, 2, 0x99, 0)),
		       "e_entry 0x99");
	assert_refused(m, machine_open(m, elf64_new(unikernel, 1,
						    0x100010, 0x105000)),
		       "PVH entry 0x105000");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, machine_setup, \
						machine_teardown)
	const struct CMUnitTest tests[] = {
		T(test_boot_params_hold_header_map_and_pointers),
		T(test_boot_memory_map_of_128_entries_is_the_most),
		T(test_boot_page_tables_map_4_gib_to_themselves),
		T(test_boot_gdt_has_flat_64_bit_segments),
		T(test_boot_command_line_over_the_limit_is_refused),
		T(test_boot_command_line_limit_is_the_kernels_or_ours),
		T(test_initrd_files_are_concatenated_at_the_top_of_ram),
		T(test_initrd_stays_below_initrd_addr_max),
		T(test_initrd_fits_to_the_byte_above_init_size),
		T(test_initrd_that_cannot_be_read_is_named),
		T(test_initrd_that_shrinks_before_a_reset_is_named),
		T(test_boot_unknown_payload_enters_the_kernels_own_code),
		T(test_boot_unknown_payload_is_relocated_into_ram),
		T(test_boot_hostile_unpackable_bzimage_is_refused),
		T(test_boot_elf_with_a_pvh_note_is_entered_there),
		T(test_boot_linux_with_both_entries_takes_the_64_bit_one),
		T(test_boot_elf_without_a_usable_entry_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
