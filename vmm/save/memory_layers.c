/* SPDX-License-Identifier: MIT */
/*
 * Reading memory files, one over the other. What is given to memory_job_run()
 * runs on threads of its own, the rest on the caller's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "save/crc32c.h"
#include "save/memory_internal.h"

struct reading {
	struct memory_job job;
	const struct memory_layer *layers;
	size_t layer_count;
	enum memory_check check;
	/* Into memory, or into a file. */
	const struct memory_part *parts;
	size_t part_count;
	int out_fd;
	struct memory_map *out;
	_Atomic size_t failed_layer;
};

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
		ret = memory_read_all(fd, (uint8_t *)page, PAGE, (uint64_t)at);
		if (ret)
			return ret;
		if (!page_is_zero((const uint8_t *)page))
			return -EBADMSG;
		at += PAGE;
	}
	return 0;
}

static int check_holes(const struct memory_layer *l, uint64_t chunk)
{
	const struct memory_chunk *c = &l->map->chunks[chunk];
	off_t base = (off_t)(chunk * MEMORY_CHUNK_BYTES);
	unsigned int last = memory_chunk_pages(l->map, chunk);
	unsigned int hole = 0, first = 0, count;
	int ret = 0;

	while (!ret && hole < last) {
		if (!memory_next_run(c->pages, &first, &count))
			first = last;
		ret = check_hole(l->fd, base + (off_t)hole * PAGE,
				 base + (off_t)first * PAGE);
		first += count;
		hole = first;
	}
	return ret;
}

/* Memory that nobody has touched stays so. */
static void clear_pages(const struct memory_chunk *c, uint8_t *host)
{
	unsigned int first = 0, count;

	for (; memory_next_run(c->zeros, &first, &count); first += count)
		for (unsigned int p = first; p < first + count; p++)
			if (!page_is_zero(host + (size_t)p * PAGE))
				memset(host + (size_t)p * PAGE, 0, PAGE);
}

static int read_layer(const struct memory_layer *l, uint64_t chunk,
		      enum memory_check check, uint8_t *host)
{
	const struct memory_chunk *c = &l->map->chunks[chunk];
	unsigned int first = 0, count;
	uint32_t crc = 0;

	if (l->map->kind == MEMORY_LIVE)
		return memory_read_all(l->fd, host, (size_t)PAGE *
				       memory_chunk_pages(l->map, chunk),
				       chunk * MEMORY_CHUNK_BYTES);
	/* As most are, of a diff. */
	if (check == MEMORY_CHECK_PAGES && memory_chunk_empty(c))
		return 0;
	for (; memory_next_run(c->pages, &first, &count); first += count) {
		size_t start = (size_t)first * PAGE, len = (size_t)count * PAGE;
		int ret = memory_read_all(l->fd, host + start, len,
					  chunk * MEMORY_CHUNK_BYTES + start);

		if (ret)
			return ret;
		crc = crc32c(crc, host + start, len);
	}
	if (crc != c->crc)
		return -EBADMSG;
	clear_pages(c, host);
	return check == MEMORY_CHECK_ALL ? check_holes(l, chunk) : 0;
}

static int read_layers(struct reading *r, uint64_t chunk, uint8_t *host)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < r->layer_count; i++) {
		if (chunk >= r->layers[i].map->chunk_count)
			continue;
		ret = read_layer(&r->layers[i], chunk, r->check, host);
		if (ret)
			atomic_store(&r->failed_layer, i);
	}
	return ret;
}

static int failed(const struct reading *r, int ret, struct error *e)
{
	unsigned long long at = atomic_load(&r->job.failed_chunk) *
				MEMORY_CHUNK_BYTES;

	const char *name = r->layers[atomic_load(&r->failed_layer)].name;

	if (ret == -EBADMSG)
		return error_config(e, ret, "%s: section 'memory': wrong "
				    "checksum of the 2 MiB at %#llx: the memory "
				    "file is damaged", name, at);
	if (ret == -ENODATA)
		return error_config(e, ret, "%s: section 'memory': the memory "
				    "file ends before %#llx", name, at);
	return ret ? error_errno(e, ret, "%s: section 'memory'", name) : 0;
}

