/* SPDX-License-Identifier: MIT */
/* Making and mapping guest RAM. Main thread. */
#include "ram.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define HUGE_PAGE (2ull << 20)
#define PIECE (64ull << 20)	/* of what is asked of the kernel at once */

struct ram {
	struct guest_mem *mem;
	int fd;			/* -1: anonymous */
	bool private, users_file, hugetlb;
	bool saved;		/* a saved VM's RAM, until a reset */
	bool mapped;		/* it is anonymous, but such a part of it */
	const char *path;	/* the configuration's */
	unsigned int count;
	struct ram_range ranges[RAM_MAX_RANGES];
	void *host[RAM_MAX_RANGES];	/* NULL: not mapped */
};

static int size_file(int fd, const struct config_memory *c, struct error *e)
{
	if (ftruncate(fd, (off_t)c->size_bytes))
		return error_errno(e, -errno, "--memory: sizing %s",
				   c->path ? c->path : "shared memory");
	return 0;
}

/* path=DIR: an unnamed file in it. */
static int open_in_directory(struct ram *r, const struct config_memory *c,
			     struct error *e)
{
	r->fd = open(c->path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (r->fd < 0)
		return error_errno(e, -errno, "--memory: a file in %s",
				   c->path);
	return size_file(r->fd, c, e);
}

/*
 * path=FILE. share=on may make it and makes it as large as the RAM; without it
 * the file is content to start from, which is never written.
 */
static int open_file(struct ram *r, const struct config_memory *c,
		     struct error *e)
{
	int flags = c->share ? O_RDWR | O_CREAT : O_RDONLY;
	struct stat st;

	r->users_file = true;
	/* A FIFO by mistake must not hang. */
	r->fd = open(c->path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
	if (r->fd < 0)
		return error_errno(e, -errno, "--memory: %s", c->path);
	if (fstat(r->fd, &st))
		return error_errno(e, -errno, "--memory: %s", c->path);
	if (!S_ISREG(st.st_mode))
		return error_config(e, -EINVAL, "--memory: %s is neither a "
				    "directory nor a regular file", c->path);
	if ((uint64_t)st.st_size >= c->size_bytes)
		return 0;
	if (!c->share)
		return error_config(e, -EINVAL, "--memory: %s has %lld bytes, "
				    "fewer than the RAM", c->path,
				    (long long)st.st_size);
	return size_file(r->fd, c, e);
}

static int open_backing(struct ram *r, const struct config_memory *c,
			struct error *e)
{
	unsigned int flags = MFD_CLOEXEC | (c->hugepages ? MFD_HUGETLB : 0u);
	struct stat st;

