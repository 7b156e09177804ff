/* SPDX-License-Identifier: MIT */
/* LINK: boot/dax */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot/dax.h"

#define IMAGE_BYTES 4096

struct fixture {
	char path[160];
	uint8_t b[IMAGE_BYTES];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->path, sizeof(f->path), "%s/test-dax-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	close(mkstemp(f->path));
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	free(f);
	return 0;
}

static bool possible(struct fixture *f, size_t bytes)
{
	int fd = open(f->path, O_WRONLY | O_TRUNC);

	assert_int_equal(write(fd, f->b, bytes), bytes);
	close(fd);
	return dax_possible(f->path);
}

/* One byte of the superblock, by its offset in the image, and the outcome. */
struct row {
	size_t at;
	uint8_t value;
	bool possible;
};

static void check(struct fixture *f, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint8_t was = f->b[rows[i].at];

		f->b[rows[i].at] = rows[i].value;
		if (possible(f, IMAGE_BYTES) != rows[i].possible)
			fail_msg("0x%zx: 0x%02x", rows[i].at, rows[i].value);
		f->b[rows[i].at] = was;
	}
}

static void test_dax_ext4_table(void **state)
{
	struct fixture *f = *state;
	static const struct row rows[] = {
		{ 0, 0, true },
		{ 1024 + 0x18, 0, false },	/* blocks of 1 KiB */
		{ 1024 + 0x38, 0x54, false },	/* magic */
		{ 1024 + 0x60, 0x82, false },	/* no extents: ext3 */
		{ 1024 + 0x61, 0x82, false },	/* inline data */
		{ 1024 + 0x100, 0x20, false },	/* data=journal by default */
		{ 1024 + 0x100, 0x40, true },	/* data=ordered */
	};

	f->b[1024 + 0x18] = 2;
	f->b[1024 + 0x38] = 0x53;
	f->b[1024 + 0x39] = 0xef;
	f->b[1024 + 0x60] = 0xc2;
	f->b[1024 + 0x61] = 0x02;
	check(f, rows, sizeof(rows) / sizeof(rows[0]));
}

static void test_dax_xfs_table(void **state)
{
	struct fixture *f = *state;
	static const struct row rows[] = {
		{ 0x800, 0, true },
		{ 0, 'Y', false },
		{ 6, 0x02, false },		/* blocks of 512 bytes */
		{ 215, 0x04, false },		/* reflinks */
		{ 215, 0x01, true },		/* free inode B+trees */
		{ 101, 0xb4, true },
	};

	memcpy(f->b, "XFSB", 4);
	f->b[6] = 0x10;
	f->b[101] = 0xb5;
	check(f, rows, sizeof(rows) / sizeof(rows[0]));
	/* Version 4 knows no such features. */
	f->b[101] = 0xb4;
	f->b[215] = 0x04;
	assert_true(possible(f, IMAGE_BYTES));
}

static void test_dax_what_is_no_image(void **state)
{
	struct fixture *f = *state;

	memcpy(f->b, "XFSB", 4);
	f->b[6] = 0x10;
	assert_true(possible(f, IMAGE_BYTES));
	assert_false(possible(f, 1000));
	assert_false(dax_possible("/nonexistent"));
	assert_false(dax_possible("/tmp"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_dax_ext4_table),
		T(test_dax_xfs_table),
		T(test_dax_what_is_no_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
