/* SPDX-License-Identifier: MIT */
/* LINK: error guest_mem boot/source boot/elf boot/wait */
#include "boot_fixture.h"

#include "boot/elf.h"

#define ENTRY 0x1000040u

static const struct elf_part parts[] = {
	{ 0x1000000, KERNEL_VADDR + 0x1000000, 0x3001, 0x3001 },
	{ 0x1200010, KERNEL_VADDR + 0x1200010, 0x100, 0x9000 },
};

static struct bytes sample(void)
{
	return elf64_new(parts, 2, ENTRY, ENTRY + 16);
}

static int read_bytes(struct elf_image *out, const void *p, size_t len,
		      struct error *e)
{
	int fd = memfd_with(p, len);
	int ret = elf_read(out, fd, 0, len, "vmlinux", e);

	close(fd);
	return ret;
}

static void test_elf_valid_file_gives_sorted_segments(void **state)
{
	const struct elf_part swapped[] = { parts[1], parts[0] };
	struct bytes b = elf64_new(swapped, 2, ENTRY, 0);
	struct elf_image elf;
	struct error e;

	(void)state;
	assert_int_equal(read_bytes(&elf, b.p, b.len, &e), 0);
	assert_true(elf.is64);
	assert_int_equal(elf.machine, EM_X86_64);
	assert_int_equal(elf.entry, ENTRY);
	assert_false(elf.has_pvh);
	assert_int_equal(elf.count, 2);
	assert_int_equal(elf.segments[0].paddr, 0x1000000);
	assert_int_equal(elf.segments[1].paddr, 0x1200010);
	assert_int_equal(elf.segments[1].mem_bytes, 0x9000);
	assert_int_equal(elf_end(&elf), 0x1209010);
	assert_ptr_equal(elf_find(&elf, ENTRY), &elf.segments[0]);
	assert_null(elf_find(&elf, 0x1003001));
	assert_null(elf_find(&elf, 0xffffff));
	bytes_free(&b);
}

static void test_elf_inside_a_file_is_read_at_its_offset(void **state)
{
	struct bytes b = sample(), c = bytes_new(b.len + 100);
	struct elf_image elf;
	struct error e;
	int fd;

	(void)state;
	memcpy(c.p + 100, b.p, b.len);
	fd = memfd_with(c.p, c.len);
	assert_int_equal(elf_read(&elf, fd, 100, b.len, "k", &e), 0);
	assert_int_equal(elf.pvh_entry, ENTRY + 16);
	close(fd);
	bytes_free(&b);
	bytes_free(&c);
}

static void test_elf_pvh_note_of_4_or_8_bytes_is_found(void **state)
{
	struct bytes b = sample();
	struct elf_image elf;
	struct error e;
	uint8_t *ph = b.p + PHDR(2);
	size_t first;

	(void)state;
	assert_int_equal(read_bytes(&elf, b.p, b.len, &e), 0);
	assert_true(elf.has_pvh);
	assert_int_equal(elf.pvh_entry, ENTRY + 16);

	/* Behind another note whose name and content need padding. */
	memset(b.p + 0xf00, 0, 0x100);
	put_le(b.p + 0xf00, 2, 4);
	put_le(b.p + 0xf04, 3, 4);
	put_le(b.p + 0xf08, 18, 4);
	first = 12 + 4 + 4;
	put_le(ph + 32, first + pvh_note(b.p + 0xf00 + first, 0x77, 4), 8);
	assert_int_equal(read_bytes(&elf, b.p, b.len, &e), 0);
	assert_true(elf.has_pvh);
	assert_int_equal(elf.pvh_entry, 0x77);
	bytes_free(&b);
}

static void test_elf_malformed_note_is_no_pvh_entry(void **state)
{
	static const struct {
		size_t at;
		uint32_t value;
	} bad[] = {
		{ 0xf00, 5 },		{ 0xf00, 0xffffffff },
		{ 0xf00, 0xfffffffd },	{ 0xf04, 9 },
		{ 0xf04, 0xffffffff },	{ 0xf04, 3 },
		{ 0xf08, 17 },		{ 0xf0c, 0x00785858 },
		{ 0xf14, 1 },		/* above 4 GiB */
	};
	struct elf_image elf;
	struct error e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bytes b = sample();

		put_le(b.p + bad[i].at, bad[i].value, 4);
		assert_int_equal(read_bytes(&elf, b.p, b.len, &e), 0);
		assert_false(elf.has_pvh);
		bytes_free(&b);
	}
}

