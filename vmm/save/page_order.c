/* SPDX-License-Identifier: MIT */
/* The file of pages that were wanted first. docs/SNAPSHOT.md has the format. */
#include "save/page_order.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "save/crc32c.h"
#include "state.h"

#define HEADER_BYTES	28

static const uint8_t magic[8] = { 'M', 'O', 'T', 'E', 'P', 'A', 'G', 'E' };

static int decode(const uint8_t *data, size_t len, const uint8_t *id,
		  uint32_t **pages, size_t *count)
{
	uint8_t start[sizeof(magic)], of[PAGE_ORDER_ID_BYTES];
	struct state_reader r;
	uint32_t n;

	state_reader_init(&r, data, len);
	state_get_bytes(&r, start, sizeof(start));
	state_get_bytes(&r, of, sizeof(of));
	n = state_get_u32(&r);
	if (state_reader_error(&r) || memcmp(start, magic, sizeof(magic)) ||
	    memcmp(of, id, sizeof(of)) || !n || n > PAGE_ORDER_MAX ||
	    len != HEADER_BYTES + n * 4ul + 4)
		return -EBADMSG;
	*pages = malloc(n * sizeof(**pages));
	if (!*pages)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		(*pages)[i] = state_get_u32(&r);
	*count = n;
	if (state_get_u32(&r) == crc32c(0, data, len - 4))
		return 0;
	free(*pages);
	return -EBADMSG;
}

int page_order_read(const char *path, const uint8_t *id, uint32_t **pages,
		    size_t *count)
{
	const size_t most = HEADER_BYTES + PAGE_ORDER_MAX * 4 + 4;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), ret;
	uint8_t *data;
	ssize_t n;

	if (fd < 0)
		return -errno;
	data = malloc(most + 1);
	n = data ? read(fd, data, most + 1) : -1;
	ret = !data ? -ENOMEM : n < 0 ? -errno :
	      decode(data, (size_t)n, id, pages, count);
	free(data);
	close(fd);
	return ret;
}

static int encode(struct state_writer *w, const uint8_t *id,
		  const uint32_t *pages, size_t count)
{
	state_put_bytes(w, magic, sizeof(magic));
	state_put_bytes(w, id, PAGE_ORDER_ID_BYTES);
	state_put_u32(w, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		state_put_u32(w, pages[i]);
	state_put_u32(w, crc32c(0, w->data, w->len_bytes));
	return w->error;
}

/* Whole or not at all, and the first of several clones counts. */
int page_order_write(const char *path, const uint8_t *id,
		     const uint32_t *pages, size_t count)
{
	struct state_writer w = STATE_WRITER_INIT;
	char temporary[PATH_MAX];
	int ret = encode(&w, id, pages, count), fd = -1;

	if (!ret && snprintf(temporary, sizeof(temporary), "%s.%d", path,
			     getpid()) >= (int)sizeof(temporary))
		ret = -ENAMETOOLONG;
	if (!ret) {
		fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
			  0600);
		ret = fd < 0 ? -errno : 0;
	}
	if (!ret && write(fd, w.data, w.len_bytes) != (ssize_t)w.len_bytes)
		ret = -EIO;
	if (!ret && link(temporary, path))
		ret = -errno;
	if (fd >= 0) {
		close(fd);
		unlink(temporary);
	}
	state_writer_deinit(&w);
	return ret;
}
