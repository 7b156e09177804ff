/* SPDX-License-Identifier: MIT */
/* Alignment of direct I/O. The engine's loop, or a worker that has the request. */
#include "block/bounce.h"

#include <stdlib.h>
#include <string.h>

/* More than this is not worth the copy, nor the memory that a guest could make
 * us take. */
#define BOUNCE_MAX_BYTES (UINT64_C(1) << 20)

static bool place_aligned(const struct block_file *f,
			  const struct block_request *r)
{
	return !((r->offset | r->len_bytes) & (f->direct_offset_align - 1));
}

bool block_aligned(const struct block_file *f, const struct block_request *r)
{
	if (!place_aligned(f, r))
		return false;
	for (uint32_t i = 0; i < r->iov_count; i++)
		if ((uintptr_t)r->iov[i].iov_base &
			    (f->direct_memory_align - 1) ||
		    r->iov[i].iov_len & (f->direct_offset_align - 1))
			return false;
	return true;
}

void block_bounce(const struct block_file *f, struct block_request *r)
{
	/* posix_memalign() wants a multiple of sizeof(void *). */
	size_t align = f->direct_memory_align < 64 ? 64 :
						     f->direct_memory_align;
	uint8_t *to;

	if (f->direct_fd < 0 || (r->op != BLOCK_READ && r->op != BLOCK_WRITE) ||
	    !place_aligned(f, r) || r->len_bytes > BOUNCE_MAX_BYTES ||
	    block_aligned(f, r) ||
	    posix_memalign(&r->memory, align, r->len_bytes))
		return;
	r->memory_bytes = r->len_bytes;
	to = r->memory;
	for (uint32_t i = 0; r->op == BLOCK_WRITE && i < r->iov_count; i++)
		to = mempcpy(to, r->iov[i].iov_base, r->iov[i].iov_len);
	r->bounced = r->iov;
	r->bounce = (struct iovec){ r->memory, r->memory_bytes };
	r->iov = &r->bounce;
	r->iov_count = 1;
}

void block_unbounce(struct block_request *r)
{
	bool copy = r->op == BLOCK_READ && !r->result;
	const uint8_t *from, *end;

	if (!r->bounced)
		return;
	from = r->memory;
	end = from + r->memory_bytes;
	for (struct iovec *iov = r->bounced; copy && from < end; iov++) {
		memcpy(iov->iov_base, from, iov->iov_len);
		from += iov->iov_len;
	}
	free(r->memory);
	r->bounced = NULL;
}
