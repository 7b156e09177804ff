/* SPDX-License-Identifier: MIT */
/*
 * Threads for the calls that may take long (fsync, reads that the page cache
 * does not have, writes), so that the share's loop never waits for them.
 *
 * Everything here is called on the loop's thread. run() of a job is called on
 * a worker; done() on the loop's thread, or inside p9_pool_drain(). Workers are
 * started when first needed; they share no state but the queue.
 */
#ifndef MOTE_P9_POOL_H
#define MOTE_P9_POOL_H

#include <stdbool.h>

#include "loop.h"

struct p9_pool;

struct p9_job {
	struct p9_job *next;
	void (*run)(struct p9_job *j);
	void (*done)(struct p9_job *j);
};

/* batch_done: after one or more done() calls. -ENOMEM, -EMFILE. */
int p9_pool_create(struct p9_pool **out, struct loop *loop,
		   void (*batch_done)(void *opaque), void *opaque);
/* Drains first. NULL is fine. */
void p9_pool_destroy(struct p9_pool *p);

/* Without any worker, for want of memory, the job is done before it returns. */
void p9_pool_submit(struct p9_pool *p, struct p9_job *j);
/* Takes a job back that no worker has begun; then neither run() nor done() is
 * called. */
bool p9_pool_cancel(struct p9_pool *p, struct p9_job *j);
/* Waits until nothing is queued or running and calls every done(). */
void p9_pool_drain(struct p9_pool *p);

#endif
