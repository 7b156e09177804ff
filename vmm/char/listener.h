/* SPDX-License-Identifier: MIT */
/*
 * A Unix stream socket that is listened on at a path. A stale socket (nobody
 * has it open) is replaced, a live one is an error, and only the socket made
 * here is removed again. Main thread.
 */
#ifndef MOTE_LISTENER_H
#define MOTE_LISTENER_H

#include <sys/types.h>

#include "error.h"

struct listener {
	int fd;			/* non-blocking; -1: none */
	char *path;
	dev_t dev;		/* of the socket made at path */
	ino_t ino;
};

#define LISTENER_INIT { .fd = -1 }

/* Errors name the path: -EADDRINUSE live, -EEXIST no socket, -ENAMETOOLONG. */
int listener_open(struct listener *l, const char *path, int backlog,
		  struct error *e);
/* No-op when not open. */
void listener_close(struct listener *l);

#endif
