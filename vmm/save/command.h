/* SPDX-License-Identifier: MIT */
/* A shell command whose input or output is ours. One thread at a time. */
#ifndef MOTE_SAVE_COMMAND_H
#define MOTE_SAVE_COMMAND_H

#include <stdbool.h>
#include <sys/types.h>

struct command {
	pid_t pid;		/* of a process group as well; 0: none */
	int pidfd;
};

#define COMMAND_INIT { .pid = 0, .pidfd = -1 }

/* Runs /bin/sh -c text, with /dev/null for what is not ours. *fd, which does not
 * block: its input (we write) or its output; the caller's. -errno */
int command_start(struct command *c, const char *text, bool we_write, int *fd);
/*
 * Waits for its end; then there is none any more. The status of waitpid(), or
 * -ETIMEDOUT, or -ECANCELED when cancel_fd (-1: none) is readable first.
 */
int command_wait(struct command *c, int cancel_fd, int timeout_ms);
/* At once, with all that it has started. No-op when there is none. */
void command_kill(struct command *c);

#endif
