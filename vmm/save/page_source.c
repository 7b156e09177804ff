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

struct page_source {
	uint64_t pages;
	size_t file_count;
	int *files;
	uint8_t *file_of;	/* of each page: an index, or NO_FILE */
};

static void lay(struct page_source *s, const struct memory_map *m, uint8_t file)
{
	uint64_t pages = m->len_bytes / MEMORY_PAGE_BYTES;

	if (m->kind == MEMORY_LIVE) {
		memset(s->file_of, file, pages < s->pages ? pages : s->pages);
		return;
	}
	for (uint64_t i = 0; i < pages && i < s->pages; i++) {
		const struct memory_chunk *c =
			&m->chunks[i / MEMORY_CHUNK_PAGES];
		unsigned int p = i % MEMORY_CHUNK_PAGES;

		/* Most chunks of a large guest are empty. */
		if (!p && memory_chunk_empty(c)) {
			i += MEMORY_CHUNK_PAGES - 1;
			continue;
		}
		if (memory_chunk_has(c->pages, p))
			s->file_of[i] = file;
		else if (memory_chunk_has(c->zeros, p))
			s->file_of[i] = NO_FILE;
	}
}

int page_source_create(struct page_source **out,
		       const struct memory_layer *layers, size_t layer_count,
		       uint64_t pages, struct error *e)
{
	struct page_source *s = calloc(1, sizeof(*s));

	if (!s || layer_count >= NO_FILE)
		goto err;
	s->pages = pages;
	s->files = malloc(layer_count * sizeof(*s->files));
	s->file_of = malloc(pages);
	if (!s->files || !s->file_of)
		goto err;
	memset(s->file_of, NO_FILE, pages);
	for (size_t i = 0; i < layer_count; i++) {
		int fd = fcntl(layers[i].fd, F_DUPFD_CLOEXEC, 3);

		if (fd < 0) {
			page_source_destroy(s);
			return error_errno(e, -errno, "%s", layers[i].name);
		}
		s->files[s->file_count++] = fd;
		lay(s, layers[i].map, (uint8_t)i);
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
	free(s->file_of);
	free(s);
}

uint64_t page_source_pages(const struct page_source *s)
{
	return s->pages;
}

bool page_source_is_zero(const struct page_source *s, uint64_t page)
{
	return s->file_of[page] == NO_FILE;
}

int page_source_read(const struct page_source *s, uint64_t page, void *buf)
{
	return memory_read_all(s->files[s->file_of[page]], buf,
			       MEMORY_PAGE_BYTES, page * MEMORY_PAGE_BYTES);
}
