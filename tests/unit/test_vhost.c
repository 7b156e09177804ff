/* SPDX-License-Identifier: MIT */
/* LINK: virtio/vhost virtio/virtqueue guest_mem loop */
/* LINK: virtio/device% state error */
/* The list of memory that a back end in the kernel gets; the kernel is a mock. */
#include "unit.h"

#include <errno.h>
#include <linux/vhost.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "virtio/vhost.h"

#define MIB	(UINT64_C(1) << 20)
#define GIB	(UINT64_C(1) << 30)
#define LIMIT	64u
#define HOST(n)	((void *)(uintptr_t)(0x100000000000 + (n)))

/* What the kernel holds. */
static struct vhost_memory_region held[LIMIT];
static unsigned int held_count, calls;

/* Instead of libc's. */
int ioctl(int fd, unsigned long request, ...)
{
	const struct vhost_memory *m;
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request != VHOST_SET_MEM_TABLE)
		return (int)syscall(SYS_ioctl, fd, request, arg);
	m = arg;
	calls++;
	if (m->nregions > LIMIT) {
		errno = E2BIG;
		return -1;
	}
	memcpy(held, m->regions, m->nregions * sizeof(*held));
	held_count = m->nregions;
	return 0;
}

static int setup(void **state)
{
	struct guest_mem *m;

	held_count = calls = 0;
	if (guest_mem_create(&m))
		return -1;
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	guest_mem_destroy(*state);
	return 0;
}

static void expect(unsigned int at, gpa_t base, uint64_t bytes, void *host)
{
	assert_true(at < held_count);
	assert_int_equal(held[at].guest_phys_addr, base);
	assert_int_equal(held[at].memory_size, bytes);
	assert_int_equal(held[at].userspace_addr, (uintptr_t)host);
}

static void test_vhost_gets_memory_that_may_be_written(void **state)
{
	const struct vhost v = { .fd = 0 };
	struct guest_mem *m = *state;

	assert_int_equal(guest_mem_add(m, 0, GIB, HOST(0)), 0);
	assert_int_equal(guest_mem_add_readonly(m, 4 * GIB, MIB, HOST(GIB)),
			 0);
	assert_int_equal(guest_mem_add(m, 5 * GIB, MIB, HOST(8 * GIB)), 0);
	assert_int_equal(vhost_set_memory(&v, m), 0);
	assert_int_equal(held_count, 2);
	expect(0, 0, GIB, HOST(0));
	expect(1, 5 * GIB, MIB, HOST(8 * GIB));
}

static void test_vhost_memory_that_grew_is_one_region(void **state)
{
	const struct vhost v = { .fd = 0 };
	struct guest_mem *m = *state;

	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(guest_mem_add(m, GIB + i * MIB, MIB,
					       HOST(i * MIB)), 0);
	/* Next to it for the guest, elsewhere on the host; and the reverse. */
	assert_int_equal(guest_mem_add(m, GIB + 100 * MIB, MIB, HOST(GIB)), 0);
	assert_int_equal(guest_mem_add(m, 2 * GIB, MIB, HOST(GIB + MIB)), 0);
	assert_int_equal(vhost_set_memory(&v, m), 0);
	assert_int_equal(calls, 1);
	assert_int_equal(held_count, 3);
	expect(0, GIB, 100 * MIB, HOST(0));
	expect(1, GIB + 100 * MIB, MIB, HOST(GIB));
	expect(2, 2 * GIB, MIB, HOST(GIB + MIB));
}

static void test_vhost_takes_the_lowest_of_too_many(void **state)
{
	const struct vhost v = { .fd = 0 };
	struct guest_mem *m = *state;

	for (unsigned int i = 0; i < LIMIT; i++)
		assert_int_equal(guest_mem_add(m, (i + 1) * GIB, MIB,
					       HOST(2 * i * MIB)), 0);
	assert_int_equal(vhost_set_memory(&v, m), 0);
	assert_int_equal(calls, 1);
	assert_int_equal(guest_mem_add(m, 100 * GIB, MIB, HOST(0x800 * MIB)),
			 0);
	assert_int_equal(guest_mem_add(m, 0, MIB, HOST(0x900 * MIB)), 0);
	assert_int_equal(vhost_set_memory(&v, m), 0);
	assert_int_equal(held_count, LIMIT);
	expect(0, 0, MIB, HOST(0x900 * MIB));
	expect(LIMIT - 1, (LIMIT - 1) * GIB, MIB, HOST(2 * (LIMIT - 2) * MIB));
}

/* What the kernel writes and does not tell of has to be looked for. */
static void test_vhost_without_a_log_is_noted(void **state)
{
	struct vhost v = { .fd = 0, .logs = true };
	struct guest_mem *m = *state;

	assert_int_equal(guest_mem_add(m, MIB, MIB, HOST(0)), 0);
	assert_int_equal(vhost_set_memory(&v, m), 0);
	assert_false(guest_mem_has_silent(m));
	v.logs = false;
	assert_int_equal(vhost_set_memory(&v, m), 0);
	assert_true(guest_mem_has_silent(m));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_vhost_gets_memory_that_may_be_written),
		TEST(test_vhost_memory_that_grew_is_one_region),
		TEST(test_vhost_takes_the_lowest_of_too_many),
		TEST(test_vhost_without_a_log_is_noted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
