/* SPDX-License-Identifier: MIT */
/*
 * Writing and reading RAM, chunk by chunk. chunk_write() and chunk_read() run on
 * threads of their own, each with chunks of its own; the rest on the main one.
 */
#include "save/memory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "save/crc32c.h"
#include "thread.h"

#define MAX_THREADS	8
#define PAGE		MEMORY_PAGE_BYTES

/* /proc/pid/pagemap (admin-guide/mm/pagemap.rst): in RAM, or swapped out. */
#define PAGEMAP_TOUCHED	(3ull << 62)

/* ---- the map -------------------------------------------------------------- */

int memory_map_init(struct memory_map *m, uint64_t len_bytes)
{
	*m = (struct memory_map){
		.len_bytes = len_bytes,
		.chunk_count = (len_bytes + MEMORY_CHUNK_BYTES - 1) /
			       MEMORY_CHUNK_BYTES,
	};
	m->chunks = calloc(m->chunk_count, sizeof(*m->chunks));
	return m->chunks ? 0 : -ENOMEM;
}

void memory_map_deinit(struct memory_map *m)
{
	free(m->chunks);
	*m = (struct memory_map){ 0 };
}

static bool has_page(const struct memory_chunk *c, unsigned int page)
{
	return c->pages[page / 64] >> page % 64 & 1;
}

static unsigned int pages_of(const struct memory_chunk *c)
{
	int n = 0;

	for (size_t i = 0; i < MEMORY_CHUNK_PAGES / 64; i++)
		n += __builtin_popcountll(c->pages[i]);
	return (unsigned int)n;
}

uint64_t memory_map_data_bytes(const struct memory_map *m)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < m->chunk_count; i++)
		pages += pages_of(&m->chunks[i]);
	return pages * PAGE;
}

void memory_map_save(const struct memory_map *m, struct state_writer *w)
{
	uint32_t used = 0;

	for (size_t i = 0; i < m->chunk_count; i++)
		used += pages_of(&m->chunks[i]) > 0;
	state_put_bool(w, m->live);
	state_put_u64(w, m->len_bytes);
	state_put_u32(w, used);
	for (size_t i = 0; i < m->chunk_count; i++) {
		const struct memory_chunk *c = &m->chunks[i];

		if (!pages_of(c))
			continue;
		state_put_u64(w, i);
		state_put_u32(w, c->crc);
		for (size_t k = 0; k < MEMORY_CHUNK_PAGES / 64; k++)
			state_put_u64(w, c->pages[k]);
	}
}

/* Pages of chunk i that are inside the memory. */
static unsigned int chunk_pages(const struct memory_map *m, uint64_t i)
{
	uint64_t left = (m->len_bytes - i * MEMORY_CHUNK_BYTES) / PAGE;

	return left < MEMORY_CHUNK_PAGES ? (unsigned int)left :
					   MEMORY_CHUNK_PAGES;
}

static int load_chunk(struct memory_map *m, uint64_t *next,
		      struct state_reader *r)
{
	uint64_t i = state_get_u64(r);
	struct memory_chunk *c;

	if (state_reader_error(r))
		return state_reader_error(r);
	if (i < *next || i >= m->chunk_count)
		return -EPROTO;
	*next = i + 1;
	c = &m->chunks[i];
	c->crc = state_get_u32(r);
	for (size_t k = 0; k < MEMORY_CHUNK_PAGES / 64; k++)
		c->pages[k] = state_get_u64(r);
	if (!pages_of(c))
		return -EPROTO;
	for (unsigned int p = chunk_pages(m, i); p < MEMORY_CHUNK_PAGES; p++)
		if (has_page(c, p))
			return -EPROTO;
	return state_reader_error(r);
}

int memory_map_load(struct memory_map *m, struct state_reader *r)
{
	bool live = state_get_bool(r);
	uint64_t len = state_get_u64(r), next = 0;
	uint32_t used = state_get_u32(r);
	int ret = state_reader_error(r);

	*m = (struct memory_map){ 0 };
	if (ret)
		return ret;
	/* A chunk table is not larger than one for 64 TiB. */
	if (!len || len % PAGE || len > 64ull << 40 || (live && used))
		return -EPROTO;
	ret = memory_map_init(m, len);
	m->live = live;
	for (uint32_t i = 0; !ret && i < used; i++)
		ret = load_chunk(m, &next, r);
	if (ret)
		memory_map_deinit(m);
	return ret;
}

