/* SPDX-License-Identifier: MIT */
/* LINK: error boot/bzimage_x86 */
#include "boot_fixture_x86.h"

#include "boot/bzimage_x86.h"

static struct bytes sample(void)
{
	struct bytes payload = bytes_new(0x2000), b;

	b = bzimage_new(payload);
	bytes_free(&payload);
	return b;
}

static int parse(struct bzimage *bz, struct bytes b, struct error *e)
{
	size_t head = b.len < BZIMAGE_HEAD_BYTES ? b.len : BZIMAGE_HEAD_BYTES;

	return bzimage_parse(bz, b.p, head, b.len, "vmlinuz", e);
}

static void test_bzimage_valid_header_is_understood(void **state)
{
	struct bytes b = sample();
	struct bzimage bz;
	struct error e;

	(void)state;
	assert_true(bzimage_sniff(b.p, b.len));
	assert_int_equal(parse(&bz, b, &e), 0);
	assert_int_equal(bz.kernel_offset, BZ_SETUP_BYTES);
	assert_int_equal(bz.kernel_len, b.len - BZ_SETUP_BYTES);
	assert_int_equal(bz.payload_offset, BZ_SETUP_BYTES + BZ_PAYLOAD);
	assert_int_equal(bz.payload_len, 0x2000);
	assert_true(bz.entry64);
	assert_int_equal(bz.cmdline_limit, 2047);
	assert_int_equal(bz.initrd_limit, 1ull << 32);
	assert_int_equal(bz.pref_address, 0x1000000);
	assert_int_equal(bz.init_size, 0x800000);
	assert_int_equal(bz.header_len, 0x26c - 0x1f1);
	assert_memory_equal(bz.header, b.p + 0x1f1, bz.header_len);
	bytes_free(&b);
}

static void test_bzimage_setup_sects_0_means_4(void **state)
{
	struct bytes b = sample();
	struct bzimage bz;
	struct error e;

	(void)state;
	put_le(b.p + BZ_SETUP_SECTS, 0, 1);
	assert_int_equal(parse(&bz, b, &e), 0);
	assert_int_equal(bz.kernel_offset, 5 * 512);
	bytes_free(&b);
}

static void test_bzimage_syssize_beyond_the_file_is_refused(void **state)
{
	struct bytes b = sample();
	uint64_t paragraphs = (b.len - BZ_SETUP_BYTES) / 16;
	struct bzimage bz;
	struct error e;

	(void)state;
	put_le(b.p + 0x1f4, paragraphs, 4);
	assert_int_equal(parse(&bz, b, &e), 0);
	put_le(b.p + 0x1f4, paragraphs + 1, 4);
	assert_int_equal(parse(&bz, b, &e), -EINVAL);
	assert_non_null(strstr(e.text, "syssize"));
	put_le(b.p + 0x1f4, 0xffffffff, 4);
	assert_int_equal(parse(&bz, b, &e), -EINVAL);
	bytes_free(&b);
}

static void test_bzimage_fields_of_later_versions_are_ignored(void **state)
{
	struct bytes b = sample();
	struct bzimage bz;
	struct error e;

	(void)state;
	put_le(b.p + BZ_VERSION, 0x20b, 2);
	assert_int_equal(parse(&bz, b, &e), 0);
	assert_false(bz.entry64);
	assert_int_equal(bz.initrd_limit, 0x80000000);
	put_le(b.p + BZ_VERSION, 0x209, 2);
	assert_int_equal(parse(&bz, b, &e), 0);
	assert_int_equal(bz.init_size, 0);
	assert_int_equal(bz.pref_address, 0x100000);
	bytes_free(&b);
}