static void test_elf32_is_read_like_elf64(void **state)
{
	Elf32_Ehdr h = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB,
			     EV_CURRENT },
		.e_type = ET_EXEC, .e_machine = EM_386,
		.e_version = EV_CURRENT, .e_entry = 0x100000,
		.e_phoff = sizeof(h), .e_phentsize = sizeof(Elf32_Phdr),
		.e_phnum = 2,
	};
	Elf32_Phdr ph[2] = {
		{ .p_type = PT_LOAD, .p_offset = 0x100, .p_paddr = 0x100000,
		  .p_vaddr = 0x100000, .p_filesz = 0x80, .p_memsz = 0x200 },
		{ .p_type = PT_NOTE, .p_offset = 0x180, .p_filesz = 20 },
	};
	uint8_t file[0x200] = { 0 };
	struct elf_image elf;
	struct error e;

	(void)state;
	memcpy(file, &h, sizeof(h));
	memcpy(file + sizeof(h), ph, sizeof(ph));
	pvh_note(file + 0x180, 0x100020, 4);
	assert_int_equal(read_bytes(&elf, file, sizeof(file), &e), 0);
	assert_false(elf.is64);
	assert_int_equal(elf.count, 1);
	assert_int_equal(elf.segments[0].mem_bytes, 0x200);
	assert_true(elf.has_pvh);
	assert_int_equal(elf.pvh_entry, 0x100020);
}

static void test_elf_hostile_field_is_named(void **state)
{
	static const struct {
		size_t at;
		unsigned int len;
		uint64_t value;
		const char *text;
	} bad[] = {
		{ 0, 4, 0, "not an ELF" },
		{ 4, 1, 0, "class 0" },
		{ 4, 1, 3, "class 3" },
		{ 4, 1, 1, "e_phentsize" },	/* read as ELF32 */
		{ 5, 1, 2, "data 2" },
		{ 6, 1, 0, "version 0" },
		{ 16, 2, ET_REL, "e_type 1" },
		{ 16, 2, ET_CORE, "e_type 4" },
		{ 54, 2, 0, "e_phentsize 0" },
		{ 54, 2, 57, "e_phentsize 57" },
		{ 56, 2, 0, "e_phnum 0" },
		{ 56, 2, 129, "e_phnum 129" },
		{ 56, 2, 0xffff, "e_phnum 65535" },
		{ 32, 8, 0xffffffffffffffff, "program header table" },
		{ 32, 8, 0xffffffffffffffc8, "program header table" },
		{ 32, 8, 0x7fffffffffffffff, "program header table" },
		{ PHDR(0), 4, PT_NULL, NULL },
		{ PHDR(0) + 8, 8, 0xffffffffffffffff, "p_offset" },
		{ PHDR(0) + 8, 8, 0x100000, "p_offset" },
		{ PHDR(0) + 24, 8, 0xffffffffffffd000, "wraps" },
		{ PHDR(0) + 24, 8, 0x1200000, "overlap" },
		{ PHDR(0) + 24, 8, 0x1208000, "overlap" },
		{ PHDR(0) + 32, 8, 0x3002, "more than p_memsz" },
		{ PHDR(0) + 32, 8, 0xffffffffffffffff, "more than p_memsz" },
		{ PHDR(0) + 40, 8, 0x200011, "overlap" },
		{ PHDR(0) + 40, 8, 0xffffffffffffffff, "wraps" },
		{ PHDR(2) + 8, 8, 0xffffffffffffffff, "PT_NOTE" },
		{ PHDR(2) + 32, 8, 0xffffffffffffffff, "PT_NOTE" },
	};
	struct elf_image elf;
	struct error e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bytes b = sample();
		int ret;

		put_le(b.p + bad[i].at, bad[i].value, bad[i].len);
		ret = read_bytes(&elf, b.p, b.len, &e);
		bytes_free(&b);
		if (!bad[i].text) {
			assert_int_equal(ret, 0);
			continue;
		}
		if (ret >= 0 || !strstr(e.text, bad[i].text))
			fail_msg("case %zu: %d, %s", i, ret, e.text);
		assert_int_equal(e.class, ERROR_INVALID_CONFIG);
		assert_non_null(strstr(e.text, "vmlinux"));
	}
}