/* ---- sharing the work out ------------------------------------------------- */

struct job {
	int fd, pagemap_fd;
	const struct memory_part *parts;
	size_t part_count;
	struct memory_map *map;
	int (*work)(struct job *job, uint64_t chunk);
	_Atomic uint64_t next;
	_Atomic int error;	/* the first: -errno */
	_Atomic uint64_t failed_chunk;
};

static void *run(void *opaque)
{
	struct job *job = opaque;

	while (!atomic_load(&job->error)) {
		uint64_t i = atomic_fetch_add(&job->next, 1);
		int ret, none = 0;

		if (i >= job->map->chunk_count)
			break;
		ret = job->work(job, i);
		if (ret && atomic_compare_exchange_strong(&job->error, &none,
							  ret))
			atomic_store(&job->failed_chunk, i);
	}
	return NULL;
}

/* This thread works, too, so that it does not matter if no other can. */
static int share_out(struct job *job)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[MAX_THREADS];
	int count = 0;

	while (count + 1 < cpus && count < MAX_THREADS &&
	       (uint64_t)count + 1 < job->map->chunk_count &&
	       !thread_start(&threads[count], 0, run, job))
		count++;
	run(job);
	while (count > 0)
		pthread_join(threads[--count], NULL);
	return atomic_load(&job->error);
}

static const struct memory_part *part_of(const struct job *job, uint64_t chunk,
					 uint8_t **host)
{
	uint64_t offset = chunk * MEMORY_CHUNK_BYTES;
	const struct memory_part *p = job->parts;

	while (offset >= p->len_bytes) {
		offset -= p->len_bytes;
		p++;
	}
	*host = p->host + offset;
	return p;
}

/* The run of pages from *first on that the chunk has; false: no more. */
static bool next_run(const struct memory_chunk *c, unsigned int *first,
		     unsigned int *count)
{
	unsigned int p = *first;

	while (p < MEMORY_CHUNK_PAGES && !has_page(c, p))
		p++;
	*first = p;
	while (p < MEMORY_CHUNK_PAGES && has_page(c, p))
		p++;
	*count = p - *first;
	return *count > 0;
}

/* ---- writing -------------------------------------------------------------- */

static bool is_zero(const uint8_t *page)
{
	const uint64_t *w = (const uint64_t *)page;

	for (size_t i = 0; i < PAGE / 8; i += 8)
		if (w[i] | w[i + 1] | w[i + 2] | w[i + 3] | w[i + 4] |
		    w[i + 5] | w[i + 6] | w[i + 7])
			return false;
	return true;
}

/* To look at a page that nobody has touched would only cost page tables. */
static void read_pagemap(const struct job *job, const uint8_t *host,
			 uint64_t *entries, unsigned int count)
{
	off_t at = (off_t)((uintptr_t)host / PAGE * sizeof(*entries));
	size_t len = count * sizeof(*entries);

	if (job->pagemap_fd < 0 ||
	    pread(job->pagemap_fd, entries, len, at) != (ssize_t)len)
		memset(entries, 0xff, len);
}

static void find_pages(const struct job *job, uint64_t chunk)
{
	struct memory_chunk *c = &job->map->chunks[chunk];
	unsigned int count = chunk_pages(job->map, chunk);
	uint64_t entries[MEMORY_CHUNK_PAGES];
	uint8_t *host;
	const struct memory_part *part = part_of(job, chunk, &host);

	if (part->anonymous)
		read_pagemap(job, host, entries, count);
	for (unsigned int p = 0; p < count; p++) {
		if (part->anonymous && !(entries[p] & PAGEMAP_TOUCHED))
			continue;
		if (!is_zero(host + (size_t)p * PAGE))
			c->pages[p / 64] |= 1ull << p % 64;
	}
}

