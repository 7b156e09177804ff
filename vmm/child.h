/* SPDX-License-Identifier: MIT */
/* Starting programs (posix_spawn). Any thread. */
#ifndef MOTE_CHILD_H
#define MOTE_CHILD_H

#include <signal.h>
#include <spawn.h>

/* The signals as a program expects them: main.c ignores some, and threads block
 * them (thread.h). flags: POSIX_SPAWN_ that attr is to have besides. */
static inline void child_set_signals(posix_spawnattr_t *attr, short flags)
{
	sigset_t none, ignored;

	sigemptyset(&none);
	sigemptyset(&ignored);
	sigaddset(&ignored, SIGPIPE);
	sigaddset(&ignored, SIGXFSZ);
	posix_spawnattr_setsigmask(attr, &none);
	posix_spawnattr_setsigdefault(attr, &ignored);
	posix_spawnattr_setflags(attr, (short)(flags | POSIX_SPAWN_SETSIGMASK |
					       POSIX_SPAWN_SETSIGDEF));
}

#endif
