/* SPDX-License-Identifier: MIT */
/* LINK: ram guest_mem error */
/* Guest RAM of every kind, over a mock of the memory slot ioctl. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ram.h"

#define MIB (1ull << 20)

static struct {
	unsigned int slots;
	uint64_t gpa[4], len[4];
	uint8_t *host[4];
	int fail;
} mock;

int kvm_set_memory(struct kvm_vm *vm, uint32_t slot, uint32_t flags,
		   uint64_t gpa, uint64_t len_bytes, void *host)
{
	(void)vm;
	assert_int_equal(flags, 0);
	if (mock.fail)
		return mock.fail;
	mock.gpa[slot] = gpa;
	mock.len[slot] = len_bytes;
	mock.host[slot] = host;
	mock.slots++;
	return 0;
}

static const struct ram_range two[] = { { 0, 6 * MIB }, { 16 * MIB, 2 * MIB } };

static int make(struct ram **r, struct guest_mem **m,
		const struct config_memory *c, struct error *e)
{
	static struct kvm_vm vm;
	int ret;

	memset(&mock.slots, 0, sizeof(mock.slots));
	assert_int_equal(guest_mem_create(m), 0);
	ret = ram_create(r, c, two, 2, *m, e);
	if (!ret) {
		assert_int_equal(mock.slots, 0);
		ret = ram_attach(*r, &vm, e);
		if (ret)
			ram_destroy(*r);
	}
	if (ret)
		guest_mem_destroy(*m);
	return ret;
}

static void test_ram_ranges_are_slots_and_guest_memory(void **state)
{
	struct config_memory c = { .size_bytes = 8 * MIB };
	struct guest_mem *m;
	struct ram *r;
	struct error e;

	(void)state;
	assert_int_equal(make(&r, &m, &c, &e), 0);
	assert_int_equal(mock.slots, 2);
	assert_int_equal(mock.gpa[1], 16 * MIB);
	assert_int_equal(mock.len[1], 2 * MIB);
	assert_int_equal((uintptr_t)mock.host[0] % (2 * MIB), 0);
	assert_true(guest_mem_valid(m, 0, 6 * MIB));
	assert_true(guest_mem_valid(m, 16 * MIB, 2 * MIB));
	assert_false(guest_mem_valid(m, 6 * MIB, 1));
	assert_true(ram_is_private(r));
	ram_destroy(r);
	guest_mem_destroy(m);
}

static void test_ram_reset_reads_as_zeros(void **state)
{
	struct config_memory c = { .size_bytes = 8 * MIB };
	struct guest_mem *m;
	struct ram *r;
	struct error e;
	char byte;

	(void)state;
	for (int share = 0; share < 2; share++) {
		c.share = share;
		assert_int_equal(make(&r, &m, &c, &e), 0);
		assert_int_equal(guest_mem_write(m, 16 * MIB, "x", 1), 0);
		ram_reset(r);
		assert_int_equal(guest_mem_read(m, 16 * MIB, &byte, 1), 0);
		assert_int_equal(byte, 0);
		ram_destroy(r);
		guest_mem_destroy(m);
	}
}

/* What was in RAM when a VM was saved does not outlive a reset; the file does. */
static void test_ram_of_a_saved_vm_reads_as_zeros_after_a_reset(void **state)
{
	char path[] = "/tmp/test-ram-XXXXXX", byte = 0;
	struct config_memory c = { .size_bytes = 8 * MIB, .path = path,
				   .saved = true };
	const struct guest_mem_region *first;
	struct guest_mem *m;
	struct error e;
	struct ram *r;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 8 * MIB), 0);
	assert_int_equal(pwrite(fd, "y", 1, 0), 1);
	assert_int_equal(make(&r, &m, &c, &e), 0);
	first = guest_mem_region(m, 0);
	assert_int_equal(first->host[0], 'y');
	first->host[4096] = 'x';
	ram_reset(r);
	assert_int_equal(first->host[0], 0);
	assert_int_equal(first->host[4096], 0);
	first->host[0] = 'z';
	assert_int_equal(pread(fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 'y');
	ram_destroy(r);
	guest_mem_destroy(m);
	close(fd);
	unlink(path);
}

