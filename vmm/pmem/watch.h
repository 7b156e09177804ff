/* SPDX-License-Identifier: MIT */
/*
 * Hears when a mapped file changes, and has pmem_maps_check() look. Main thread,
 * and its loop.
 */
#ifndef MOTE_PMEM_WATCH_H
#define MOTE_PMEM_WATCH_H

#include "loop.h"

/* Each when it is first needed. */
struct pmem_watch {
	struct loop *loop;
	struct loop_watch inotify;
	struct loop_timer timer;
};

void pmem_watch_init(struct pmem_watch *w, struct loop *loop);
void pmem_watch_deinit(struct pmem_watch *w);

/*
 * Returns what _remove() takes: the same for the same file, which is watched
 * until it is removed once; or -1 when the file is looked at every second.
 */
int pmem_watch_add(struct pmem_watch *w, int fd, const char *path);
void pmem_watch_remove(struct pmem_watch *w, int number);

#endif
