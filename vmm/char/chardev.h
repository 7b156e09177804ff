/* SPDX-License-Identifier: MIT */
/*
 * Character back ends: what is on the host's side of a serial port or a virtio
 * console. stdio, null, file, unix (a listening socket, one client at a time,
 * reconnectable), pty, and connect (to somebody's listening Unix socket).
 *
 * Between front end and back end there are two bounded rings. The front end
 * calls chardev_write() and chardev_read() from any thread; they never block
 * and never call back. All I/O on descriptors and all callbacks happen on the
 * loop's thread (main), without the chardev's lock.
 *
 * Lossless back ends (stdio, file) take less than offered when the ring is
 * full, and output_ready() follows. A socket and a pty always take everything:
 * with nobody there, or with somebody who does not read, the oldest bytes are
 * dropped, counted; whoever connects sees what is in the ring. What can never
 * be written (stdout's reader has gone, a full disk) is dropped and counted.
 *
 * Small writes are held back for a millisecond so that a guest that prints byte
 * by byte costs one write(2) a batch.
 *
 * stdio: a terminal is put into raw mode (input and output: the guest's own
 * line discipline does the processing) while mote is its foreground process
 * group, and only there Ctrl-a is an escape key; one that is followed by a key
 * without a meaning is sent with it. Input that is no terminal is passed as it
 * is, and its end ends nothing else. file: created or truncated, then appended
 * to; output only. unix: one client at a time, others are closed at once.
 *
 * Writing to a pipe whose reader has gone raises SIGPIPE: the process must
 * ignore that signal.
 */
#ifndef MOTE_CHARDEV_H
#define MOTE_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "error.h"
#include "loop.h"

#define CHARDEV_OUTPUT_BYTES	(64u << 10)
#define CHARDEV_INPUT_BYTES	(128u << 10)

struct chardev;

enum chardev_key {
	CHARDEV_KEY_QUIT,	/* Ctrl-a x */
	CHARDEV_KEY_STATUS,	/* Ctrl-a s */
};

/* The front end; any member may be NULL. Loop's thread. */
struct chardev_client {
	void (*input_ready)(void *opaque);	/* chardev_read() has bytes */
	void (*output_ready)(void *opaque);	/* room after a short write */
	void (*break_received)(void *opaque);	/* Ctrl-a b */
	void (*resized)(void *opaque, uint16_t columns, uint16_t rows);
	void (*connected)(void *opaque, bool on); /* unix, pty, connect */
};

/* key_fn: the keys that concern the VM, only for stdio; may be NULL. */
int chardev_create(struct chardev **out, const struct config_char *c,
		   struct loop *loop,
		   void (*key_fn)(void *opaque, enum chardev_key key),
		   void *key_opaque, struct error *e);
/*
 * Writes out what is in the ring (bounded: gives up after a second without
 * progress), restores the terminal, removes the socket it made.
 */
void chardev_destroy(struct chardev *c);

/*
 * Before the VM runs, or with client NULL to detach, in the loop's thread.
 * Client and opaque live until the chardev is destroyed or they are detached.
 */
void chardev_set_client(struct chardev *c, const struct chardev_client *client,
			void *opaque);

/*
 * For a stream that must not have holes: who is connected and does not read
 * makes writes short; nobody's output is dropped at once, and of what one client
 * has not read the next one gets nothing. For front ends that can wait.
 */
void chardev_set_lossless(struct chardev *c, bool on);
/* Somebody is on the other side, or there always is. Any thread. */
bool chardev_is_open(struct chardev *c);

/* Returns the bytes taken, 0 … len. */
size_t chardev_write(struct chardev *c, const uint8_t *data, size_t len);
/* Returns the bytes given, 0 … len; makes room for more input. */
size_t chardev_read(struct chardev *c, uint8_t *data, size_t len);
/* Writes out what is in the ring, bounded as in chardev_destroy(). Loop's
 * thread; no callbacks. */
void chardev_flush(struct chardev *c);
/* Columns and rows of the terminal, 0 × 0 when it is none. */
void chardev_size(struct chardev *c, uint16_t *columns, uint16_t *rows);
uint64_t chardev_dropped_bytes(struct chardev *c);
/* "stdio", "pty:/dev/pts/3", "unix:/path", "connect:/path": for query-chardev and messages. */
const char *chardev_label(const struct chardev *c);

/*
 * For SIGWINCH and SIGCONT: takes the terminal up again where it is ours, and
 * calls resized() when its size is another. Loop's thread.
 */
void chardev_update_size(struct chardev *c);

/* True while the terminal of stdio is raw: a line printed to it by ourselves
 * needs \r\n. Any thread. */
bool chardev_terminal_is_raw(void);

/*
 * The terminal of stdio goes back to what it was. Async-signal-safe, may be
 * called at any time from anywhere: the handlers of fatal signals use it.
 */
void chardev_restore_terminal(void);

#endif
