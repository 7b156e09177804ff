/* SPDX-License-Identifier: MIT */
/*
 * The process's terminal: raw while it is ours, restored whatever happens.
 * Loop's thread, but for the two functions in chardev.h.
 */
#ifndef MOTE_TERMINAL_H
#define MOTE_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * True when mote may read from the terminal: it is in the foreground process
 * group, or there is no job control on it. Others are stopped by SIGTTIN.
 */
bool terminal_is_ours(int fd);

/* Standard input and output for one user; false when somebody has them. */
bool terminal_claim(void);
/* Keeps what fd is set to and makes it raw. -errno: no terminal. */
int terminal_take(int fd);
/* Raw again, after a stop or somebody else's turn. */
void terminal_retake(void);
/* Restores the terminal, if one was taken, and ends the claim. */
void terminal_release(void);

/* Also set back at a fatal signal: O_NONBLOCK of a description that others
 * share. -errno */
int terminal_share_nonblock(int fd);

void terminal_size(int fd, uint16_t *columns, uint16_t *rows);

#endif
