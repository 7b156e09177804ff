/* SPDX-License-Identifier: MIT */
/* LINK: guest_mem */
/* Guest memory: borders of regions, overflow, changes under readers. */
#include "unit.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "guest_mem.h"

/* Two regions that touch at 0x2000 and one apart at 0x10000. */
struct fixture {
	struct guest_mem *m;
	uint8_t a[0x1000], b[0x1000], c[0x1000];
};

static int set_up(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	assert_int_equal(guest_mem_create(&f.m), 0);
	assert_int_equal(guest_mem_add(f.m, 0x2000, 0x1000, f.b), 0);
	assert_int_equal(guest_mem_add(f.m, 0x1000, 0x1000, f.a), 0);
	assert_int_equal(guest_mem_add(f.m, 0x10000, 0x1000, f.c), 0);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	guest_mem_destroy(f->m);
	return 0;
}

static void test_guest_mem_access_range_table(void **state)
{
	static const struct {
		gpa_t gpa;
		uint64_t len;
		int ret;
	} table[] = {
		{ 0x1000, 0x1000, 0 },
		{ 0x1fff, 2, 0 },		/* across the border */
		{ 0x1000, 0x2000, 0 },
		{ 0x1000, 0x2001, -EFAULT },	/* one byte past */
		{ 0xfff, 1, -EFAULT },
		{ 0x3000, 1, -EFAULT },
		{ 0x10000, 0x1000, 0 },
		{ 0x10fff, 2, -EFAULT },
		{ UINT64_MAX, 1, -EFAULT },
		{ UINT64_MAX, 2, -EFAULT },
		{ 0x1000, UINT64_MAX, -EFAULT },
		{ 0x1000, UINT64_MAX - 0xfff, -EFAULT },
	};
	struct fixture *f = *state;
	static uint8_t buf[0x3000];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(guest_mem_valid(f->m, table[i].gpa,
						 table[i].len),
				 table[i].ret == 0);
		assert_int_equal(guest_mem_zero(f->m, table[i].gpa,
						table[i].len), table[i].ret);
		if (table[i].len > sizeof(buf))
			continue;
		assert_int_equal(guest_mem_read(f->m, table[i].gpa, buf,
						table[i].len), table[i].ret);
		assert_int_equal(guest_mem_write(f->m, table[i].gpa, buf,
						 table[i].len), table[i].ret);
	}
}

static void test_guest_mem_write_spanning_regions_lands_in_both(void **state)
{
	struct fixture *f = *state;
	uint8_t back[4];

	assert_int_equal(guest_mem_write(f->m, 0x1ffe, "abcd", 4), 0);
	assert_memory_equal(f->a + 0xffe, "ab", 2);
	assert_memory_equal(f->b, "cd", 2);
	assert_int_equal(guest_mem_read(f->m, 0x1ffe, back, 4), 0);
	assert_memory_equal(back, "abcd", 4);
}

static void test_guest_mem_failed_write_changes_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(guest_mem_write(f->m, 0x2ffe, "abcd", 4), -EFAULT);
	assert_int_equal(f->b[0xffe], 0);
}

static void test_guest_mem_iov_splits_at_borders(void **state)
{
	struct fixture *f = *state;
	struct iovec iov[2];

	assert_int_equal(guest_mem_iov(f->m, 0x1800, 0x1000, iov, 2), 2);
	assert_ptr_equal(iov[0].iov_base, f->a + 0x800);
	assert_int_equal(iov[0].iov_len, 0x800);
	assert_ptr_equal(iov[1].iov_base, f->b);
	assert_int_equal(iov[1].iov_len, 0x800);
	assert_int_equal(guest_mem_iov(f->m, 0x1800, 0x1000, iov, 1), -E2BIG);
	assert_int_equal(guest_mem_iov(f->m, 0x1800, 0, iov, 2), 0);
	assert_int_equal(guest_mem_iov(f->m, 0x3000, 1, iov, 2), -EFAULT);
}

static void test_guest_mem_ring_refuses_a_border(void **state)
{
	struct fixture *f = *state;

	assert_ptr_equal(guest_mem_ring(f->m, 0x1ff0, 0x10), f->a + 0xff0);
	assert_null(guest_mem_ring(f->m, 0x1ff0, 0x11));
	assert_null(guest_mem_ring(f->m, 0x5000, 1));
	assert_null(guest_mem_ring(f->m, 0x1000, SIZE_MAX));
}

