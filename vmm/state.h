/* SPDX-License-Identifier: MIT */
/*
 * Saved state, field by field: little-endian, no padding, no struct is ever
 * dumped. A writer grows; a reader checks every field against what is left and
 * remembers the first failure, so that a device reads all its fields, asks
 * state_reader_error() once, then checks the values.
 *
 * No thread of its own: a writer or reader belongs to its caller.
 */
#ifndef MOTE_STATE_H
#define MOTE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct state_writer {
	uint8_t *data;		/* malloc()ed */
	size_t len_bytes;
	size_t capacity_bytes;
	int error;		/* 0 or -ENOMEM; then nothing more is added */
};

#define STATE_WRITER_INIT { .data = NULL }

void state_writer_deinit(struct state_writer *w);
void state_put_u8(struct state_writer *w, uint8_t v);
void state_put_u16(struct state_writer *w, uint16_t v);
void state_put_u32(struct state_writer *w, uint32_t v);
void state_put_u64(struct state_writer *w, uint64_t v);
void state_put_bool(struct state_writer *w, bool v);
/* Exactly len bytes; the reader must know how many. */
void state_put_bytes(struct state_writer *w, const void *data, size_t len);
/* Length (u32), then the bytes without a NUL. */
void state_put_string(struct state_writer *w, const char *s);

struct state_reader {
	const uint8_t *data;	/* not owned */
	size_t len_bytes;
	size_t pos;
	int error;		/* 0 or the first failure */
};

void state_reader_init(struct state_reader *r, const void *data, size_t len);
/* All give 0 (or false, "") after a failure. */
uint8_t state_get_u8(struct state_reader *r);
uint16_t state_get_u16(struct state_reader *r);
uint32_t state_get_u32(struct state_reader *r);
uint64_t state_get_u64(struct state_reader *r);
/* -EPROTO unless 0 or 1 */
bool state_get_bool(struct state_reader *r);
void state_get_bytes(struct state_reader *r, void *data, size_t len);
/* Into buf, NUL-terminated. -EPROTO: a NUL inside; -E2BIG: size is too small */
void state_get_string(struct state_reader *r, char *buf, size_t size);
/* 0; -ENODATA: a field went past the end; or what a getter above says. */
int state_reader_error(const struct state_reader *r);
/* As above, and -EPROTO when bytes are left over: the end of a section. */
int state_reader_finish(const struct state_reader *r);

#endif
