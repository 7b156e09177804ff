/* SPDX-License-Identifier: MIT */
/*
 * Which host directories are shared, and how often each was asked for: a path that
 * is shared already is counted, not added twice. Bookkeeping only, the caller
 * makes and removes the device. Main thread.
 */
#ifndef MOTE_SHARES_H
#define MOTE_SHARES_H

#include <stdbool.h>

#include "error.h"

struct shares;

struct share {
	char *path;		/* without symlinks, absolute */
	char *tag;
	bool readonly;
	char *allowed;		/* NAME[:NAME…]; NULL: all */
	unsigned int refs;	/* ≥ 1 */
	void *device;		/* the caller's */
};

/* -ENOMEM */
int shares_create(struct shares **out);
void shares_destroy(struct shares *s);

/*
 * One more use of path: refs is 1 for a new entry. tag NULL: that of the entry, or
 * share0, share1 … ERROR_ALREADY_ATTACHED: shared with another readonly, allowed or
 * tag, or the tag is another share's; ERROR_GENERIC: the path, -errno.
 */
int shares_add(struct shares *s, const char *path, const char *tag,
	       bool readonly, const char *allowed, struct share **out,
	       struct error *e);
/* By path or tag, whichever is not NULL. ERROR_NOT_ATTACHED. */
int shares_find(struct shares *s, const char *path, const char *tag,
		struct share **out, struct error *e);
/* One use less; the uses that are left: at 0 the entry is gone. */
unsigned int shares_put(struct shares *s, struct share *share);

#endif
