/* SPDX-License-Identifier: MIT */
/* A byte ring. Whatever thread holds its owner's lock. */
#include "char/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int ring_init(struct ring *r, size_t size_bytes)
{
	*r = (struct ring){ .data = malloc(size_bytes) };
	if (!r->data)
		return -ENOMEM;
	r->size_bytes = size_bytes;
	return 0;
}

void ring_deinit(struct ring *r)
{
	free(r->data);
	*r = (struct ring){ 0 };
}

size_t ring_put(struct ring *r, const uint8_t *data, size_t len)
{
	size_t at, part;

	if (!len)
		return 0;
	if (len > ring_room(r))
		len = ring_room(r);
	at = r->head + r->used;
	if (at >= r->size_bytes)
		at -= r->size_bytes;
	part = r->size_bytes - at;
	if (part > len)
		part = len;
	memcpy(r->data + at, data, part);
	memcpy(r->data, data + part, len - part);
	r->used += len;
	return len;
}

void ring_skip(struct ring *r, size_t len)
{
	if (len > r->used)
		len = r->used;
	r->used -= len;
	r->head += len;
	if (r->head >= r->size_bytes)
		r->head -= r->size_bytes;
	/* Start over, so that light use stays within the first pages. */
	if (!r->used)
		r->head = 0;
}

size_t ring_get(struct ring *r, uint8_t *data, size_t len)
{
	size_t part;

	if (len > r->used)
		len = r->used;
	if (!len)
		return 0;
	part = r->size_bytes - r->head;
	if (part > len)
		part = len;
	memcpy(data, r->data + r->head, part);
	memcpy(data + part, r->data, len - part);
	ring_skip(r, len);
	return len;
}
