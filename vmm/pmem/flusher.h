/* SPDX-License-Identifier: MIT */
/*
 * Flushes of one region on a thread of its own, which is there from the first
 * one on: a disk that takes its time holds up nobody else. Created and destroyed
 * by the main thread, the rest on the loop's thread.
 */
#ifndef MOTE_PMEM_FLUSHER_H
#define MOTE_PMEM_FLUSHER_H

#include <stdbool.h>

#include "loop.h"

struct pmem_flusher;

/*
 * flush(region) runs on the flusher's thread; done(opaque, its result) on the
 * loop, and may start the next one.
 */
int pmem_flusher_create(struct pmem_flusher **out, struct loop *loop,
			int (*flush)(void *region), void *region,
			void (*done)(void *opaque, int result), void *opaque);
/* None is under way on the loop's side. Waits for flush() to return. */
void pmem_flusher_destroy(struct pmem_flusher *f);

/*
 * Starts a flush of all that has been written by now. One at a time. -errno: it
 * cannot be started; done() is not called then.
 */
int pmem_flusher_start(struct pmem_flusher *f);
bool pmem_flusher_busy(const struct pmem_flusher *f);
/* Waits for the one that is under way and calls done(). */
void pmem_flusher_wait(struct pmem_flusher *f);
/* Lets it end by itself: done() will not be called. */
void pmem_flusher_forget(struct pmem_flusher *f);

#endif
