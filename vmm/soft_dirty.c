/* SPDX-License-Identifier: MIT */
/* Soft-dirty bits. See soft_dirty.h. */
#include "soft_dirty.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u

/* Of the page at p. */
static bool is_dirty(const void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;
	off_t at = (off_t)((uintptr_t)p / PAGE * sizeof(entry));
	bool read = fd >= 0 &&
		    pread(fd, &entry, sizeof(entry), at) == sizeof(entry);

	if (fd >= 0)
		close(fd);
	return read && entry & SOFT_DIRTY_ENTRY;
}

bool soft_dirty_clear(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	volatile uint8_t *probe = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool able = fd >= 0 && probe != MAP_FAILED;

	/* Without the kernel's CONFIG_MEM_SOFT_DIRTY the write has no effect. */
	if (able) {
		*probe = 1;
		able = write(fd, "4", 1) == 1 && !is_dirty((void *)probe);
		*probe = 2;
		able = able && is_dirty((void *)probe);
	}
	if (probe != MAP_FAILED)
		munmap((void *)probe, PAGE);
	if (fd >= 0)
		close(fd);
	return able;
}
