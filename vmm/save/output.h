/* SPDX-License-Identifier: MIT */
/*
 * A file that is written under another name beside its place, and gets there when
 * all of it is on the disk: what does not come so far leaves what was there. What
 * is no regular file, or cannot be replaced as it is (its owner, another link to
 * it, a directory that is not to be written), is written to directly. One thread at
 * a time.
 */
#ifndef MOTE_SAVE_OUTPUT_H
#define MOTE_SAVE_OUTPUT_H

struct output {
	int fd;			/* close-on-exec, non-blocking; its user's */
	char *path, *temporary;	/* NULL: written to directly */
};

#define OUTPUT_INIT { .fd = -1 }

/* -errno */
int output_open(struct output *o, const char *path);
/* All is written and synced. -errno */
int output_commit(struct output *o);
/* Without a commit nothing is left of it. fd stays open. No-op after OUTPUT_INIT. */
void output_close(struct output *o);

#endif