static int write_all(int fd, const uint8_t *data, size_t len, off_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, data, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int chunk_write(struct job *job, uint64_t chunk)
{
	struct memory_chunk *c = &job->map->chunks[chunk];
	unsigned int first = 0, count;
	uint8_t *host;

	find_pages(job, chunk);
	part_of(job, chunk, &host);
	for (; next_run(c, &first, &count); first += count) {
		size_t start = (size_t)first * PAGE, len = (size_t)count * PAGE;
		int ret = write_all(job->fd, host + start, len,
				    (off_t)(chunk * MEMORY_CHUNK_BYTES + start));

		if (ret)
			return ret;
		c->crc = crc32c(c->crc, host + start, len);
	}
	return 0;
}

int memory_file_write(int fd, const struct memory_part *parts, size_t count,
		      struct memory_map *m, struct error *e)
{
	struct job job = {
		.fd = fd, .parts = parts, .part_count = count, .map = m,
		.work = chunk_write,
	};
	int ret;

	if (ftruncate(fd, (off_t)m->len_bytes))
		return error_errno(e, -errno, "memory");
	job.pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ret = share_out(&job);
	if (job.pagemap_fd >= 0)
		close(job.pagemap_fd);
	return ret ? error_errno(e, ret, "memory") : 0;
}

/* ---- reading -------------------------------------------------------------- */

static int read_all(int fd, uint8_t *data, size_t len, off_t at)
{
	while (len) {
		ssize_t n = pread(fd, data, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENODATA;
		data += n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/*
 * What the map has not must be a hole, or zeros in a copy of the file that lost
 * its holes: else the file is not the one that was saved.
 */
static int check_hole(int fd, off_t at, off_t end)
{
	uint64_t page[PAGE / 8];

	while (at < end) {
		off_t data = lseek(fd, at, SEEK_DATA);
		int ret;

		/* -ENXIO: none up to the end of the file. Elsewhere it may not
		 * be known. */
		if (data < 0 && errno == ENXIO)
			return 0;
		if (data > at)
			at = data / PAGE * PAGE;
		if (at >= end)
			return 0;
		ret = read_all(fd, (uint8_t *)page, PAGE, at);
		if (ret)
			return ret;
		if (!is_zero((const uint8_t *)page))
			return -EBADMSG;
		at += PAGE;
	}
	return 0;
}

static int check_holes(const struct job *job, uint64_t chunk)
{
	const struct memory_chunk *c = &job->map->chunks[chunk];
	off_t base = (off_t)(chunk * MEMORY_CHUNK_BYTES);
	unsigned int count = chunk_pages(job->map, chunk), p = 0;
	int ret = 0;

	while (!ret && p < count) {
		unsigned int start = p;

		while (p < count && !has_page(c, p))
			p++;
		ret = check_hole(job->fd, base + (off_t)start * PAGE,
				 base + (off_t)p * PAGE);
		while (p < count && has_page(c, p))
			p++;
	}
	return ret;
}

static int chunk_read(struct job *job, uint64_t chunk)
{
	const struct memory_chunk *c = &job->map->chunks[chunk];
	unsigned int first = 0, count;
	uint32_t crc = 0;
	uint8_t *host;

	part_of(job, chunk, &host);
	if (job->map->live)
		return read_all(job->fd, host,
				(size_t)chunk_pages(job->map, chunk) * PAGE,
				(off_t)(chunk * MEMORY_CHUNK_BYTES));
	for (; next_run(c, &first, &count); first += count) {
		size_t start = (size_t)first * PAGE, len = (size_t)count * PAGE;
		int ret = read_all(job->fd, host + start, len,
				   (off_t)(chunk * MEMORY_CHUNK_BYTES + start));

		if (ret)
			return ret;
		crc = crc32c(crc, host + start, len);
	}
	return crc == c->crc ? check_holes(job, chunk) : -EBADMSG;
}

int memory_file_read(int fd, const struct memory_part *parts, size_t count,
		     const struct memory_map *m, struct error *e)
{
	struct job job = {
		.fd = fd, .parts = parts, .part_count = count,
		.map = (struct memory_map *)m, .work = chunk_read,
	};
	int ret = share_out(&job);
	unsigned long long at = atomic_load(&job.failed_chunk) *
				MEMORY_CHUNK_BYTES;

	if (ret == -EBADMSG)
		return error_config(e, ret, "section 'memory': wrong checksum "
				    "of the 2 MiB at %#llx: the memory file is "
				    "damaged", at);
	if (ret == -ENODATA)
		return error_config(e, ret, "section 'memory': the memory file "
				    "ends before %#llx", at);
	return ret ? error_errno(e, ret, "section 'memory'") : 0;
}
