/* SPDX-License-Identifier: MIT */
/*
 * The escape keys of a terminal: Ctrl-a and a letter. A state machine over the
 * bytes typed; the loop's thread.
 */
#ifndef MOTE_ESCAPE_H
#define MOTE_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum escape_key {
	ESCAPE_NONE,
	ESCAPE_QUIT,
	ESCAPE_BREAK,
	ESCAPE_STATUS,
	ESCAPE_HELP,
};

struct escape {
	bool after_prefix;	/* the last byte was Ctrl-a */
};

/*
 * Takes bytes up to and including the first key, or all. Returns the number
 * taken; out, which has room for 2 × len bytes, gets what the guest shall see
 * before the key, *out_len bytes.
 */
size_t escape_scan(struct escape *s, const uint8_t *in, size_t len,
		   uint8_t *out, size_t *out_len, enum escape_key *key);

/* The list of keys, with lines that end in \r\n. */
extern const char escape_help[];

#endif
