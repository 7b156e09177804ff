/* SPDX-License-Identifier: MIT */
/* Keeping account of changed pages. Threads: see dirty.h. */
#include "dirty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "soft_dirty.h"

#define PAGE GUEST_MEM_LOG_PAGE

/* /proc/pid/pagemap (admin-guide/mm/pagemap.rst) */
#define PAGEMAP_THERE	(3ull << 62)	/* in RAM, or swapped out */
#define PAGEMAP_FILE	(1ull << 61)	/* a file's, or shared */

struct base {
	uint8_t id[DIRTY_ID_BYTES];
	uint64_t *bits;
};

struct dirty {
	struct guest_mem *mem;
	struct kvm_vm *kvm;
	struct guest_mem_log *log;	/* mote's own writes; given to mem when
					 * logging has started */
	size_t log_bytes;
	uint64_t pages;			/* of RAM; the log has more */
	bool logging;
	bool soft;		/* soft-dirty bits tell since the last time */
	uint32_t slots[RAM_MAX_PARTS];	/* where KVM logs */
	size_t slot_count;
	struct base bases[DIRTY_BASES];
	size_t base_count;
};

static uint64_t words(const struct dirty *d)
{
	return (d->pages + 63) / 64;
}

/* vhost may be given more than RAM, persistent memory above all. Of the log only
 * what is written to takes memory. */
#define LOG_LEAST (4ull << 40)

int dirty_create(struct dirty **out, struct guest_mem *mem, struct kvm_vm *kvm,
		 gpa_t ram_end)
{
	struct dirty *d = calloc(1, sizeof(*d));
	uint64_t log_pages;
	void *log;

	if (!d)
		return -ENOMEM;
	log_pages = (ram_end > LOG_LEAST ? ram_end : LOG_LEAST) / PAGE;
	d->mem = mem;
	d->kvm = kvm;
	d->pages = ram_end / PAGE;
	d->log_bytes = sizeof(*d->log) + log_pages / 8;
	log = mmap(NULL, d->log_bytes, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (log == MAP_FAILED) {
		free(d);
		return -ENOMEM;
	}
	madvise(log, d->log_bytes, MADV_DONTDUMP);
	d->log = log;
	d->log->pages = log_pages;
	*out = d;
	return 0;
}

void dirty_destroy(struct dirty *d)
{
	if (!d)
		return;
	guest_mem_set_log(d->mem, NULL);
	while (d->base_count)
		free(d->bases[--d->base_count].bits);
	munmap(d->log, d->log_bytes);
	free(d);
}

int dirty_add_base(struct dirty *d, const uint8_t *id)
{
	uint64_t *bits = calloc(words(d), sizeof(*bits));
	struct base *b;

	if (!bits)
		return -ENOMEM;
	if (d->base_count == DIRTY_BASES) {
		free(d->bases[0].bits);
		memmove(d->bases, d->bases + 1,
			--d->base_count * sizeof(*d->bases));
	}
	b = &d->bases[d->base_count++];
	memcpy(b->id, id, sizeof(b->id));
	b->bits = bits;
	return 0;
}

void dirty_drop_base(struct dirty *d)
{
	free(d->bases[--d->base_count].bits);
}

static void add_word(struct dirty *d, uint64_t word, uint64_t bits)
{
	for (size_t i = 0; bits && i < d->base_count; i++)
		d->bases[i].bits[word] |= bits;
}

/* ---- before logging -------------------------------------------------------- */

/* Pages that are no longer a file's, or, soft, have been written to. */
static bool read_pagemap(struct dirty *d, int fd, const struct ram_part *part,
			 bool soft)
{
	uint64_t entries[512], first = part->base / PAGE;
	uint64_t count = part->len_bytes / PAGE;

	for (uint64_t p = 0; p < count; p += 512) {
		size_t n = count - p < 512 ? count - p : 512;
		off_t at = (off_t)(((uintptr_t)part->host / PAGE + p) *
				   sizeof(*entries));

		if (pread(fd, entries, n * sizeof(*entries), at) !=
		    (ssize_t)(n * sizeof(*entries)))
			return false;
		for (size_t i = 0; i < n; i++)
			if (soft ? entries[i] & SOFT_DIRTY_ENTRY :
				   entries[i] & PAGEMAP_THERE &&
					   !(entries[i] & PAGEMAP_FILE))
				add_word(d, (first + p + i) / 64,
					 1ull << (first + p + i) % 64);
	}
	return true;
}

/* Where that cannot be read, all may have changed. */
static void collect_unlogged(struct dirty *d, const struct ram_part *parts,
			     size_t count)
{
	int fd;

	if (!d->base_count)
		return;
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; i < count; i++)
		if (fd < 0 || !read_pagemap(d, fd, &parts[i], false))
			dirty_note(d, parts[i].base, parts[i].len_bytes);
	if (fd >= 0)
		close(fd);
}