static void test_elf_without_load_segment_is_refused(void **state)
{
	struct bytes b = sample();
	struct elf_image elf;
	struct error e;

	(void)state;
	put_le(b.p + PHDR(0), PT_NULL, 4);
	put_le(b.p + PHDR(1) + 32, 0, 8);
	put_le(b.p + PHDR(1) + 40, 0, 8);
	assert_true(read_bytes(&elf, b.p, b.len, &e) < 0);
	assert_non_null(strstr(e.text, "no PT_LOAD"));
	bytes_free(&b);
}

static void test_elf_too_many_segments_are_refused(void **state)
{
	struct elf_part many[ELF_MAX_SEGMENTS + 1];
	struct elf_image elf;
	struct error e;
	struct bytes b;

	(void)state;
	for (size_t i = 0; i <= ELF_MAX_SEGMENTS; i++)
		many[i] = (struct elf_part){ 0x100000 * (i + 1), 0, 1, 1 };
	b = elf64_new(many, ELF_MAX_SEGMENTS, 0, 0);
	assert_int_equal(read_bytes(&elf, b.p, b.len, &e), 0);
	bytes_free(&b);
	b = elf64_new(many, ELF_MAX_SEGMENTS + 1, 0, 0);
	assert_int_equal(read_bytes(&elf, b.p, b.len, &e), -E2BIG);
	bytes_free(&b);
}

static void test_elf_any_truncation_is_refused(void **state)
{
	struct bytes b = sample();
	struct elf_image elf;
	struct error e;
	uint64_t extent;

	(void)state;
	assert_int_equal(read_bytes(&elf, b.p, b.len, &e), 0);
	extent = elf.extent;
	assert_true(extent < b.len);
	assert_int_equal(read_bytes(&elf, b.p, (size_t)extent, &e), 0);
	for (size_t n = 0; n < extent; n += n < 0x120 ? 1 : 97)
		assert_true(read_bytes(&elf, b.p, n, &e) < 0);
	assert_true(read_bytes(&elf, b.p, (size_t)extent - 1, &e) < 0);
	bytes_free(&b);
}

static void test_elf_file_shorter_than_said_is_refused(void **state)
{
	struct bytes b = sample();
	int fd = memfd_with(b.p, 100);
	struct elf_image elf;
	struct error e;

	(void)state;
	assert_true(elf_read(&elf, fd, 0, b.len, "k", &e) < 0);
	assert_non_null(strstr(e.text, "truncated"));
	close(fd);
	bytes_free(&b);
}

#define MIB		(1ull << 20)
#define SHDR(b, i)	((b).p + get_le((b).p + 40, 8) + 64 * (i))

/* A read-only segment with code, and a writable one. */
static struct bytes sectioned(void)
{
	static const struct elf_part two[] = {
		{ 0x1000000, KERNEL_VADDR + 0x1000000, 4 * MIB, 4 * MIB },
		{ 0x1400000, KERNEL_VADDR + 0x1400000, 4 * MIB, 4 * MIB },
	};
	static const struct elf_section sections[] = {
		{ 0, 0, MIB, SHF_ALLOC | SHF_EXECINSTR, SHT_PROGBITS },
		{ 0, MIB, MIB, SHF_ALLOC | SHF_WRITE, SHT_PROGBITS },
		{ 0, 2 * MIB + 64, MIB, SHF_ALLOC, SHT_PROGBITS },
		{ 1, 0, MIB, SHF_ALLOC | SHF_WRITE, SHT_PROGBITS },
		{ 1, MIB, 2 * MIB, SHF_ALLOC, SHT_PROGBITS },
		{ 1, 3 * MIB, MIB / 2, SHF_ALLOC | SHF_WRITE, SHT_PROGBITS },
		{ 1, 7 * MIB / 2, MIB / 4, SHF_ALLOC, SHT_PROGBITS },
		{ 0, 0, 4 * MIB, 0, SHT_PROGBITS },
		{ 1, 0, 4 * MIB, SHF_ALLOC, SHT_NOBITS },
	};
	struct bytes b = elf64_new(two, 2, ENTRY, 0);

