/* SPDX-License-Identifier: MIT */
/*
 * Where a stream of bytes goes to or comes from: a file, a command, a Unix
 * socket. It is opened and closed on the main thread, which is never held up;
 * what moves bytes is for one other thread, waits as long as it takes, and gives
 * up when the channel's cancel descriptor becomes readable.
 */
#ifndef MOTE_SAVE_CHANNEL_H
#define MOTE_SAVE_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct channel;

enum channel_direction { CHANNEL_OUT, CHANNEL_IN };

/*
 * file:PATH (what was there is replaced when all is written, save/output.h),
 * exec:COMMAND (its standard input, or output, by way of /bin/sh),
 * unix:PATH (connected to for writing, listened at for reading: one comes). The
 * error names what is wrong with it.
 */
int channel_open(struct channel **out, const char *uri,
		 enum channel_direction direction, struct error *e);
/* Takes fd over, also on failure. */
int channel_from_fd(struct channel **out, int fd, struct error *e);
/* A command is killed with what it has started. NULL is fine. */
void channel_close(struct channel *c);

/* Before the first byte; -1: cannot be cancelled. */
void channel_set_cancel(struct channel *c, int cancel_fd);

/* All of it, or -errno; -ECANCELED */
int channel_write(struct channel *c, const void *data, size_t len_bytes);
/* As many zeros; in a file a hole. */
int channel_skip(struct channel *c, uint64_t len_bytes);
/* Exactly that many; -ENODATA: the stream has ended, -ECANCELED */
int channel_read(struct channel *c, void *data, size_t len_bytes);
/*
 * The end of the stream: what was written is in its place (without this call it
 * never is), the command has ended and says that it is content. ret: what the transfer came to; the reason, also
 * of that, is put into *e.
 */
int channel_finish(struct channel *c, int ret, struct error *e);

#endif
