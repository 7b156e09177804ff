/* SPDX-License-Identifier: MIT */
/* Typed little-endian fields of saved state. Any thread: no shared data. */
#include "state.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY	256

/* Room for len more bytes, or NULL. */
static uint8_t *grow(struct state_writer *w, size_t len)
{
	size_t need, capacity = w->capacity_bytes;
	uint8_t *data;

	if (w->error)
		return NULL;
	if (__builtin_add_overflow(w->len_bytes, len, &need))
		goto err;
	if (need > capacity) {
		capacity = capacity ? capacity : FIRST_CAPACITY;
		while (capacity < need)
			if (__builtin_mul_overflow(capacity, 2, &capacity))
				goto err;
		data = realloc(w->data, capacity);
		if (!data)
			goto err;
		w->data = data;
		w->capacity_bytes = capacity;
	}
	data = w->data + w->len_bytes;
	w->len_bytes = need;
	return data;

err:
	w->error = -ENOMEM;
	return NULL;
}

static void put_le(struct state_writer *w, uint64_t v, size_t len)
{
	uint8_t *to = grow(w, len);

	v = htole64(v);
	if (to)
		memcpy(to, &v, len);
}

void state_writer_deinit(struct state_writer *w)
{
	free(w->data);
	*w = (struct state_writer)STATE_WRITER_INIT;
}

void state_put_u8(struct state_writer *w, uint8_t v)
{
	put_le(w, v, 1);
}

void state_put_u16(struct state_writer *w, uint16_t v)
{
	put_le(w, v, 2);
}

void state_put_u32(struct state_writer *w, uint32_t v)
{
	put_le(w, v, 4);
}

void state_put_u64(struct state_writer *w, uint64_t v)
{
	put_le(w, v, 8);
}

void state_put_bool(struct state_writer *w, bool v)
{
	put_le(w, v, 1);
}

void state_put_bytes(struct state_writer *w, const void *data, size_t len)
{
	uint8_t *to;

	if (!len)
		return;
	to = grow(w, len);
	if (to)
		memcpy(to, data, len);
}

void state_put_string(struct state_writer *w, const char *s)
{
	size_t len = strlen(s);

	if (len > UINT32_MAX) {
		w->error = -ENOMEM;
		return;
	}
	state_put_u32(w, (uint32_t)len);
	state_put_bytes(w, s, len);
}

void state_reader_init(struct state_reader *r, const void *data, size_t len)
{
	*r = (struct state_reader){ .data = data, .len_bytes = len };
}

static void fail(struct state_reader *r, int error)
{
	if (!r->error)
		r->error = error;
}

/* The next len bytes, or NULL. */
static const uint8_t *take(struct state_reader *r, size_t len)
{
	const uint8_t *from = r->data + r->pos;

	if (r->error)
		return NULL;
	if (len > r->len_bytes - r->pos) {
		fail(r, -ENODATA);
		return NULL;
	}
	r->pos += len;
	return from;
}

static uint64_t get_le(struct state_reader *r, size_t len)
{
	const uint8_t *from = take(r, len);
	uint64_t v = 0;

	if (from)
		memcpy(&v, from, len);
	return le64toh(v);
}

uint8_t state_get_u8(struct state_reader *r)
{
	return (uint8_t)get_le(r, 1);
}

uint16_t state_get_u16(struct state_reader *r)
{
	return (uint16_t)get_le(r, 2);
}

uint32_t state_get_u32(struct state_reader *r)
{
	return (uint32_t)get_le(r, 4);
}

uint64_t state_get_u64(struct state_reader *r)
{
	return get_le(r, 8);
}

bool state_get_bool(struct state_reader *r)
{
	uint64_t v = get_le(r, 1);

	if (v > 1)
		fail(r, -EPROTO);
	return v == 1;
}

void state_get_bytes(struct state_reader *r, void *data, size_t len)
{
	const uint8_t *from;

	if (!len)
		return;
	from = take(r, len);
	if (from)
		memcpy(data, from, len);
	else
		memset(data, 0, len);
}

void state_get_string(struct state_reader *r, char *buf, size_t size)
{
	uint32_t len = state_get_u32(r);
	const uint8_t *from = NULL;

	buf[0] = '\0';
	if (r->error)
		return;
	if (len >= size)
		fail(r, -E2BIG);
	else
		from = take(r, len);
	if (!from)
		return;
	if (memchr(from, 0, len)) {
		fail(r, -EPROTO);
		return;
	}
	memcpy(buf, from, len);
	buf[len] = '\0';
}

int state_reader_error(const struct state_reader *r)
{
	return r->error;
}

int state_reader_finish(const struct state_reader *r)
{
	if (r->error)
		return r->error;
	return r->pos == r->len_bytes ? 0 : -EPROTO;
}
