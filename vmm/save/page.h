/* SPDX-License-Identifier: MIT */
/* Pages of the guest's memory, as it is moved, and chunks of them. Any thread. */
#ifndef MOTE_SAVE_PAGE_H
#define MOTE_SAVE_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEMORY_PAGE_BYTES	4096u
#define MEMORY_CHUNK_BYTES	(2u << 20)
#define MEMORY_CHUNK_PAGES	(MEMORY_CHUNK_BYTES / MEMORY_PAGE_BYTES)

/* A bit for each page of a chunk, in so many uint64_t. */
#define MEMORY_CHUNK_WORDS	(MEMORY_CHUNK_PAGES / 64)

/* page: aligned to eight bytes. */
static inline bool page_is_zero(const uint8_t *page)
{
	const uint64_t *w = (const uint64_t *)page;

	for (size_t i = 0; i < MEMORY_PAGE_BYTES / 8; i += 8)
		if (w[i] | w[i + 1] | w[i + 2] | w[i + 3] | w[i + 4] |
		    w[i + 5] | w[i + 6] | w[i + 7])
			return false;
	return true;
}

static inline bool memory_chunk_has(const uint64_t *bits, unsigned int page)
{
	return bits[page / 64] >> page % 64 & 1;
}

/* The run of pages from *first on that are set; false: no more. */
bool memory_next_run(const uint64_t *bits, unsigned int *first,
		     unsigned int *count);

#endif
