/* SPDX-License-Identifier: MIT */
/*
 * Fields of 9P messages, from and to plain memory, and bytes from and to an
 * iovec array. No state; any thread.
 *
 * A reader checks each field against what is left and remembers the first
 * failure, so that a handler reads all its fields and asks for the error once.
 */
#ifndef MOTE_P9_CODEC_H
#define MOTE_P9_CODEC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct p9_qid {
	uint8_t type;		/* P9_QID_* */
	uint32_t version;
	uint64_t path;
};

struct p9_reader {
	const uint8_t *data;	/* not owned, and nobody else writes it */
	size_t len_bytes, pos;
	int error;		/* 0 or the first failure */
};

/* All give 0 (or "") after a failure. -EBADMSG: past the end. */
uint8_t p9_get_u8(struct p9_reader *r);
uint16_t p9_get_u16(struct p9_reader *r);
uint32_t p9_get_u32(struct p9_reader *r);
uint64_t p9_get_u64(struct p9_reader *r);
/* Into buf, NUL-terminated. -ENAMETOOLONG: size is too small; -EINVAL: a NUL
 * inside. */
void p9_get_string(struct p9_reader *r, char *buf, size_t size);

struct p9_writer {
	uint8_t *data;		/* not owned */
	size_t size_bytes, len_bytes;
	int error;		/* 0 or -EMSGSIZE; then nothing more is added */
};

void p9_put_u8(struct p9_writer *w, uint8_t v);
void p9_put_u16(struct p9_writer *w, uint16_t v);
void p9_put_u32(struct p9_writer *w, uint32_t v);
void p9_put_u64(struct p9_writer *w, uint64_t v);
void p9_put_bytes(struct p9_writer *w, const void *data, size_t len);
void p9_put_string(struct p9_writer *w, const char *s);
void p9_put_qid(struct p9_writer *w, const struct p9_qid *q);

/* Copy between buf and an iovec array from a byte offset; the bytes copied. */
size_t p9_iov_read(const struct iovec *iov, size_t count, size_t offset,
		   void *buf, size_t len);
size_t p9_iov_write(const struct iovec *iov, size_t count, size_t offset,
		    const void *buf, size_t len);

/*
 * A part of an iovec array, made in place: the first and the last entry are cut
 * and put back by p9_slice_undo(). One slice of an array at a time.
 */
struct p9_slice {
	struct iovec *iov;
	int count;		/* 0: nothing there */
	size_t len_bytes;
	struct iovec first, last;	/* as they were */
};

/* At most len bytes from offset, as many as there are. */
void p9_slice_make(struct p9_slice *s, struct iovec *iov, size_t count,
		   size_t offset, size_t len);
void p9_slice_undo(struct p9_slice *s);

#endif
