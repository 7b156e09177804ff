/* SPDX-License-Identifier: MIT */
/* What all network back ends share. Any thread. */
#include "net/net.h"

void net_backend_destroy(struct net_backend *b)
{
	if (b)
		b->ops->destroy(b);
}

unsigned int net_iov_skip(struct iovec *dst, unsigned int max,
			  const struct iovec *src, unsigned int count,
			  size_t skip)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < count && n < max; i++) {
		size_t len = src[i].iov_len;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		dst[n++] = (struct iovec){
			.iov_base = (uint8_t *)src[i].iov_base + skip,
			.iov_len = len - skip,
		};
		skip = 0;
	}
	return n;
}
