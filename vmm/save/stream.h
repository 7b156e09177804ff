/* SPDX-License-Identifier: MIT */
/*
 * A VM as a stream, which is written and read once, from front to end: a header, a
 * state file (save/state_file.h), then RAM, chunk by chunk, pages of zeros left
 * out. Every byte is under a CRC32C. docs/SNAPSHOT.md has the format. One thread.
 */
#ifndef MOTE_SAVE_STREAM_H
#define MOTE_SAVE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "save/channel.h"

#define STREAM_VERSION 1

struct stream_header {
	bool running;		/* the VM ran until it was written */
	bool shared;		/* RAM, but not what was added to it, is in a
				 * file of its own, not in here */
	uint64_t state_bytes;	/* at most STATE_MAX_BYTES */
};

/* A part of the memory; whole pages. */
struct stream_part {
	uint8_t *host;
	uint64_t len_bytes;
	/* To be read into: what is not in the stream is zeros already. */
	bool zeros;
	/* Not in the stream, and not touched. */
	bool elsewhere;
};

/* Told now and then: bytes of RAM that are done, and of the stream for them. */
typedef void (*stream_progress)(void *opaque, uint64_t ram_bytes,
				uint64_t sent_bytes);

/* All return 0 or what the channel says. */
int stream_write_header(struct channel *c, const struct stream_header *h,
			const uint8_t *state);
/*
 * check() is asked before the end, without which it is no stream: 0, or -errno:
 * what was read is not the memory.
 */
int stream_write_memory(struct channel *c, const struct stream_part *parts,
			size_t count, stream_progress progress,
			int (*check)(void *opaque), void *opaque);

/*
 * What is wrong is class InvalidConfig and names the section; *e is set whenever
 * these fail other than by what the channel says (-EBADMSG: it is set).
 */
int stream_read_header(struct channel *c, struct stream_header *h,
		       uint8_t **state, struct error *e);
int stream_read_memory(struct channel *c, const struct stream_part *parts,
		       size_t count, stream_progress progress, void *opaque,
		       struct error *e);

#endif
