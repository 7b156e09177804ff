/* SPDX-License-Identifier: MIT */
/* 9P fields and iovecs. Any thread. */
#include "p9/codec.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/* len bytes of the message, or NULL behind its end. */
static const uint8_t *take(struct p9_reader *r, size_t len)
{
	const uint8_t *p = r->data + r->pos;

	if (r->error)
		return NULL;
	if (len > r->len_bytes - r->pos) {
		r->error = -EBADMSG;
		return NULL;
	}
	r->pos += len;
	return p;
}

uint8_t p9_get_u8(struct p9_reader *r)
{
	const uint8_t *p = take(r, 1);

	return p ? *p : 0;
}

uint16_t p9_get_u16(struct p9_reader *r)
{
	const uint8_t *p = take(r, 2);
	uint16_t v = 0;

	if (p)
		memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

uint32_t p9_get_u32(struct p9_reader *r)
{
	const uint8_t *p = take(r, 4);
	uint32_t v = 0;

	if (p)
		memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

uint64_t p9_get_u64(struct p9_reader *r)
{
	const uint8_t *p = take(r, 8);
	uint64_t v = 0;

	if (p)
		memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

void p9_get_string(struct p9_reader *r, char *buf, size_t size)
{
	size_t len = p9_get_u16(r);
	const uint8_t *p = take(r, len);

	*buf = '\0';
	if (!p)
		return;
	if (len >= size) {
		r->error = -ENAMETOOLONG;
	} else if (memchr(p, '\0', len)) {
		r->error = -EINVAL;
	} else {
		memcpy(buf, p, len);
		buf[len] = '\0';
	}
}

void p9_put_bytes(struct p9_writer *w, const void *data, size_t len)
{
	if (w->error || len > w->size_bytes - w->len_bytes) {
		w->error = -EMSGSIZE;
		return;
	}
	if (len)
		memcpy(w->data + w->len_bytes, data, len);
	w->len_bytes += len;
}

void p9_put_u8(struct p9_writer *w, uint8_t v)
{
	p9_put_bytes(w, &v, sizeof(v));
}

void p9_put_u16(struct p9_writer *w, uint16_t v)
{
	v = htole16(v);
	p9_put_bytes(w, &v, sizeof(v));
}

void p9_put_u32(struct p9_writer *w, uint32_t v)
{
	v = htole32(v);
	p9_put_bytes(w, &v, sizeof(v));
}

void p9_put_u64(struct p9_writer *w, uint64_t v)
{
	v = htole64(v);
	p9_put_bytes(w, &v, sizeof(v));
}

void p9_put_string(struct p9_writer *w, const char *s)
{
	size_t len = strlen(s);

	if (len > UINT16_MAX) {
		w->error = -EMSGSIZE;
		return;
	}
	p9_put_u16(w, (uint16_t)len);
	p9_put_bytes(w, s, len);
}

void p9_put_qid(struct p9_writer *w, const struct p9_qid *q)
{
	p9_put_u8(w, q->type);
	p9_put_u32(w, q->version);
	p9_put_u64(w, q->path);
}

/* Copies piece by piece; to NULL or from NULL says which way. */
static size_t iov_copy(const struct iovec *iov, size_t count, size_t offset,
		       uint8_t *to, const uint8_t *from, size_t len)
{
	size_t done = 0;

	for (size_t i = 0; i < count && done < len; i++) {
		uint8_t *p = iov[i].iov_base;
		size_t n = iov[i].iov_len;

		if (offset >= n) {
			offset -= n;
			continue;
		}
		n = n - offset < len - done ? n - offset : len - done;
		if (to)
			memcpy(to + done, p + offset, n);
		else
			memcpy(p + offset, from + done, n);
		done += n;
		offset = 0;
	}
	return done;
}

size_t p9_iov_read(const struct iovec *iov, size_t count, size_t offset,
		   void *buf, size_t len)
{
	return iov_copy(iov, count, offset, buf, NULL, len);
}

size_t p9_iov_write(const struct iovec *iov, size_t count, size_t offset,
		    const void *buf, size_t len)
{
	return iov_copy(iov, count, offset, NULL, buf, len);
}

void p9_slice_make(struct p9_slice *s, struct iovec *iov, size_t count,
		   size_t offset, size_t len)
{
	size_t i = 0;

	*s = (struct p9_slice){ 0 };
	for (; i < count && offset >= iov[i].iov_len; i++)
		offset -= iov[i].iov_len;
	if (i == count || !len)
		return;
	s->iov = &iov[i];
	s->first = iov[i];
	iov[i].iov_base = (uint8_t *)iov[i].iov_base + offset;
	iov[i].iov_len -= offset;
	for (; i < count && s->len_bytes < len; i++) {
		s->last = iov[i];
		if (iov[i].iov_len > len - s->len_bytes)
			iov[i].iov_len = len - s->len_bytes;
		s->len_bytes += iov[i].iov_len;
		s->count++;
	}
}

void p9_slice_undo(struct p9_slice *s)
{
	if (!s->count)
		return;
	s->iov[s->count - 1] = s->last;
	s->iov[0] = s->first;
	s->count = 0;
}
