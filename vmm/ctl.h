/* SPDX-License-Identifier: MIT */
/* `mote ctl`: one monitor command from a shell. Main thread. */
#ifndef MOTE_CTL_H
#define MOTE_CTL_H

/*
 * argv[0] is the socket. Prints the result as JSON on stdout, errors on stderr.
 * The exit status: 0; 1 the command failed; 2 wrong usage, or no monitor there.
 */
int ctl_main(int argc, char **argv);

#endif