/* Whole pages of RAM and nothing else. */
static void test_ram_discard_gives_whole_pages_back(void **state)
{
	struct config_memory c = { .size_bytes = 8 * MIB };
	struct guest_mem *m;
	uint8_t other[4096];
	struct ram *r;
	struct error e;

	(void)state;
	for (int share = 0; share < 2; share++) {
		c.share = share;
		assert_int_equal(make(&r, &m, &c, &e), 0);
		memset(mock.host[0], 'x', 6 * MIB);
		memset(mock.host[1], 'y', 2 * MIB);
		assert_true(ram_discard(r, mock.host[0] + 4095, 3 * 4096));
		assert_int_equal(mock.host[0][4095], 'x');
		assert_int_equal(mock.host[0][4096], 0);
		assert_int_equal(mock.host[0][3 * 4096 - 1], 0);
		assert_int_equal(mock.host[0][3 * 4096], 'x');
		assert_true(ram_discard(r, mock.host[1] + 2 * MIB - 4096,
					4096));
		assert_int_equal(mock.host[1][2 * MIB - 4097], 'y');
		assert_int_equal(mock.host[1][2 * MIB - 1], 0);
		assert_true(ram_discard(r, mock.host[0], 1));
		assert_int_equal(mock.host[0][0], 'x');
		assert_false(ram_discard(r, mock.host[1], 2 * MIB + 1));
		assert_false(ram_discard(r, mock.host[1], UINT64_MAX));
		assert_false(ram_discard(r, other, sizeof(other)));
		assert_int_equal(mock.host[1][0], 'y');
		ram_destroy(r);
		guest_mem_destroy(m);
	}
}

static char *temporary(uint64_t len)
{
	static char path[] = "/tmp/mote-ram-XXXXXX";
	int fd;

	strcpy(path + sizeof(path) - 7, "XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	assert_int_equal(pwrite(fd, "file", 4, 6 * MIB < len ? 6 * MIB : 0), 4);
	close(fd);
	return path;
}

static void test_ram_private_file_is_content_that_is_not_written(void **state)
{
	struct config_memory c = { .size_bytes = 8 * MIB };
	struct guest_mem *m;
	struct ram *r;
	struct error e;
	char text[4];
	int fd;

	(void)state;
	c.path = temporary(8 * MIB);
	assert_int_equal(make(&r, &m, &c, &e), 0);
	/* The second range follows the first in the file. */
	assert_int_equal(guest_mem_read(m, 16 * MIB, text, 4), 0);
	assert_memory_equal(text, "file", 4);
	assert_int_equal(guest_mem_write(m, 16 * MIB, "ram!", 4), 0);
	assert_false(ram_is_private(r));
	ram_destroy(r);
	guest_mem_destroy(m);
	fd = open(c.path, O_RDONLY);
	assert_int_equal(pread(fd, text, 4, 6 * MIB), 4);
	assert_memory_equal(text, "file", 4);
	close(fd);
	unlink(c.path);
}

static void test_ram_shared_file_is_made_and_written(void **state)
{
	struct config_memory c = { .size_bytes = 8 * MIB, .share = true };
	struct guest_mem *m;
	struct stat st;
	struct ram *r;
	struct error e;
	char text[4];
	int fd;

	(void)state;
	c.path = temporary(4);
	unlink(c.path);
	assert_int_equal(make(&r, &m, &c, &e), 0);
	assert_int_equal(guest_mem_write(m, 16 * MIB, "ram!", 4), 0);
	ram_reset(r);		/* the user's: it stays as it is */
	ram_destroy(r);
	guest_mem_destroy(m);
	fd = open(c.path, O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 8 * MIB);
	assert_int_equal(pread(fd, text, 4, 6 * MIB), 4);
	assert_memory_equal(text, "ram!", 4);
	close(fd);
	unlink(c.path);
}

static void test_ram_directory_gets_no_name(void **state)
{
	char path[] = "/tmp/mote-ram-dir-XXXXXX";
	struct config_memory c = { .size_bytes = 8 * MIB, .share = true };
	struct guest_mem *m;
	struct ram *r;
	struct error e;

	(void)state;
	c.path = mkdtemp(path);
	assert_int_equal(make(&r, &m, &c, &e), 0);
	assert_int_equal(rmdir(path), 0);	/* empty all the time */
	ram_destroy(r);
	guest_mem_destroy(m);
}

static void test_ram_errors_name_the_file(void **state)
{
	struct config_memory c = { .size_bytes = 8 * MIB };
	struct guest_mem *m;
	struct ram *r;
	struct error e;

	(void)state;
	c.path = temporary(8 * MIB - 1);
	assert_int_equal(make(&r, &m, &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, c.path));
	unlink(c.path);
	assert_int_equal(make(&r, &m, &c, &e), -ENOENT);
	assert_non_null(strstr(e.text, c.path));
	assert_int_equal(mkfifo(c.path, 0600), 0);
	alarm(10);
	assert_int_equal(make(&r, &m, &c, &e), -EINVAL);
	alarm(0);
	unlink(c.path);
	c.path = "/dev/zero";
	assert_int_equal(make(&r, &m, &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "/dev/zero"));
	c.path = NULL;
	mock.fail = -EEXIST;
	assert_int_equal(make(&r, &m, &c, &e), -EEXIST);
	mock.fail = 0;
}

/* KVM's own limits, in the user's words. */
static void test_ram_slot_that_kvm_refuses_is_explained(void **state)
{
	struct config_memory c = { .size_bytes = 8 * MIB };
	struct guest_mem *m;
	struct ram *r;
	struct error e;

	(void)state;
	mock.fail = -EINVAL;
	assert_int_equal(make(&r, &m, &c, &e), -EINVAL);
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	assert_non_null(strstr(e.text, "up to address 0x600000"));
	mock.fail = -ENOMEM;
	assert_int_equal(make(&r, &m, &c, &e), -ENOMEM);
	assert_int_equal(e.class, ERROR_GENERIC);
	assert_non_null(strstr(e.text, "tables of 6 MiB"));
	mock.fail = 0;
}

static void test_ram_prealloc_makes_it_resident(void **state)
{
	struct config_memory c = { .size_bytes = 8 * MIB };
	long before, after, ignored;
	struct guest_mem *m;
	struct ram *r;
	struct error e;
	FILE *f;

	(void)state;
	f = fopen("/proc/self/statm", "r");
	assert_int_equal(fscanf(f, "%ld %ld", &ignored, &before), 2);
	fclose(f);
	assert_int_equal(make(&r, &m, &c, &e), 0);
	assert_int_equal(ram_prealloc(r, NULL, &e), 0);
	f = fopen("/proc/self/statm", "r");
	assert_int_equal(fscanf(f, "%ld %ld", &ignored, &after), 2);
	fclose(f);
	assert_true(after - before >= 8 * 256 - 64);
	ram_destroy(r);
	guest_mem_destroy(m);
}

static unsigned int pieces;

static bool after_two_pieces(void)
{
	return pieces++ == 2;
}

/* Of much memory little is made. */
static void test_ram_prealloc_can_be_cancelled(void **state)
{
	const struct ram_range large = { 0, MIB << 14 };
	struct config_memory c = { .size_bytes = large.len_bytes };
	struct ram *r;
	struct error e;

	(void)state;
	assert_int_equal(ram_create(&r, &c, &large, 1, NULL, &e), 0);
	assert_int_equal(ram_prealloc(r, after_two_pieces, &e), -ECANCELED);
	assert_int_equal(pieces, 3);
	ram_destroy(r);
}

static long free_huge_pages(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	long n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "HugePages_Free: %ld", &n);
	fclose(f);
	return n;
}

