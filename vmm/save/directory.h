/* SPDX-License-Identifier: MIT */
/*
 * A directory that is filled beside the one it replaces, and then put in its
 * place at once: whatever happens, what is there is whole. One thread at a time.
 */
#ifndef MOTE_SAVE_DIRECTORY_H
#define MOTE_SAVE_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

struct save_directory;

/*
 * path: a directory to be made, an empty one, or an earlier save with nothing
 * else in it. What a process that died has left beside it is cleared away.
 * -EBUSY: somebody saves there. -ENOTEMPTY
 */
int save_directory_create(struct save_directory **out, const char *path,
			  struct error *e);
/* A new file in it, open for writing; the caller's. */
int save_directory_file(struct save_directory *d, const char *name,
			struct error *e);
/* What has been written is on the disk and in its place. */
int save_directory_commit(struct save_directory *d, struct error *e);
/* Is it in its place? Also when a commit says that it may not be on the disk. */
bool save_directory_in_place(const struct save_directory *d);
/* Without a commit: nothing is left of it. NULL is fine. */
void save_directory_destroy(struct save_directory *d);

/* Does fd's file, or directory, have that name still? */
bool save_still_called(int parent_fd, const char *name, int fd);

/* Writes a whole file and waits until it is on the disk; closes fd. */
int save_file(int fd, const void *data, size_t len_bytes, const char *name,
	      struct error *e);

#endif