/* Of who writes and does not tell, the host's page tables know. Where they do not,
 * or did not from the start, all may have changed. */
static void collect_silent(struct dirty *d, const struct ram_part *parts,
			   size_t count)
{
	int fd;

	if (!guest_mem_has_silent(d->mem))
		return;
	fd = d->logging ? open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC) : -1;
	for (size_t i = 0; d->logging && i < count; i++)
		if (!d->soft || !parts[i].private || fd < 0 ||
		    !read_pagemap(d, fd, &parts[i], true))
			dirty_note(d, parts[i].base, parts[i].len_bytes);
	if (fd >= 0)
		close(fd);
	d->soft = soft_dirty_clear();
}

/* ---- logging --------------------------------------------------------------- */

static int start_slot(struct dirty *d, const struct ram_part *part)
{
	int ret;

	for (size_t i = 0; i < d->slot_count; i++)
		if (d->slots[i] == part->slot)
			return 0;
	ret = kvm_set_memory(d->kvm, part->slot, KVM_MEM_LOG_DIRTY_PAGES,
			     part->base, part->len_bytes, part->host);
	if (!ret)
		d->slots[d->slot_count++] = part->slot;
	return ret;
}

static int collect_slot(struct dirty *d, const struct ram_part *part)
{
	uint64_t count = (part->len_bytes / PAGE + 63) / 64;
	uint64_t first = part->base / PAGE / 64;
	uint64_t *bits = calloc(count, sizeof(*bits));
	int ret = bits ? kvm_get_dirty_log(d->kvm, part->slot, bits) : -ENOMEM;

	for (uint64_t i = 0; !ret && i < count; i++)
		add_word(d, first + i, bits[i]);
	free(bits);
	return ret;
}

/* Memory that has come since the logs were started: all of it is new. */
static bool is_logged(const struct dirty *d, uint32_t slot)
{
	for (size_t i = 0; i < d->slot_count; i++)
		if (d->slots[i] == slot)
			return true;
	return false;
}

static void collect_own(struct dirty *d)
{
	for (uint64_t i = 0; i < words(d); i++)
		if (atomic_load_explicit(&d->log->bits[i],
					 memory_order_relaxed))
			add_word(d, i, atomic_exchange(&d->log->bits[i], 0));
}

int dirty_collect(struct dirty *d, const struct ram_part *parts, size_t count)
{
	int ret = 0;

	if (!d->logging)
		collect_unlogged(d, parts, count);
	collect_silent(d, parts, count);
	collect_own(d);
	for (size_t i = 0; !ret && i < count; i++) {
		bool logged = is_logged(d, parts[i].slot);

		ret = logged ? collect_slot(d, &parts[i]) :
			       start_slot(d, &parts[i]);
		if (!ret && !logged && d->logging)
			dirty_note(d, parts[i].base, parts[i].len_bytes);
	}
	if (ret)
		return ret;
	if (!d->logging)
		guest_mem_set_log(d->mem, d->log);
	d->logging = true;
	collect_own(d);
	return 0;
}

int dirty_since(const struct dirty *d, const uint8_t *id, uint64_t **bits)
{
	size_t len = words(d) * sizeof(**bits);

	for (size_t i = d->base_count; i-- > 0;) {
		if (memcmp(d->bases[i].id, id, DIRTY_ID_BYTES))
			continue;
		*bits = malloc(len);
		if (!*bits)
			return -ENOMEM;
		memcpy(*bits, d->bases[i].bits, len);
		return 0;
	}
	return -ENOENT;
}

void dirty_forget(struct dirty *d, uint32_t slot)
{
	for (size_t i = 0; i < d->slot_count; i++)
		if (d->slots[i] == slot)
			d->slots[i--] = d->slots[--d->slot_count];
}

void dirty_note(struct dirty *d, gpa_t gpa, uint64_t len_bytes)
{
	uint64_t end = d->pages * PAGE;

	if (gpa < end)
		guest_mem_log_note(d->log, gpa, len_bytes < end - gpa ?
						len_bytes : end - gpa);
}
