/* SPDX-License-Identifier: MIT */
/*
 * How far something is that takes long, as a line on stderr that is written over
 * and over, and is gone at the end: percent, rate, time left. Only on a terminal,
 * and only of what takes longer than a second.
 */
#ifndef MOTE_PROGRESS_H
#define MOTE_PROGRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what;
	uint64_t total;			/* bytes */
	_Atomic uint64_t done;
	uint64_t begun_ns;		/* CLOCK_MONOTONIC */
	_Atomic uint64_t told_ns;	/* the last line; 0: none */
	int fd;				/* -1: nobody looks */
	/* NULL after progress_begin(); else what is done ends soon after this
	 * was true, with -ECANCELED. Any thread. */
	bool (*cancelled)(void);
};

/* what: a few words. One thread. */
void progress_begin(struct progress *p, const char *what, uint64_t total);
/* So much more is done. Any thread; p may be NULL. */
void progress_add(struct progress *p, uint64_t bytes);
/* No other thread adds any more. */
void progress_end(struct progress *p);

/* One line of it, and its end, on a terminal; for who knows the figures already. */
void progress_show(int fd, const char *what, uint64_t done, uint64_t total,
		   uint64_t bytes_per_second);
void progress_hide(int fd);

#endif
