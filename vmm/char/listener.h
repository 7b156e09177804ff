/* SPDX-License-Identifier: MIT */
/*
 * A listening Unix stream socket and its clients. One made at a path replaces a
 * stale socket there (nobody has it open), a live one is an error, and only the
 * socket made here is removed again. Main thread, which is the loop's; but one that
 * is not started is any thread's, who takes clients from its fd.
 */
#ifndef MOTE_LISTENER_H
#define MOTE_LISTENER_H

#include <sys/types.h>

#include "error.h"
#include "loop.h"

/*
 * A client: fd is non-blocking, close-on-exec and the callee's. Or -errno: none
 * can be taken for now (no descriptors left); it is tried again in a second.
 */
typedef void (*listener_fn)(void *opaque, int fd);

/* Not to be moved between listener_start() and listener_close(). */
struct listener {
	int fd;			/* non-blocking; -1: none */
	char *path;		/* NULL: inherited, nothing to remove */
	dev_t dev;		/* of the socket made at path */
	ino_t ino;
	struct loop *loop;
	struct loop_watch watch;	/* not in the loop while paused */
	struct loop_timer again;
	listener_fn fn;
	void *opaque;
};

#define LISTENER_INIT \
	{ .fd = -1, .watch = LOOP_WATCH_INIT, .again.watch = LOOP_WATCH_INIT }

/* Errors name the path: -EADDRINUSE live, -EEXIST no socket, -ENAMETOOLONG. */
int listener_open(struct listener *l, const char *path, int backlog,
		  struct error *e);
/* Takes over a listening socket that somebody else has made. -errno */
int listener_adopt(struct listener *l, int fd);

/* From now on fn(opaque, …) is called for each client. -errno */
int listener_start(struct listener *l, struct loop *loop, listener_fn fn,
		   void *opaque);
/* Clients wait in the backlog until listener_resume(). */
void listener_pause(struct listener *l);
void listener_resume(struct listener *l);

/* No-op when not open. */
void listener_close(struct listener *l);

#endif
