/* SPDX-License-Identifier: MIT */
/*
 * A byte ring of fixed size. No locking: its owner has one. The pages of its
 * memory are touched only as far as it was ever filled.
 */
#ifndef MOTE_RING_H
#define MOTE_RING_H

#include <stddef.h>
#include <stdint.h>

struct ring {
	uint8_t *data;
	size_t size_bytes;
	size_t head;		/* the oldest byte */
	size_t used;
};

/* -ENOMEM */
int ring_init(struct ring *r, size_t size_bytes);
void ring_deinit(struct ring *r);

static inline size_t ring_room(const struct ring *r)
{
	return r->size_bytes - r->used;
}

/* Return the bytes moved, at most what fits or is there. */
size_t ring_put(struct ring *r, const uint8_t *data, size_t len);
size_t ring_get(struct ring *r, uint8_t *data, size_t len);
/* Forgets the oldest len bytes, at most all. */
void ring_skip(struct ring *r, size_t len);

#endif
