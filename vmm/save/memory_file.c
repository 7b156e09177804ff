/* SPDX-License-Identifier: MIT */
/*
 * Writing RAM. chunk_write() runs on threads of its own, the rest on the
 * caller's.
 */
#include "save/memory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "save/memory_internal.h"

/* /proc/pid/pagemap (admin-guide/mm/pagemap.rst): in RAM, or swapped out. */
#define PAGEMAP_TOUCHED	(3ull << 62)

struct writing {
	struct memory_job job;
	int fd, pagemap_fd;
	const struct memory_part *parts;
	size_t part_count;
	struct memory_map *map;
};

uint64_t memory_file_bytes(const struct memory_part *parts, size_t count)
{
	uint64_t end = 0;

	for (size_t i = 0; i < count; i++)
		if (parts[i].offset + parts[i].len_bytes > end)
			end = parts[i].offset + parts[i].len_bytes;
	return end;
}

/* To look at a page that nobody has touched would only cost page tables. */
static void read_pagemap(const struct writing *w, const uint8_t *host,
			 uint64_t *entries, unsigned int count)
{
	off_t at = (off_t)((uintptr_t)host / PAGE * sizeof(*entries));
	size_t len = count * sizeof(*entries);

	if (w->pagemap_fd < 0 ||
	    pread(w->pagemap_fd, entries, len, at) != (ssize_t)len)
		memset(entries, 0xff, len);
}

/* Which of the chunk's pages are to be looked at. */
static bool find_changed(const struct memory_part *p, uint64_t offset,
			 unsigned int count, uint64_t *bits)
{
	uint64_t first = offset / PAGE / 64, any = 0;

	memset(bits, 0, MEMORY_CHUNK_WORDS * sizeof(*bits));
	for (unsigned int i = 0; i * 64 < count; i++) {
		uint64_t inside = count - i * 64 < 64 ?
				  (1ull << (count - i * 64)) - 1 : ~0ull;

		bits[i] = inside & (p->changed ? p->changed[first + i] : ~0ull);
		any |= bits[i];
	}
	return any;
}

/* false: there is nothing to look at. */
static bool find_pages(const struct writing *w, struct memory_chunk *c,
		       const struct memory_part *part, uint64_t offset)
{
	uint64_t left = (part->len_bytes - offset) / PAGE;
	unsigned int count = left < MEMORY_CHUNK_PAGES ? (unsigned int)left :
							 MEMORY_CHUNK_PAGES;
	uint64_t entries[MEMORY_CHUNK_PAGES], look[MEMORY_CHUNK_WORDS];
	const uint8_t *host = part->host + offset;

	if (!find_changed(part, offset, count, look))
		return false;
	if (part->anonymous)
		read_pagemap(w, host, entries, count);
	for (unsigned int p = 0; p < count; p++) {
		uint64_t bit = 1ull << p % 64;

		if (!memory_chunk_has(look, p))
			continue;
		if ((!part->anonymous || entries[p] & PAGEMAP_TOUCHED) &&
		    !page_is_zero(host + (size_t)p * PAGE))
			c->pages[p / 64] |= bit;
		else if (w->map->kind == MEMORY_DIFF)
			c->zeros[p / 64] |= bit;
	}
	return true;
}

static int chunk_write(struct memory_job *job, uint64_t chunk)
{
	struct writing *w = (struct writing *)job;
	struct memory_chunk *c = &w->map->chunks[chunk];
	const struct memory_part *part;
	uint64_t offset;

	part = memory_part_at(w->parts, w->part_count, chunk, &offset);
	if (!part || !find_pages(w, c, part, offset))
		return 0;
	return memory_write_chunk(w->fd, c, chunk, part->host + offset);
}

int memory_file_write(int fd, const struct memory_part *parts, size_t count,
		      struct memory_map *m, struct job *j, struct error *e)
{
	struct writing w = {
		.job = { .chunk_count = m->chunk_count, .work = chunk_write,
			 .owner = j },
		.fd = fd, .parts = parts, .part_count = count, .map = m,
	};
	int ret;

	if (memory_file_bytes(parts, count) != m->len_bytes)
		return error_errno(e, -EINVAL, "memory");
	if (ftruncate(fd, (off_t)m->len_bytes))
		return error_errno(e, -errno, "memory");
	w.pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ret = memory_job_run(&w.job);
	if (w.pagemap_fd >= 0)
		close(w.pagemap_fd);
	return ret ? error_errno(e, ret, "memory") : 0;
}
