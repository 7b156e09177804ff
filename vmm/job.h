/* SPDX-License-Identifier: MIT */
/*
 * Something that takes long, on a thread of its own: the main thread starts it,
 * can ask how far it is and cancel it, and is told on its loop when it is over.
 */
#ifndef MOTE_JOB_H
#define MOTE_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "loop.h"

struct job;

struct job_ops {
	/* On the job's thread. -ECANCELED when it saw that it was cancelled. */
	int (*work)(struct job *j, void *opaque, struct error *e);
	/* On the loop, once the thread has ended; it may destroy the job, and e is
	 * there until it returns. */
	void (*done)(void *opaque, int ret, const struct error *e);
	/* On the loop, once a second until then; or NULL. */
	void (*tick)(void *opaque);
};

/* ---- main thread ---------------------------------------------------------- */

/* loop is the main thread's. *out is set when work begins; NULL on failure. */
int job_start(struct job **out, struct loop *loop, const struct job_ops *ops,
	      void *opaque, struct error *e);
/* Tells it, and does not wait. */
void job_cancel(struct job *j);
/* Cancels it and waits; done is not called any more. NULL is fine. */
void job_destroy(struct job *j);

/* Bytes that have been moved so far; any thread. */
uint64_t job_progress(const struct job *j);
/* For how long it has been at it. */
uint64_t job_passed_ms(const struct job *j);

/* ---- the job's thread ----------------------------------------------------- */

bool job_cancelled(const struct job *j);
/* Readable from when it is cancelled on: to be polled along. */
int job_cancel_fd(const struct job *j);
void job_add_progress(struct job *j, uint64_t bytes);

#endif
