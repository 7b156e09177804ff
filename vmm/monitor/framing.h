/* SPDX-License-Identifier: MIT */
/*
 * Splits a stream of bytes into JSON messages, however they are cut up or
 * joined, with any white space between them. What a peer sends is hostile:
 * length and depth are bounded, and after bad input the stream is picked up
 * again where the next message can start. The thread of its owner.
 */
#ifndef MOTE_MONITOR_FRAMING_H
#define MOTE_MONITOR_FRAMING_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define FRAMER_MAX_BYTES	((size_t)1 << 20)
#define FRAMER_MAX_DEPTH	64

enum framer_mode {
	FRAMER_READ,
	FRAMER_SKIP_MESSAGE,	/* to the end of the outermost bracket */
	FRAMER_SKIP_LINE,	/* to the next line feed */
	FRAMER_SKIP_GARBAGE,	/* between messages: to a line feed or { */
};

struct framer {
	struct json_tokener *tokener;
	enum framer_mode mode;
	char *buf;		/* the message so far */
	size_t len, size;
	size_t depth;		/* 0: between messages */
	uint64_t braces;	/* bit n: the bracket at depth n is a { */
	char quote;		/* in a string that began with it; 0: not */
	bool escape;		/* after a backslash in a string */
	size_t members;		/* of the message's objects, by their colons */
};

enum framer_result {
	FRAMER_MORE,		/* all bytes taken, no message ended */
	FRAMER_MESSAGE,		/* *message is set: json_object_put() */
	FRAMER_ERROR,		/* *e says what was wrong; go on */
};

int framer_init(struct framer *f);
void framer_deinit(struct framer *f);

/*
 * Takes bytes up to the end of a message or to the first thing that is wrong;
 * *used says how many. Messages are objects or arrays; as in QMP, strings may
 * also be in single quotes.
 */
enum framer_result framer_feed(struct framer *f, const char *data, size_t len,
			       size_t *used, struct json_object **message,
			       struct error *e);

#endif
