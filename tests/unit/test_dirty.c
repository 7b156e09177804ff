/* SPDX-License-Identifier: MIT */
/* LINK: dirty guest_mem */
/* Whoever writes to RAM, it is in the diff; each base has its own account. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "dirty.h"
#include "soft_dirty.h"

#define PAGE	4096u
#define LEN	(256u * PAGE)
#define HIGH	(1ull << 32)

static uint64_t kvm_bits[2][4];
static bool logging[2];

int kvm_set_memory(struct kvm_vm *vm, uint32_t slot, uint32_t flags,
		   uint64_t gpa, uint64_t len_bytes, void *host)
{
	(void)vm;
	(void)gpa;
	(void)host;
	assert_true(slot < 2 && len_bytes == LEN);
	logging[slot] = flags & KVM_MEM_LOG_DIRTY_PAGES;
	return 0;
}

int kvm_get_dirty_log(struct kvm_vm *vm, uint32_t slot, uint64_t *bits)
{
	(void)vm;
	assert_true(logging[slot]);
	memcpy(bits, kvm_bits[slot], sizeof(kvm_bits[slot]));
	memset(kvm_bits[slot], 0, sizeof(kvm_bits[slot]));
	return 0;
}

struct fixture {
	struct kvm_vm kvm;
	struct guest_mem *mem;
	struct dirty *dirty;
	uint8_t *host[2];
	struct ram_part parts[2];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	memset(logging, 0, sizeof(logging));
	memset(kvm_bits, 0, sizeof(kvm_bits));
	guest_mem_create(&f->mem);
	for (uint32_t i = 0; i < 2; i++) {
		gpa_t base = i ? HIGH : 0;

		f->host[i] = mmap(NULL, LEN, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		guest_mem_add(f->mem, base, LEN, f->host[i]);
		f->parts[i] = (struct ram_part){
			.host = f->host[i], .len_bytes = LEN, .base = base,
			.slot = i,
		};
	}
	*state = f;
	return dirty_create(&f->dirty, f->mem, &f->kvm, HIGH + LEN);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	dirty_destroy(f->dirty);
	guest_mem_destroy(f->mem);
	munmap(f->host[0], LEN);
	munmap(f->host[1], LEN);
	free(f);
	return 0;
}

static const uint8_t *id_of(int n)
{
	static uint8_t id[DIRTY_ID_BYTES];

	id[3] = (uint8_t)n;
	return id;
}

/* Exactly these pages; -1 ends the list. */
static void assert_changed(struct fixture *f, int id, const int64_t *pages)
{
	uint64_t *bits, count = 0;

	assert_int_equal(dirty_since(f->dirty, id_of(id), &bits), 0);
	for (uint64_t i = 0; i < (HIGH + LEN) / PAGE / 64; i++)
		count += (uint64_t)__builtin_popcountll(bits[i]);
	for (; *pages >= 0; pages++) {
		assert_true(bits[*pages / 64] >> *pages % 64 & 1);
		count--;
	}
	assert_int_equal(count, 0);
	free(bits);
}

#define CHANGED(f, id, ...) \
	assert_changed(f, id, (const int64_t[]){ __VA_ARGS__, -1 })

static void collect(struct fixture *f, size_t parts)
{
	assert_int_equal(dirty_collect(f->dirty, f->parts, parts), 0);
}

static bool able = true;
static unsigned int cleared;

/* As far as this kernel does it. */
bool soft_dirty_clear(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY);

	assert_int_equal(write(fd, "4", 1), 1);
	close(fd);
	cleared++;
	return able;
}

