/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a pipe while somebody may ask the whole start to be given up.
 * Main thread.
 */
#ifndef MOTE_BOOT_WAIT_H
#define MOTE_BOOT_WAIT_H

#include <stdbool.h>
#include <stdint.h>

/* Asked about ten times a second; true: give up. NULL: never. */
typedef bool (*cancel_fn)(void);

#define WAIT_FOR_EVER INT64_MAX

/*
 * 0: fd can be read from, or has ended. -ETIMEDOUT after timeout_ms; -ECANCELED;
 * or poll()'s.
 */
int wait_readable(int fd, int64_t timeout_ms, cancel_fn cancelled);

#endif
