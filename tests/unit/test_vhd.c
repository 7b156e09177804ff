/* SPDX-License-Identifier: MIT */
/* LINK: error block/vhd */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "block/vhd.h"

#define PAYLOAD 4096u

/* Offsets in the footer. */
enum {
	COOKIE = 0, VERSION = 12, DATA_OFFSET = 16, CURRENT = 48, TYPE = 60,
	CHECKSUM = 64, SAVED_STATE = 84,
};

static void put_be(uint8_t *p, uint64_t value, unsigned int bytes)
{
	while (bytes--) {
		p[bytes] = (uint8_t)value;
		value >>= 8;
	}
}

static void make_footer(uint8_t *f)
{
	memset(f, 0, VHD_FOOTER_BYTES);
	memcpy(f + COOKIE, "conectix", 8);
	put_be(f + 8, 2, 4);
	put_be(f + VERSION, 0x10000, 4);
	put_be(f + DATA_OFFSET, UINT64_MAX, 8);
	put_be(f + 40, PAYLOAD, 8);
	put_be(f + CURRENT, PAYLOAD, 8);
	put_be(f + TYPE, 2, 4);
	memset(f + 68, 0xa5, 16);
}

static void seal(uint8_t *f)
{
	uint32_t sum = 0;

	memset(f + CHECKSUM, 0, 4);
	for (unsigned int i = 0; i < VHD_FOOTER_BYTES; i++)
		sum += f[i];
	put_be(f + CHECKSUM, ~sum, 4);
}

/* A file of payload bytes with the footer behind them. */
static int make_file(const uint8_t *footer, off_t payload)
{
	int fd = memfd_create("vhd", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, footer, VHD_FOOTER_BYTES, payload),
			 VHD_FOOTER_BYTES);
	return fd;
}

static void test_vhd_fixed_gives_payload(void **state)
{
	uint8_t footer[VHD_FOOTER_BYTES];
	uint64_t payload = 0;
	struct error e;
	int fd;

	(void)state;
	make_footer(footer);
	footer[SAVED_STATE] = 1;
	seal(footer);
	fd = make_file(footer, PAYLOAD);
	assert_int_equal(vhd_fixed_payload(fd, PAYLOAD + VHD_FOOTER_BYTES,
					   &payload, &e), 0);
	assert_int_equal(payload, PAYLOAD);
	close(fd);
}

/* A value somewhere in a footer, sealed or not, and what the error says. */
static const struct {
	unsigned int at, bytes;
	uint64_t value;
	bool sealed;
	const char *says;
} bad[] = {
	{ COOKIE, 1, 'C', true, "no footer" },
	{ CHECKSUM, 4, 0, false, "checksum" },
	{ SAVED_STATE, 1, 7, false, "checksum" },
	{ 511, 1, 1, false, "checksum" },
	{ VERSION, 4, 0x20000, true, "version 0x00020000" },
	{ TYPE, 4, 3, true, "dynamic VHD" },
	{ TYPE, 4, 4, true, "differencing VHD" },
	{ TYPE, 4, 0, true, "type 0" },
	{ TYPE, 4, 6, true, "type 6" },
	{ DATA_OFFSET, 8, 512, true, "data offset" },
	{ CURRENT, 8, PAYLOAD - 512, true, "3584 bytes" },
	{ CURRENT, 8, PAYLOAD + 512, true, "4608 bytes" },
	{ CURRENT, 8, 0, true, " 0 bytes" },
	{ CURRENT, 8, UINT64_MAX, true, "18446744073709551615" },
};

static void test_vhd_bad_footer_refused_by_name(void **state)
{
	uint8_t footer[VHD_FOOTER_BYTES];
	uint64_t payload = 1;
	struct error e;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		make_footer(footer);
		seal(footer);
		put_be(footer + bad[i].at, bad[i].value, bad[i].bytes);
		if (bad[i].sealed)
			seal(footer);
		fd = make_file(footer, PAYLOAD);
		assert_int_equal(vhd_fixed_payload(
					 fd, PAYLOAD + VHD_FOOTER_BYTES,
					 &payload, &e), -EINVAL);
		if (!strstr(e.text, bad[i].says))
			fail_msg("%zu: %s", i, e.text);
		close(fd);
	}
	assert_int_equal(payload, 1);
}

static void test_vhd_odd_size_refused(void **state)
{
	static const off_t sizes[] = { 0, 1, 511, 1000 };
	uint8_t footer[VHD_FOOTER_BYTES];
	uint64_t payload;
	struct error e;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		make_footer(footer);
		put_be(footer + CURRENT, (uint64_t)sizes[i], 8);
		seal(footer);
		fd = make_file(footer, sizes[i]);
		assert_int_equal(vhd_fixed_payload(
					 fd, (uint64_t)sizes[i] +
					 VHD_FOOTER_BYTES, &payload, &e),
				 -EINVAL);
		assert_non_null(strstr(e.text, "sectors"));
		close(fd);
	}
}

static void test_vhd_short_file_refused(void **state)
{
	uint8_t footer[VHD_FOOTER_BYTES];
	uint64_t payload;
	struct error e;
	int fd;

	(void)state;
	make_footer(footer);
	seal(footer);
	fd = make_file(footer, 0);
	assert_int_equal(vhd_fixed_payload(fd, 0, &payload, &e), -EINVAL);
	assert_int_equal(vhd_fixed_payload(fd, 511, &payload, &e), -EINVAL);
	/* It has become shorter since somebody asked for its size. */
	assert_int_equal(vhd_fixed_payload(fd, 8192, &payload, &e), -EIO);
	close(fd);
}

static void test_vhd_vhdx_refused_by_name(void **state)
{
	uint8_t footer[VHD_FOOTER_BYTES] = "";
	uint64_t payload;
	struct error e;
	int fd = make_file(footer, PAYLOAD);

	(void)state;
	assert_int_equal(pwrite(fd, "vhdxfile", 8, 0), 8);
	assert_int_equal(vhd_fixed_payload(fd, PAYLOAD + VHD_FOOTER_BYTES,
					   &payload, &e), -EINVAL);
	assert_non_null(strstr(e.text, "VHDX"));
	close(fd);
}

static void test_vhd_name_by_its_end(void **state)
{
	(void)state;
	assert_true(vhd_is_name("/a/rootfs.vhd"));
	assert_true(vhd_is_name("X.VHD"));
	assert_false(vhd_is_name("a.vhdx"));
	assert_false(vhd_is_name("vhd"));
	assert_false(vhd_is_name(".vhd"));
	assert_false(vhd_is_name("a.vhd/disk"));
	assert_false(vhd_is_name(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vhd_fixed_gives_payload),
		cmocka_unit_test(test_vhd_bad_footer_refused_by_name),
		cmocka_unit_test(test_vhd_odd_size_refused),
		cmocka_unit_test(test_vhd_short_file_refused),
		cmocka_unit_test(test_vhd_vhdx_refused_by_name),
		cmocka_unit_test(test_vhd_name_by_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
