/* SPDX-License-Identifier: MIT */
/* LINK: soft_dirty */
/* What was written since: this kernel tells, or says that it cannot. */
#include "unit.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "soft_dirty.h"

#define PAGE 4096u

static bool dirty(const uint8_t *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry;

	assert_int_equal(pread(fd, &entry, sizeof(entry),
			       (off_t)((uintptr_t)p / PAGE * sizeof(entry))),
			 sizeof(entry));
	close(fd);
	return entry & SOFT_DIRTY_ENTRY;
}

static void test_soft_dirty_is_what_was_written_since(void **state)
{
	uint8_t *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool able;

	(void)state;
	p[0] = p[PAGE] = 1;
	able = soft_dirty_clear();
	assert_false(dirty(p));
	assert_false(dirty(p + PAGE));
	/* By the kernel, too; and one that was not there. */
	assert_int_equal(getentropy(p + PAGE, 16), 0);
	p[2 * PAGE] = 1;
	assert_int_equal(dirty(p + PAGE), able);
	assert_int_equal(dirty(p + 2 * PAGE), able);
	assert_false(dirty(p));
	assert_int_equal(soft_dirty_clear(), able);
	assert_false(dirty(p + PAGE));
	munmap(p, 3 * PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_soft_dirty_is_what_was_written_since),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
