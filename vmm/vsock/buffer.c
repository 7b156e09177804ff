/* SPDX-License-Identifier: MIT */
/* The ring between a guest and a slow host program. The loop's thread. */
#include "vsock/buffer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void vsock_buffer_init(struct vsock_buffer *b, uint32_t size)
{
	*b = (struct vsock_buffer){ .size = size };
}

void vsock_buffer_deinit(struct vsock_buffer *b)
{
	free(b->data);
	*b = (struct vsock_buffer){ 0 };
}

static uint8_t *end_bits(const struct vsock_buffer *b, uint32_t at)
{
	return b->data + b->size + at / 8;
}

static void append(struct vsock_buffer *b, const uint8_t *from, size_t len)
{
	uint32_t at = (b->start + b->used) % b->size;
	size_t first = b->size - at < len ? b->size - at : len;

	memcpy(b->data + at, from, first);
	memcpy(b->data, from + first, len - first);
	b->used += (uint32_t)len;
}

int vsock_buffer_put(struct vsock_buffer *b, const struct iovec *iov,
		     unsigned int count, size_t skip, uint32_t len, bool end)
{
	uint32_t last;

	assert(len <= b->size - b->used);
	if (!b->data)
		b->data = calloc(1, b->size + (b->size + 7) / 8);
	if (!b->data)
		return -ENOMEM;
	for (unsigned int i = 0; i < count && len; i++) {
		size_t n = iov[i].iov_len;

		if (skip >= n) {
			skip -= n;
			continue;
		}
		n = n - skip < len ? n - skip : len;
		append(b, (const uint8_t *)iov[i].iov_base + skip, n);
		len -= (uint32_t)n;
		skip = 0;
	}
	if (end && b->used) {
		last = (b->start + b->used - 1) % b->size;
		*end_bits(b, last) |= (uint8_t)(1u << last % 8);
	}
	return 0;
}

unsigned int vsock_buffer_peek(const struct vsock_buffer *b, uint32_t len,
			       struct iovec iov[2])
{
	uint32_t first = b->size - b->start < len ? b->size - b->start : len;

	iov[0] = (struct iovec){ b->data + b->start, first };
	iov[1] = (struct iovec){ b->data, len - first };
	return len > first ? 2 : 1;
}

void vsock_buffer_drop(struct vsock_buffer *b, uint32_t len)
{
	uint32_t last;

	assert(len <= b->used);
	if (!len)
		return;
	/* Only whole messages are dropped, so only their ends have bits. */
	last = (b->start + len - 1) % b->size;
	*end_bits(b, last) &= (uint8_t)~(1u << last % 8);
	b->start = (b->start + len) % b->size;
	b->used -= len;
	if (!b->used)
		b->start = 0;
}

uint32_t vsock_buffer_message(const struct vsock_buffer *b)
{
	uint32_t i = 0;

	while (i < b->used) {
		uint32_t at = (b->start + i) % b->size;

		if (*end_bits(b, at) >> at % 8 & 1)
			return i + 1;
		/* A byte of bits without any: on to the next one. */
		i += at % 8 || *end_bits(b, at) || b->size - at < 8 ? 1 : 8;
	}
	return 0;
}