/* ---- into memory ---------------------------------------------------------- */

static int chunk_read(struct memory_job *job, uint64_t chunk)
{
	struct reading *r = (struct reading *)job;
	uint64_t offset;
	const struct memory_part *p = memory_part_at(r->parts, r->part_count,
						     chunk, &offset);

	return p ? read_layers(r, chunk, p->host + offset) : 0;
}

/* What a map says is there must have a place in its part, whose last chunk may be
 * a short one. Where there is no part was one once. */
static bool fits(const struct memory_map *m, const struct memory_part *parts,
		 size_t count)
{
	for (uint64_t i = 0; i < m->chunk_count; i++) {
		const struct memory_chunk *c = &m->chunks[i];
		const struct memory_part *part;
		unsigned int last = MEMORY_CHUNK_PAGES;
		uint64_t offset, inside;

		if (m->kind == MEMORY_LIVE)
			last = memory_chunk_pages(m, i);
		else if (memory_chunk_empty(c))
			continue;
		part = memory_part_at(parts, count, i, &offset);
		if (!part)
			continue;
		inside = (part->len_bytes - offset) / PAGE;
		for (unsigned int p = last; p-- > inside;)
			if (m->kind == MEMORY_LIVE ||
			    memory_chunk_has(c->pages, p) ||
			    memory_chunk_has(c->zeros, p))
				return false;
	}
	return true;
}

int memory_layers_read(const struct memory_layer *layers, size_t layer_count,
		       const struct memory_part *parts, size_t count,
		       enum memory_check check, struct progress *progress,
		       struct error *e)
{
	struct reading r = {
		.job = { .work = chunk_read, .progress = progress },
		.layers = layers, .layer_count = layer_count,
		.check = check, .parts = parts, .part_count = count,
	};

	for (size_t i = 0; i < layer_count; i++) {
		if (!fits(layers[i].map, parts, count))
			return error_config(e, -EPROTO, "%s: section 'memory': "
					    "not the memory of this VM",
					    layers[i].name);
		if (layers[i].map->chunk_count > r.job.chunk_count)
			r.job.chunk_count = layers[i].map->chunk_count;
	}
	return failed(&r, memory_job_run(&r.job), e);
}

/* ---- into a file ---------------------------------------------------------- */

static int chunk_merge(struct memory_job *job, uint64_t chunk)
{
	struct reading *r = (struct reading *)job;
	struct memory_chunk *c = &r->out->chunks[chunk];
	unsigned int count = memory_chunk_pages(r->out, chunk);
	uint8_t *buf = calloc(1, MEMORY_CHUNK_BYTES);
	int ret;

	if (!buf)
		return -ENOMEM;
	ret = read_layers(r, chunk, buf);
	for (unsigned int p = 0; !ret && p < count; p++)
		if (!page_is_zero(buf + (size_t)p * PAGE))
			c->pages[p / 64] |= 1ull << p % 64;
	if (!ret)
		ret = memory_write_chunk(r->out_fd, c, chunk, buf);
	free(buf);
	return ret;
}

int memory_layers_merge(const struct memory_layer *layers, size_t layer_count,
			int fd, struct memory_map *m,
			struct progress *progress, struct error *e)
{
	struct reading r = {
		.job = { .chunk_count = m->chunk_count, .work = chunk_merge,
			 .progress = progress },
		.layers = layers, .layer_count = layer_count,
		.check = MEMORY_CHECK_ALL, .out_fd = fd, .out = m,
	};

	if (ftruncate(fd, (off_t)m->len_bytes))
		return error_errno(e, -errno, "memory");
	return failed(&r, memory_job_run(&r.job), e);
}