	if (c->path && !stat(c->path, &st) && S_ISDIR(st.st_mode))
		return open_in_directory(r, c, e);
	if (c->path)
		return open_file(r, c, e);
	if (!c->share)
		return 0;
	r->fd = memfd_create("mote-ram", flags);
	if (r->fd < 0)
		return error_errno(e, -errno, "--memory: shared memory");
	return size_file(r->fd, c, e);
}

/*
 * Huge pages on both sides of the nested page tables need guest and host
 * addresses that agree modulo their size, which mmap() alone does not give: a
 * larger hole is reserved and its ends are given back.
 */
static void *map_aligned(uint64_t len, int flags, int fd, uint64_t offset)
{
	uintptr_t hole, start;
	void *p;

	p = mmap(NULL, len + HUGE_PAGE, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return p;
	hole = (uintptr_t)p;
	start = (hole + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	p = mmap((void *)start, len, PROT_READ | PROT_WRITE, flags | MAP_FIXED,
		 fd, (off_t)offset);
	if (p == MAP_FAILED) {
		int saved = errno;

		munmap((void *)hole, len + HUGE_PAGE);
		errno = saved;
		return MAP_FAILED;
	}
	if (start > hole)
		munmap((void *)hole, start - hole);
	munmap((void *)(start + len), hole + HUGE_PAGE - start);
	return p;
}

/* KVM: -EINVAL for what lies outside its own address width, -ENOMEM for tables
 * as large as eight bytes for each of the guest's pages. */
static int slot_refused(const struct ram *r, unsigned int i, int ret,
			struct error *e)
{
	unsigned long long end = r->ranges[i].base + r->ranges[i].len_bytes;
	unsigned long long mib = r->ranges[i].len_bytes >> 20;

	if (ret == -EINVAL)
		return error_config(e, ret, "--memory: this host's KVM takes "
				    "no guest memory up to address %#llx", end);
	if (ret == -ENOMEM)
		return error_set(e, ret, "--memory: the host has no memory for "
				 "KVM's tables of %llu MiB of RAM", mib);
	return error_errno(e, ret, "--memory: KVM_SET_USER_MEMORY_REGION of "
			   "%llu MiB", mib);
}

static int map_range(struct ram *r, unsigned int i, uint64_t offset,
		     struct error *e)
{
	uint64_t len = r->ranges[i].len_bytes;
	int flags = r->private ? MAP_PRIVATE : MAP_SHARED;
	void *host;
	int ret;

	/* Of huge pages, more than there are is a SIGBUS later on. */
	if (r->private && !r->hugetlb)
		flags |= MAP_NORESERVE;
	if (r->fd < 0)
		flags |= MAP_ANONYMOUS | (r->hugetlb ? MAP_HUGETLB : 0);
	host = map_aligned(len, flags, r->fd, offset);
	if (host == MAP_FAILED && r->hugetlb && errno == ENOMEM)
		return error_set(e, -ENOMEM, "--memory: the host has fewer "
				 "than %llu MiB of free huge pages (see "
				 "/proc/sys/vm/nr_hugepages)",
				 (unsigned long long)(len >> 20));
	if (host == MAP_FAILED)
		return error_errno(e, -errno, "--memory: mapping %llu MiB",
				   (unsigned long long)(len >> 20));
	r->host[i] = host;
	/* A core dump of mote is not a copy of the guest. */
	madvise(host, len, MADV_DONTDUMP);
	/* A boot touches some ten thousand pages: one nested fault for 512 of
	 * them is what most of its time in KVM hangs on. */
	if (r->fd < 0)
		madvise(host, len, MADV_HUGEPAGE);
	if (!r->mem)
		return 0;
	ret = guest_mem_add(r->mem, r->ranges[i].base, len, host);
	return ret ? error_errno(e, ret, "--memory") : 0;
}

int ram_create(struct ram **out, const struct config_memory *c,
	       const struct ram_range *ranges, unsigned int count,
	       struct guest_mem *mem, struct error *e)
{
	struct ram *r = calloc(1, sizeof(*r));
	uint64_t offset = 0;
	struct statfs fs;
	int ret;

	if (!r)
		return error_set(e, -ENOMEM, "out of memory");
	r->mem = mem;
	r->fd = -1;
	r->private = !c->share;
	r->path = c->path;
	r->saved = c->saved;
	r->hugetlb = c->hugepages;
	r->count = count;
	memcpy(r->ranges, ranges, count * sizeof(*ranges));
	ret = open_backing(r, c, e);
	/* path= may be on hugetlbfs. */
	if (!ret && r->fd >= 0 && !fstatfs(r->fd, &fs) &&
	    fs.f_type == HUGETLBFS_MAGIC)
		r->hugetlb = true;
	for (unsigned int i = 0; !ret && i < count; i++) {
		ret = map_range(r, i, offset, e);
		offset += ranges[i].len_bytes;
	}
	if (ret) {
		ram_destroy(r);
		return ret;
	}
	*out = r;
	return 0;
}

static int populate(void *host, uint64_t len)
{
	if (!madvise(host, len, MADV_POPULATE_WRITE))
		return 0;
	if (errno != EINVAL)
		return -errno;
	/* Before Linux 5.14: touch every page. */
	for (volatile uint8_t *p = host, *end = p + len; p < end; p += 4096) {
		uint8_t byte = *p;

		*p = byte;
	}
	return 0;
}

/* In pieces: the kernel goes on with one whatever signals there are. */
int ram_prealloc(struct ram *r, bool (*cancelled)(void), struct error *e)
{
	for (unsigned int i = 0; i < r->count; i++) {
		uint64_t len = r->ranges[i].len_bytes, n;

		for (uint64_t at = 0; at < len; at += n) {
			int ret;

			n = len - at < PIECE ? len - at : PIECE;
			ret = cancelled && cancelled() ? -ECANCELED :
			      populate((uint8_t *)r->host[i] + at, n);
			if (ret)
				return error_errno(e, ret,
						   "--memory: prealloc");
		}
	}
	return 0;
}

int ram_attach(struct ram *r, struct kvm_vm *vm, struct error *e)
{
	for (unsigned int i = 0; i < r->count; i++) {
		int ret = kvm_set_memory(vm, i, 0, r->ranges[i].base,
					 r->ranges[i].len_bytes, r->host[i]);

		if (ret)
			return slot_refused(r, i, ret, e);
	}
	return 0;
}

void ram_destroy(struct ram *r)
{
	if (!r)
		return;
	for (unsigned int i = 0; i < r->count; i++) {
		if (!r->host[i])
			continue;
		if (r->mem)
			guest_mem_remove(r->mem, r->ranges[i].base);
		munmap(r->host[i], r->ranges[i].len_bytes);
	}
	if (r->fd >= 0)
		close(r->fd);
	free(r);
}

uint8_t *ram_host(const struct ram *r, unsigned int i)
{
	return r->host[i];
}

bool ram_is_private(const struct ram *r)
{
	return r->private && !r->hugetlb && !r->users_file;
}

/* The pages of the file would come back, and with them what was in RAM when the
 * VM was saved. Where that fails they do, as they are. */
static void forget_saved(struct ram *r)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
			  MAP_FIXED;

	for (unsigned int i = 0; i < r->count; i++) {
		uint64_t len = r->ranges[i].len_bytes;

		if (mmap(r->host[i], len, PROT_READ | PROT_WRITE, flags, -1,
			 0) == MAP_FAILED)
			madvise(r->host[i], len, MADV_DONTNEED);
		madvise(r->host[i], len, MADV_DONTDUMP);
		madvise(r->host[i], len, MADV_HUGEPAGE);
	}
}

int ram_map_saved(struct ram *r, int fd, uint64_t offset, uint64_t len_bytes,
		  struct error *e)
{
	if (len_bytes > r->ranges[0].len_bytes)
		len_bytes = r->ranges[0].len_bytes;
	if (mmap(r->host[0], len_bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, fd, (off_t)offset) ==
	    MAP_FAILED)
		return error_errno(e, -errno, "mapping %llu MiB",
				   (unsigned long long)(len_bytes >> 20));
	madvise(r->host[0], len_bytes, MADV_DONTDUMP);
	r->mapped = true;
	return 0;
}

void ram_set_filled(struct ram *r)
{
	r->mapped = true;
}

void ram_reset(struct ram *r)
{
	int advice = r->private ? MADV_DONTNEED : MADV_REMOVE;

	if (r->saved || r->mapped) {
		forget_saved(r);
		r->mapped = false;
		return;
	}
	if (r->users_file && !r->private)
		return;
	for (unsigned int i = 0; i < r->count; i++)
		madvise(r->host[i], r->ranges[i].len_bytes, advice);
}

static void discard(const struct ram *r, uintptr_t start, uintptr_t end)
{
	uintptr_t page = r->hugetlb ? HUGE_PAGE : 4096;

	start = (start + page - 1) & ~(page - 1);
	end &= ~(page - 1);
	if (start < end)
		madvise((void *)start, end - start,
			r->private ? MADV_DONTNEED : MADV_REMOVE);
}

bool ram_discard(const struct ram *r, void *host, uint64_t len_bytes)
{
	for (unsigned int i = 0; i < r->count; i++) {
		uintptr_t offset = (uintptr_t)host - (uintptr_t)r->host[i];

		if (offset >= r->ranges[i].len_bytes ||
		    len_bytes > r->ranges[i].len_bytes - offset)
			continue;
		discard(r, (uintptr_t)host, (uintptr_t)host + len_bytes);
		return true;
	}
	return false;
}

unsigned int ram_parts(const struct ram *r, struct ram_part *parts)
{
	for (unsigned int i = 0; i < r->count; i++)
		parts[i] = (struct ram_part){
			.host = r->host[i],
			.len_bytes = r->ranges[i].len_bytes,
			/* What was saved may not have come yet. */
			.anonymous = r->fd < 0 && !r->saved && !r->mapped,
			.base = r->ranges[i].base,
			.slot = i,
			.private = r->private && !r->hugetlb,
		};
	return r->count;
}

const char *ram_shared_file(const struct ram *r)
{
	return r->users_file && !r->private ? r->path : NULL;
}