static void test_bzimage_header_ends_where_the_jump_lands(void **state)
{
	struct bytes b = sample();
	struct bzimage bz;
	struct error e;

	(void)state;
	/* Before xloadflags: later fields count as 0 whatever is there. */
	put_le(b.p + BZ_JUMP + 1, BZ_XLOADFLAGS - 0x202, 1);
	assert_int_equal(parse(&bz, b, &e), 0);
	assert_false(bz.entry64);
	assert_int_equal(bz.payload_len, 0);
	assert_int_equal(bz.header_len, BZ_XLOADFLAGS - 0x1f1);
	/* Past what boot_params has room for. */
	put_le(b.p + BZ_JUMP + 1, 0xff, 1);
	assert_int_equal(parse(&bz, b, &e), 0);
	assert_int_equal(bz.header_len, 0x290 - 0x1f1);
	bytes_free(&b);
}

static void test_bzimage_hostile_field_is_named(void **state)
{
	static const struct {
		size_t at;
		unsigned int len;
		uint64_t value;
		const char *text;
	} bad[] = {
		{ BZ_BOOT_FLAG, 2, 0, "not a bzImage" },
		{ BZ_HEADER, 4, 0, "not a bzImage" },
		{ BZ_VERSION, 2, 0, "version 0.00" },
		{ BZ_VERSION, 2, 0x207, "version 2.07" },
		{ BZ_LOADFLAGS, 1, 0, "loadflags" },
		{ BZ_SETUP_SECTS, 1, 0xff, "setup_sects 255" },
		{ BZ_PAYLOAD_OFFSET, 4, 0xffffffff, "payload_offset" },
		{ BZ_PAYLOAD_OFFSET, 4, 0x80000000, "payload_offset" },
		{ BZ_PAYLOAD_OFFSET, 4, BZ_PAYLOAD + 0x101, "payload_offset" },
		{ BZ_PAYLOAD_LENGTH, 4, 0x2101, "payload_length" },
		{ BZ_PAYLOAD_LENGTH, 4, 0xffffffff, "payload_length" },
	};
	struct bzimage bz;
	struct error e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bytes b = sample();
		int ret;

		put_le(b.p + bad[i].at, bad[i].value, bad[i].len);
		ret = parse(&bz, b, &e);
		bytes_free(&b);
		if (ret >= 0 || !strstr(e.text, bad[i].text))
			fail_msg("case %zu: %d, %s", i, ret, e.text);
		assert_int_equal(e.class, ERROR_INVALID_CONFIG);
		assert_non_null(strstr(e.text, "vmlinuz"));
	}
}

static void test_bzimage_any_truncation_is_refused(void **state)
{
	struct bytes b = sample();
	size_t needed = b.len - 0x100;
	struct bzimage bz;
	struct error e;

	(void)state;
	for (size_t n = 0; n < needed; n++) {
		struct bytes cut = { malloc(n), n };

		/* Its own allocation: a read past it is caught. */
		memcpy(cut.p, b.p, n);
		assert_true(parse(&bz, cut, &e) < 0);
		free(cut.p);
	}
	assert_int_equal(parse(&bz, (struct bytes){ b.p, needed }, &e), 0);
	bytes_free(&b);
}

static void test_bzimage_made_up_header_suits_a_vmlinux(void **state)
{
	struct bzimage bz;

	(void)state;
	bzimage_make_up(&bz);
	assert_int_equal(bz.hdr.boot_flag, 0xaa55);
	assert_memory_equal(&bz.hdr.header, "HdrS", 4);
	assert_int_equal(bz.cmdline_limit, 2047);
	assert_int_equal(bz.initrd_limit, 0x80000000);
	assert_int_equal(bz.init_size, 0);
	assert_memory_equal(bz.header, &bz.hdr, bz.header_len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bzimage_valid_header_is_understood),
		cmocka_unit_test(test_bzimage_setup_sects_0_means_4),
		cmocka_unit_test(
			test_bzimage_syssize_beyond_the_file_is_refused),
		cmocka_unit_test(
			test_bzimage_fields_of_later_versions_are_ignored),
		cmocka_unit_test(test_bzimage_header_ends_where_the_jump_lands),
		cmocka_unit_test(test_bzimage_hostile_field_is_named),
		cmocka_unit_test(test_bzimage_any_truncation_is_refused),
		cmocka_unit_test(test_bzimage_made_up_header_suits_a_vmlinux),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
