/* SPDX-License-Identifier: MIT */
/*
 * The pages that a restored VM wanted first, in that order, beside the save, so
 * that the next one is given them before it asks. Only a hint: what is wrong with
 * it, is no matter. Main thread.
 */
#ifndef MOTE_SAVE_PAGE_ORDER_H
#define MOTE_SAVE_PAGE_ORDER_H

#include <stddef.h>
#include <stdint.h>

#define PAGE_ORDER_MAX		65536u	/* 256 MiB: what follows is no start */
#define PAGE_ORDER_ID_BYTES	16

/*
 * Reads those that were written for the save of this id; malloc()ed. -ENOENT, or
 * -EBADMSG when it is of another save, or damaged.
 */
int page_order_read(const char *path, const uint8_t *id, uint32_t **pages,
		    size_t *count);
/* Unless there is one already. */
int page_order_write(const char *path, const uint8_t *id,
		     const uint32_t *pages, size_t count);

#endif
