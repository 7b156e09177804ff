/* SPDX-License-Identifier: MIT */
/* Pages of the guest's memory, as it is moved. Any thread. */
#ifndef MOTE_SAVE_PAGE_H
#define MOTE_SAVE_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_BYTES 4096u

/* page: aligned to eight bytes. */
static inline bool page_is_zero(const uint8_t *page)
{
	const uint64_t *w = (const uint64_t *)page;

	for (size_t i = 0; i < PAGE_BYTES / 8; i += 8)
		if (w[i] | w[i + 1] | w[i + 2] | w[i + 3] | w[i + 4] |
		    w[i + 5] | w[i + 6] | w[i + 7])
			return false;
	return true;
}

#endif