static void test_every_writer_is_in_the_account(void **state)
{
	struct fixture *f = *state;
	struct iovec iov[4];
	uint8_t byte = 1;

	collect(f, 2);
	assert_true(logging[0] && logging[1]);
	assert_int_equal(dirty_add_base(f->dirty, id_of(1)), 0);
	kvm_bits[0][0] = 1u << 5;
	kvm_bits[1][1] = 1u << 2;
	guest_mem_write(f->mem, 7 * PAGE, &byte, 1);
	guest_mem_zero(f->mem, HIGH + 3 * PAGE - 1, 2);
	assert_int_equal(guest_mem_iov(f->mem, 9 * PAGE + 5, PAGE, iov, 4), 1);
	/* Reading is none. */
	guest_mem_read(f->mem, 11 * PAGE, &byte, 1);
	guest_mem_iov_read(f->mem, 12 * PAGE, PAGE, iov, 4);
	guest_mem_ring(f->mem, 13 * PAGE, PAGE);
	guest_mem_written(f->mem, 14 * PAGE, 1);
	dirty_note(f->dirty, 16 * PAGE, PAGE);
	collect(f, 2);
	CHANGED(f, 1, 5, 7, 9, 10, 14, 16, (HIGH >> 12) + 2, (HIGH >> 12) + 3,
		(HIGH >> 12) + 66);
}

static void test_each_base_has_its_own_account(void **state)
{
	struct fixture *f = *state;
	uint64_t *bits;

	collect(f, 2);
	dirty_add_base(f->dirty, id_of(1));
	kvm_bits[0][0] = 1;
	collect(f, 2);
	dirty_add_base(f->dirty, id_of(2));
	kvm_bits[0][0] = 2;
	collect(f, 2);
	CHANGED(f, 1, 0, 1);
	CHANGED(f, 2, 1);
	/* A save that failed changes nothing. */
	dirty_add_base(f->dirty, id_of(3));
	dirty_drop_base(f->dirty);
	assert_int_equal(dirty_since(f->dirty, id_of(3), &bits), -ENOENT);
	CHANGED(f, 2, 1);
	for (int i = 10; i < 10 + DIRTY_BASES; i++)
		dirty_add_base(f->dirty, id_of(i));
	assert_int_equal(dirty_since(f->dirty, id_of(2), &bits), -ENOENT);
	assert_int_equal(dirty_since(f->dirty, id_of(10), &bits), 0);
	free(bits);
}

static void test_memory_that_has_come_is_new(void **state)
{
	struct fixture *f = *state;
	uint64_t *bits;

	collect(f, 1);
	dirty_add_base(f->dirty, id_of(1));
	collect(f, 2);
	assert_int_equal(dirty_since(f->dirty, id_of(1), &bits), 0);
	for (size_t i = 0; i < LEN / PAGE / 64; i++)
		assert_int_equal(bits[(HIGH >> 12) / 64 + i], UINT64_MAX);
	assert_int_equal(bits[0], 0);
	free(bits);
	/* It goes; another in the same slot is new, too. */
	dirty_add_base(f->dirty, id_of(2));
	dirty_forget(f->dirty, 1);
	collect(f, 1);
	CHANGED(f, 2, -1);
	logging[1] = false;
	collect(f, 2);
	assert_true(logging[1]);
	assert_int_equal(dirty_since(f->dirty, id_of(2), &bits), 0);
	assert_int_equal(bits[(HIGH >> 12) / 64], UINT64_MAX);
	free(bits);
}

static void test_a_mapped_file_tells_by_its_pages(void **state)
{
	struct fixture *f = *state;
	int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, LEN), 0);
	assert_ptr_equal(mmap(f->host[0], LEN, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_FIXED, fd, 0), f->host[0]);
	dirty_add_base(f->dirty, id_of(1));
	(void)*(volatile uint8_t *)(f->host[0] + 4 * PAGE);
	f->host[0][6 * PAGE] = 1;
	f->host[1][8 * PAGE] = 1;
	dirty_note(f->dirty, 20 * PAGE, PAGE);
	collect(f, 2);
	CHANGED(f, 1, 6, 20, (HIGH >> 12) + 8);
	/* From here on KVM tells. */
	f->host[0][30 * PAGE] = 1;
	kvm_bits[0][0] = 1ull << 31;
	collect(f, 2);
	CHANGED(f, 1, 6, 20, 31, (HIGH >> 12) + 8);
	close(fd);
}

