/* SPDX-License-Identifier: MIT */
/* LINK: hot_memory ram guest_mem error */
/* The room for memory to come, over a mock of the memory slot ioctl. */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hot_memory.h"

#define MIB (1ull << 20)
#define BASE (4096 * MIB)

static struct {
	unsigned int calls;
	uint32_t slot;
	uint64_t gpa, len;
	int fail;
} mock;

int kvm_set_memory(struct kvm_vm *vm, uint32_t slot, uint32_t flags,
		   uint64_t gpa, uint64_t len_bytes, void *host)
{
	(void)vm;
	(void)flags;
	(void)host;
	if (mock.fail)
		return mock.fail;
	mock.calls++;
	mock.slot = slot;
	mock.gpa = gpa;
	mock.len = len_bytes;
	return 0;
}

static struct hot_memory *make(struct guest_mem *m, uint64_t max, bool share)
{
	const struct config_memory c = {
		.size_bytes = 512 * MIB, .max_bytes = max, .share = share,
		.prealloc = true,
	};
	static struct kvm_vm vm;
	struct hot_memory *h;
	struct error e;

	memset(&mock, 0, sizeof(mock));
	assert_int_equal(hot_memory_create(&h, &c, BASE, m, &vm, &e), 0);
	return h;
}

static void test_hot_memory_room_is_rounded_up(void **state)
{
	struct config_memory c = { .size_bytes = 512 * MIB };

	(void)state;
	assert_true(!hot_memory_room_bytes(&c));
	c.max_bytes = 512 * MIB;
	assert_true(!hot_memory_room_bytes(&c));
	c.max_bytes = 514 * MIB;
	assert_true(hot_memory_room_bytes(&c) == 128 * MIB);
	c.max_bytes = 640 * MIB;
	assert_true(hot_memory_room_bytes(&c) == 128 * MIB);
}

static void test_hot_memory_opens_as_far_as_is_asked(void **state)
{
	struct guest_mem *m;
	struct hot_memory *h;
	struct error e;
	char byte;

	(void)state;
	for (int share = 0; share < 2; share++) {
		assert_int_equal(guest_mem_create(&m), 0);
		h = make(m, 1024 * MIB, share);
		assert_int_equal(mock.calls, 0);
		assert_false(guest_mem_valid(m, BASE, 1));
		assert_int_equal(hot_memory_open(h, 1, &e), 0);
		assert_int_equal(hot_memory_open(h, 128 * MIB, &e), 0);
		assert_int_equal(mock.calls, 1);
		assert_true(mock.gpa == BASE && mock.len == 128 * MIB);
		assert_true(guest_mem_valid(m, BASE, 128 * MIB));
		assert_false(guest_mem_valid(m, BASE + 128 * MIB, 1));
		assert_int_equal(hot_memory_open(h, 512 * MIB, &e), 0);
		assert_int_equal(mock.calls, 2);
		assert_true(mock.gpa == BASE + 128 * MIB);
		assert_true(hot_memory_open_bytes(h) == 512 * MIB);
		assert_int_equal(hot_memory_open(h, 513 * MIB, &e), -EINVAL);
		/* What is cleared reads as zeros. */
		assert_int_equal(guest_mem_write(m, BASE + 4 * MIB, "x", 1), 0);
		hot_memory_clear(h, 4 * MIB, 2 * MIB);
		guest_mem_read(m, BASE + 4 * MIB, &byte, 1);
		assert_int_equal(byte, 0);
		hot_memory_destroy(h);
		assert_false(guest_mem_valid(m, BASE, 1));
		guest_mem_destroy(m);
	}
}