	put_le(b.p + PHDR(0) + 4, PF_R | PF_X, 4);
	put_le(b.p + PHDR(1) + 4, PF_R | PF_W, 4);
	elf64_add_sections(&b, sections,
			   sizeof(sections) / sizeof(sections[0]));
	return b;
}

static void test_elf_sections_tell_what_is_constant(void **state)
{
	struct bytes b = sectioned();
	uint64_t first = get_le(b.p + PHDR(0) + 8, 8);
	uint64_t second = get_le(b.p + PHDR(1) + 8, 8);
	struct elf_image elf;
	struct error e;

	(void)state;
	assert_int_equal(read_bytes(&elf, b.p, b.len, &e), 0);
	assert_true(elf.segments[0].executable && !elf.segments[0].writable);
	assert_true(!elf.segments[1].executable && elf.segments[1].writable);
	assert_int_equal(elf.constant.count, 2);
	assert_int_equal(elf.constant.data[0].from, first + MIB);
	assert_int_equal(elf.constant.data[0].to, first + 3 * MIB + 64);
	assert_int_equal(elf.constant.data[1].from, second + MIB);
	assert_int_equal(elf.constant.data[1].to, second + 3 * MIB);
	/* They are not needed. */
	assert_true(elf.extent <= get_le(b.p + 40, 8));
	bytes_free(&b);
}

static void test_elf_malformed_sections_are_passed_over(void **state)
{
	static const struct {
		size_t at;
		unsigned int len;
		uint64_t value;
	} bad[] = {
		{ 40, 8, UINT64_MAX },	{ 40, 8, UINT64_MAX - 63 },
		{ 40, 8, 1ull << 40 },	{ 58, 2, 63 },
		{ 58, 2, 0xffff },	{ 60, 2, 0 },
	};
	struct elf_image elf;
	struct error e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bytes b = sectioned();

		put_le(b.p + bad[i].at, bad[i].value, bad[i].len);
		assert_int_equal(read_bytes(&elf, b.p, b.len, &e), 0);
		assert_int_equal(elf.constant.count, 0);
		bytes_free(&b);
	}
	/* Sizes and offsets that wrap, more sections than there are. */
	for (unsigned int field = 24; field <= 32; field += 8) {
		struct bytes b = sectioned();

		for (unsigned int i = 0; i < 9; i++)
			put_le(SHDR(b, i) + field, UINT64_MAX - i, 8);
		put_le(b.p + 60, 0xffff, 2);
		assert_int_equal(read_bytes(&elf, b.p, b.len, &e), 0);
		assert_int_equal(elf.constant.count, 0);
		bytes_free(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_elf_valid_file_gives_sorted_segments),
		cmocka_unit_test(test_elf_inside_a_file_is_read_at_its_offset),
		cmocka_unit_test(test_elf_pvh_note_of_4_or_8_bytes_is_found),
		cmocka_unit_test(test_elf_malformed_note_is_no_pvh_entry),
		cmocka_unit_test(test_elf32_is_read_like_elf64),
		cmocka_unit_test(test_elf_hostile_field_is_named),
		cmocka_unit_test(test_elf_without_load_segment_is_refused),
		cmocka_unit_test(test_elf_too_many_segments_are_refused),
		cmocka_unit_test(test_elf_any_truncation_is_refused),
		cmocka_unit_test(test_elf_file_shorter_than_said_is_refused),
		cmocka_unit_test(test_elf_sections_tell_what_is_constant),
		cmocka_unit_test(test_elf_malformed_sections_are_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