/* /proc may not be there, or not for us. */
static void test_what_cannot_be_known_has_changed(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, none;
	uint64_t *bits;

	dirty_add_base(f->dirty, id_of(1));
	getrlimit(RLIMIT_NOFILE, &old);
	none = old;
	none.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &none);
	collect(f, 2);
	setrlimit(RLIMIT_NOFILE, &old);
	assert_int_equal(dirty_since(f->dirty, id_of(1), &bits), 0);
	for (size_t i = 0; i < LEN / PAGE / 64; i++) {
		assert_int_equal(bits[i], UINT64_MAX);
		assert_int_equal(bits[HIGH / PAGE / 64 + i], UINT64_MAX);
	}
	free(bits);
	dirty_add_base(f->dirty, id_of(2));
	collect(f, 2);
	assert_changed(f, 2, (const int64_t[]){ -1 });
}

static void test_a_reset_changes_everything(void **state)
{
	struct fixture *f = *state;
	uint64_t *bits;

	collect(f, 2);
	dirty_add_base(f->dirty, id_of(1));
	dirty_note(f->dirty, 0, UINT64_MAX);
	collect(f, 2);
	assert_int_equal(dirty_since(f->dirty, id_of(1), &bits), 0);
	for (uint64_t i = 0; i < (HIGH + LEN) / PAGE / 64; i++)
		assert_int_equal(bits[i], UINT64_MAX);
	free(bits);
}

/* Where ranges begin and end, in the words of the log and at its end. */
static void test_ranges_are_noted_to_the_page(void **state)
{
	static const struct {
		uint64_t first, count;
	} ranges[] = {
		{ 0, 1 }, { 5, 59 }, { 63, 2 }, { 64, 64 }, { 60, 200 },
		{ (HIGH >> 12) + 255, 1 },
	};
	struct fixture *f = *state;
	int64_t pages[257];

	collect(f, 2);
	for (int i = 0; i < 6; i++) {
		size_t n = 0;

		dirty_add_base(f->dirty, id_of(i));
		for (; n < ranges[i].count; n++)
			pages[n] = (int64_t)(ranges[i].first + n);
		pages[n] = -1;
		/* A byte of the first and of the last. */
		dirty_note(f->dirty, ranges[i].first * PAGE + PAGE - 1,
			   (n - 1) * PAGE + 1);
		dirty_note(f->dirty, HIGH + LEN, PAGE);
		dirty_note(f->dirty, 0, 0);
		collect(f, 2);
		assert_changed(f, i, pages);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* What they know is soft_dirty.c's test. */
static void test_who_does_not_tell_is_found_in_the_page_tables(void **state)
{
	struct fixture *f = *state;
	uint64_t *bits, count = 0;

	f->parts[0].private = true;
	cleared = 0;
	collect(f, 2);
	dirty_add_base(f->dirty, id_of(1));
	assert_int_equal(cleared, 0);
	/* One comes while the log is kept: until now nobody had looked. */
	guest_mem_note_silent(f->mem);
	collect(f, 2);
	assert_int_equal(cleared, 1);
	dirty_add_base(f->dirty, id_of(2));
	assert_int_equal(dirty_since(f->dirty, id_of(1), &bits), 0);
	for (uint64_t i = 0; i < (HIGH + LEN) / PAGE / 64; i++)
		count += (uint64_t)__builtin_popcountll(bits[i]);
	free(bits);
	assert_int_equal(count, 2 * LEN / PAGE);
	/* From here on only what is shared may have changed. */
	collect(f, 2);
	assert_int_equal(cleared, 2);
	assert_int_equal(dirty_since(f->dirty, id_of(2), &bits), 0);
	assert_int_equal(bits[0], 0);
	assert_true(bits[HIGH / PAGE / 64] == UINT64_MAX);
	free(bits);
	/* A kernel that cannot tell. */
	able = false;
	collect(f, 1);
	dirty_add_base(f->dirty, id_of(3));
	collect(f, 1);
	able = true;
	assert_int_equal(dirty_since(f->dirty, id_of(3), &bits), 0);
	assert_true(bits[0] == UINT64_MAX);
	free(bits);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_every_writer_is_in_the_account),
		T(test_who_does_not_tell_is_found_in_the_page_tables),
		T(test_each_base_has_its_own_account),
		T(test_memory_that_has_come_is_new),
		T(test_a_mapped_file_tells_by_its_pages),
		T(test_what_cannot_be_known_has_changed),
		T(test_a_reset_changes_everything),
		T(test_ranges_are_noted_to_the_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