/* As where nothing has come in yet; it can be opened otherwise then. */
static void test_hot_memory_closes_and_opens_again(void **state)
{
	struct guest_mem *m;
	struct hot_memory *h;
	struct error e;

	(void)state;
	assert_int_equal(guest_mem_create(&m), 0);
	h = make(m, 1024 * MIB, false);
	assert_int_equal(hot_memory_open(h, 128 * MIB, &e), 0);
	assert_int_equal(hot_memory_open(h, 256 * MIB, &e), 0);
	hot_memory_close(h);
	assert_int_equal(mock.calls, 4);
	assert_int_equal(mock.len, 0);
	assert_false(guest_mem_valid(m, BASE, 1));
	assert_true(!hot_memory_open_bytes(h));
	assert_int_equal(hot_memory_open(h, 384 * MIB, &e), 0);
	assert_true(guest_mem_valid(m, BASE, 384 * MIB));
	hot_memory_destroy(h);
	guest_mem_destroy(m);
}

/* What was in it when the VM was saved does not come back by a reset. */
static void test_hot_memory_of_a_saved_vm_is_empty_after_a_reset(void **state)
{
	int fd = memfd_create("saved", MFD_CLOEXEC);
	struct ram_part part;
	struct guest_mem *m;
	struct hot_memory *h;
	struct error e;
	char byte;

	(void)state;
	assert_int_equal(ftruncate(fd, 8 * MIB), 0);
	assert_int_equal(pwrite(fd, "x", 1, 4 * MIB), 1);
	assert_int_equal(guest_mem_create(&m), 0);
	h = make(m, 1024 * MIB, false);
	assert_int_equal(hot_memory_open(h, 128 * MIB, &e), 0);
	assert_int_equal(hot_memory_map(h, fd, 2 * MIB, 6 * MIB, &e), 0);
	assert_int_equal(hot_memory_parts(h, &part), 1);
	assert_false(part.anonymous);
	guest_mem_read(m, BASE + 2 * MIB, &byte, 1);
	assert_int_equal(byte, 'x');
	hot_memory_reset(h);
	guest_mem_read(m, BASE + 2 * MIB, &byte, 1);
	assert_int_equal(byte, 0);
	hot_memory_parts(h, &part);
	assert_true(part.anonymous);
	hot_memory_destroy(h);
	guest_mem_destroy(m);
	close(fd);
}

static void test_hot_memory_failure_changes_nothing(void **state)
{
	struct guest_mem *m;
	struct hot_memory *h;
	struct error e;

	(void)state;
	assert_int_equal(guest_mem_create(&m), 0);
	h = make(m, 1024 * MIB, false);
	mock.fail = -ENOMEM;
	assert_int_equal(hot_memory_open(h, 1, &e), -ENOMEM);
	assert_true(!hot_memory_open_bytes(h));
	mock.fail = 0;
	/* Something is in the way. */
	assert_int_equal(guest_mem_add(m, BASE + MIB, MIB, m), 0);
	assert_int_equal(hot_memory_open(h, 1, &e), -EEXIST);
	assert_true(!mock.len);
	hot_memory_destroy(h);
	guest_mem_destroy(m);
}

/* The slots that KVM has for it are enough for any size. */
static void test_hot_memory_of_terabytes_opens_in_few_steps(void **state)
{
	const uint64_t max = 512 * MIB + (4ull << 40);
	struct guest_mem *m;
	struct hot_memory *h;
	struct error e;

	(void)state;
	assert_int_equal(guest_mem_create(&m), 0);
	h = make(m, max, false);
	for (uint64_t n = 128 * MIB; n <= hot_memory_bytes(h); n += 1024 * MIB)
		assert_int_equal(hot_memory_open(h, n, &e), 0);
	assert_in_range(mock.calls, 64, 128);
	assert_true(mock.slot < 512 + 128);
	hot_memory_destroy(h);
	guest_mem_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hot_memory_room_is_rounded_up),
		cmocka_unit_test(test_hot_memory_opens_as_far_as_is_asked),
		cmocka_unit_test(test_hot_memory_closes_and_opens_again),
		cmocka_unit_test(
			test_hot_memory_of_a_saved_vm_is_empty_after_a_reset),
		cmocka_unit_test(test_hot_memory_failure_changes_nothing),
		cmocka_unit_test(
			test_hot_memory_of_terabytes_opens_in_few_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
