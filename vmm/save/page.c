/* SPDX-License-Identifier: MIT */
/* Runs of pages. Any thread. */
#include "save/page.h"

/* The first page from p on whose bit, after flip, is set. */
static unsigned int next_page(const uint64_t *bits, unsigned int p,
			      uint64_t flip)
{
	for (; p < MEMORY_CHUNK_PAGES; p = (p | 63) + 1) {
		uint64_t rest = (bits[p / 64] ^ flip) >> p % 64;

		if (rest)
			return p + (unsigned int)__builtin_ctzll(rest);
	}
	return MEMORY_CHUNK_PAGES;
}

bool memory_next_run(const uint64_t *bits, unsigned int *first,
		     unsigned int *count)
{
	*first = next_page(bits, *first, 0);
	*count = next_page(bits, *first, ~0ull) - *first;
	return *count > 0;
}
