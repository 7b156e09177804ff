/* SPDX-License-Identifier: MIT */
/* Pages of a saved VM's memory. */
#include "save/page_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "save/memory_internal.h"

#define NO_FILE UINT8_MAX

/* Where each of a chunk's pages is: an index, or NO_FILE. */
struct places {
	uint8_t file_of[MEMORY_CHUNK_PAGES];
};

struct page_source {
	uint64_t pages, chunk_count;
	size_t file_count;
	int *files;
	struct places **chunks;	/* NULL: as below them */
	/* A template's RAM has all pages of its own, whatever is in them. */
	uint64_t live_pages;
	uint8_t live_file;
};

static uint8_t place_below(const struct page_source *s, uint64_t page)
{
	return page < s->live_pages ? s->live_file : NO_FILE;
}

static struct places *places_of(struct page_source *s, uint64_t chunk)
{
	uint64_t first = chunk * MEMORY_CHUNK_PAGES;
	uint64_t live = first < s->live_pages ? s->live_pages - first : 0;
	struct places *c = s->chunks[chunk];

	if (c)
		return c;
	c = malloc(sizeof(*c));
	if (!c)
		return NULL;
	memset(c->file_of, NO_FILE, sizeof(c->file_of));
	memset(c->file_of, s->live_file,
	       live < MEMORY_CHUNK_PAGES ? live : MEMORY_CHUNK_PAGES);
	s->chunks[chunk] = c;
	return c;
}

static void put(struct places *c, const uint64_t *bits, uint8_t file)
{
	unsigned int first = 0, count;

	for (; memory_next_run(bits, &first, &count); first += count)
		memset(c->file_of + first, file, count);
}

/* Most chunks of a large guest are empty. */
static int lay(struct page_source *s, const struct memory_map *m, uint8_t file)
{
	if (m->kind == MEMORY_LIVE) {
		s->live_pages = m->len_bytes / MEMORY_PAGE_BYTES;
		s->live_file = file;
		return 0;
	}
	for (uint64_t i = 0; i < m->chunk_count && i < s->chunk_count; i++) {
		struct places *c;

		if (memory_chunk_empty(&m->chunks[i]))
			continue;
		c = places_of(s, i);
		if (!c)
			return -ENOMEM;
		put(c, m->chunks[i].pages, file);
		put(c, m->chunks[i].zeros, NO_FILE);
	}
	return 0;
}

int page_source_create(struct page_source **out,
		       const struct memory_layer *layers, size_t layer_count,
		       uint64_t pages, struct error *e)
{
	struct page_source *s = calloc(1, sizeof(*s));

	if (!s || layer_count >= NO_FILE)
		goto err;
	s->pages = pages;
	s->chunk_count = (pages + MEMORY_CHUNK_PAGES - 1) / MEMORY_CHUNK_PAGES;
	s->files = malloc(layer_count * sizeof(*s->files));
	s->chunks = calloc(s->chunk_count, sizeof(*s->chunks));
	if (!s->files || !s->chunks)
		goto err;
	for (size_t i = 0; i < layer_count; i++) {
		int fd = fcntl(layers[i].fd, F_DUPFD_CLOEXEC, 3);

		if (fd < 0) {
			page_source_destroy(s);
			return error_errno(e, -errno, "%s", layers[i].name);
		}
		s->files[s->file_count++] = fd;
		if (lay(s, layers[i].map, (uint8_t)i))
			goto err;
	}
	*out = s;
	return 0;

err:
	page_source_destroy(s);
	return error_set(e, -ENOMEM, "out of memory");
}

void page_source_destroy(struct page_source *s)
{
	if (!s)
		return;
	while (s->file_count)
		close(s->files[--s->file_count]);
	free(s->files);
	for (uint64_t i = 0; s->chunks && i < s->chunk_count; i++)
		free(s->chunks[i]);
	free(s->chunks);
	free(s);
}

uint64_t page_source_pages(const struct page_source *s)
{
	return s->pages;
}

static uint8_t file_of(const struct page_source *s, uint64_t page)
{
	const struct places *c = s->chunks[page / MEMORY_CHUNK_PAGES];

	return c ? c->file_of[page % MEMORY_CHUNK_PAGES] : place_below(s, page);
}

bool page_source_is_zero(const struct page_source *s, uint64_t page)
{
	return file_of(s, page) == NO_FILE;
}

int page_source_read(const struct page_source *s, uint64_t page, void *buf)
{
	return memory_read_all(s->files[file_of(s, page)], buf,
			       MEMORY_PAGE_BYTES, page * MEMORY_PAGE_BYTES);
}