/* The alternative is a SIGBUS when the first page is touched. */
static void test_ram_too_few_huge_pages_are_an_error(void **state)
{
	struct config_memory c = { .size_bytes = 8 * MIB, .hugepages = true };
	struct guest_mem *m;
	struct ram *r;
	struct error e;

	(void)state;
	if (free_huge_pages() >= 4)
		skip();
	for (int share = 0; share < 2; share++) {
		c.share = share;
		assert_int_equal(make(&r, &m, &c, &e), -ENOMEM);
		assert_non_null(strstr(e.text, "huge pages"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ram_ranges_are_slots_and_guest_memory),
		cmocka_unit_test(test_ram_discard_gives_whole_pages_back),
		cmocka_unit_test(test_ram_reset_reads_as_zeros),
		cmocka_unit_test(
			test_ram_private_file_is_content_that_is_not_written),
		cmocka_unit_test(test_ram_shared_file_is_made_and_written),
		cmocka_unit_test(test_ram_directory_gets_no_name),
		cmocka_unit_test(
			test_ram_of_a_saved_vm_reads_as_zeros_after_a_reset),
		cmocka_unit_test(test_ram_errors_name_the_file),
		cmocka_unit_test(test_ram_slot_that_kvm_refuses_is_explained),
		cmocka_unit_test(test_ram_prealloc_makes_it_resident),
		cmocka_unit_test(test_ram_prealloc_can_be_cancelled),
		cmocka_unit_test(test_ram_too_few_huge_pages_are_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