static void test_guest_mem_add_overlap_table(void **state)
{
	static const struct {
		gpa_t base;
		uint64_t len;
		int ret;
	} table[] = {
		{ 0x1fff, 1, -EEXIST },	    { 0x0, 0x1001, -EEXIST },
		{ 0x2fff, 0x10, -EEXIST },  { 0x0, 0x20000, -EEXIST },
		{ 0x5000, 0, -EINVAL },	    { UINT64_MAX, 2, -EINVAL },
	};
	struct fixture *f = *state;
	uint8_t byte;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_int_equal(guest_mem_add(f->m, table[i].base,
					       table[i].len, &byte),
				 table[i].ret);
	assert_int_equal(guest_mem_remove(f->m, 0x1001), -ENOENT);
}

static void test_guest_mem_removed_region_is_gone(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(guest_mem_remove(f->m, 0x1000), 0);
	assert_false(guest_mem_valid(f->m, 0x1000, 1));
	assert_true(guest_mem_valid(f->m, 0x2000, 0x1000));
	assert_int_equal(guest_mem_region(f->m, 0)->base, 0x2000);
	assert_null(guest_mem_region(f->m, 2));
}

/* b, in the middle, can only be read. */
static void test_guest_mem_readonly_region_is_never_written(void **state)
{
	struct fixture *f = *state;
	struct iovec iov[3];
	uint32_t word = 0;

	assert_int_equal(guest_mem_remove(f->m, 0x2000), 0);
	assert_int_equal(guest_mem_add_readonly(f->m, 0x2000, 0x1000, f->b), 0);
	memset(f->b, 0x5a, 0x1000);
	assert_int_equal(guest_mem_read(f->m, 0x1ffe, &word, 4), 0);
	assert_int_equal(word, 0x5a5a0000);
	assert_true(guest_mem_valid(f->m, 0x2000, 0x1000));
	assert_int_equal(guest_mem_write(f->m, 0x2000, &word, 4), -EFAULT);
	assert_int_equal(guest_mem_write(f->m, 0x1ffe, &word, 4), -EFAULT);
	assert_int_equal(guest_mem_zero(f->m, 0x2ffc, 4), -EFAULT);
	assert_int_equal(guest_mem_iov(f->m, 0x1800, 0x1000, iov, 3), -EFAULT);
	assert_int_equal(guest_mem_iov_read(f->m, 0x1800, 0x1000, iov, 3), 2);
	assert_ptr_equal(iov[1].iov_base, f->b);
	assert_null(guest_mem_ring(f->m, 0x2000, 16));
	assert_int_equal(f->a[0xffe], 0);
	for (int i = 0; i < 0x1000; i++)
		assert_int_equal(f->b[i], 0x5a);
}

struct reader {
	struct fixture *f;
	atomic_bool stop;
	unsigned long bad;
};

static void *read_always(void *opaque)
{
	struct reader *r = opaque;
	uint8_t byte;

	while (!atomic_load(&r->stop))
		if (guest_mem_read(r->f->m, 0x10800, &byte, 1) || byte != 7)
			r->bad++;
	return NULL;
}

static void test_guest_mem_changes_do_not_disturb_readers(void **state)
{
	struct reader r = { .f = *state };
	uint8_t extra[16];
	pthread_t t;

	r.f->c[0x800] = 7;
	assert_int_equal(pthread_create(&t, NULL, read_always, &r), 0);
	for (int i = 0; i < 2000; i++) {
		assert_int_equal(guest_mem_add(r.f->m, 0x9000, 16, extra), 0);
		assert_int_equal(guest_mem_remove(r.f->m, 0x9000), 0);
	}
	atomic_store(&r.stop, true);
	pthread_join(t, NULL);
	assert_int_equal(r.bad, 0);
}

/* A VM whose memory comes and goes for ever needs no more for it. */
static void test_guest_mem_forgets_old_tables(void **state)
{
	struct fixture *f = *state;
	struct mallinfo2 before;
	uint8_t extra[16];

	for (int i = 0; i < 2000; i++) {
		if (i == 1000)
			before = mallinfo2();
		assert_int_equal(guest_mem_add(f->m, 0x9000, 16, extra), 0);
		assert_int_equal(guest_mem_remove(f->m, 0x9000), 0);
		guest_mem_forget(f->m);
	}
	assert_true(mallinfo2().uordblks <= before.uordblks + 1000);
	assert_true(guest_mem_valid(f->m, 0x1000, 0x2000));
	assert_false(guest_mem_valid(f->m, 0x9000, 1));
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_guest_mem_access_range_table),
		T(test_guest_mem_write_spanning_regions_lands_in_both),
		T(test_guest_mem_failed_write_changes_nothing),
		T(test_guest_mem_iov_splits_at_borders),
		T(test_guest_mem_ring_refuses_a_border),
		T(test_guest_mem_add_overlap_table),
		T(test_guest_mem_removed_region_is_gone),
		T(test_guest_mem_readonly_region_is_never_written),
		T(test_guest_mem_changes_do_not_disturb_readers),
		T(test_guest_mem_forgets_old_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
