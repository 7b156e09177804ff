/* SPDX-License-Identifier: MIT */
/*
 * A saved VM's memory, page by page: which of the files that are laid one over the
 * other has it. Read by any number of threads; made and destroyed by one.
 */
#ifndef MOTE_SAVE_PAGE_SOURCE_H
#define MOTE_SAVE_PAGE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "save/memory_file.h"

struct page_source;

/* Keeps nothing of what it is given. Only the lowest layer may be a template's.
 * pages: of the memory, at least as many as of the layers. */
int page_source_create(struct page_source **out,
		       const struct memory_layer *layers, size_t layer_count,
		       uint64_t pages, struct error *e);
void page_source_destroy(struct page_source *s);

uint64_t page_source_pages(const struct page_source *s);
/* It is all zeros, in no file; page: below page_source_pages(). */
bool page_source_is_zero(const struct page_source *s, uint64_t page);
/* Another one's content into buf, MEMORY_PAGE_BYTES. -errno, -ENODATA: the file
 * has become shorter. */
int page_source_read(const struct page_source *s, uint64_t page, void *buf);

#endif
