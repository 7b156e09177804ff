/* SPDX-License-Identifier: MIT */
/*
 * Bytes of the guest that the host's socket had no room for: a ring that is
 * allocated when first needed, with one bit a byte for where a message ends.
 * The loop's thread.
 */
#ifndef MOTE_VSOCK_BUFFER_H
#define MOTE_VSOCK_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct vsock_buffer {
	uint8_t *data;		/* size bytes, then a bit for each of them */
	uint32_t size, start, used;
};

/* The caller keeps to it: no more than size bytes are ever in it. */
void vsock_buffer_init(struct vsock_buffer *b, uint32_t size);
void vsock_buffer_deinit(struct vsock_buffer *b);
/*
 * Appends len bytes of iov from byte skip on; end: the last one ends a message.
 * -ENOMEM
 */
int vsock_buffer_put(struct vsock_buffer *b, const struct iovec *iov,
		     unsigned int count, size_t skip, uint32_t len, bool end);
/* The oldest len bytes, as one or two iovecs; returns how many. */
unsigned int vsock_buffer_peek(const struct vsock_buffer *b, uint32_t len,
			       struct iovec iov[2]);
void vsock_buffer_drop(struct vsock_buffer *b, uint32_t len);
/* Bytes of the oldest message, 0 when none is complete. */
uint32_t vsock_buffer_message(const struct vsock_buffer *b);

#endif
