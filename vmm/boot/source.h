/* SPDX-License-Identifier: MIT */
/*
 * A file the user named, opened for reading. Main thread. A pipe (process
 * substitution) is read to its end into memory first, so that it can be read
 * again for a reset. Whoever owns the file may change it at any time: what was
 * read once need not be there the second time.
 */
#ifndef MOTE_BOOT_SOURCE_H
#define MOTE_BOOT_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot/wait.h"
#include "error.h"
#include "guest_mem.h"

struct source {
	int fd;			/* -1: not open */
	const char *path;	/* not owned; for messages */
	uint64_t len_bytes;
	bool regular;		/* false: a copy of what came from a pipe */
};

#define SOURCE_INIT { .fd = -1 }

/*
 * Opens path. Empty files, files and pipes of more than max_bytes and what is
 * neither file nor pipe are refused: class InvalidConfig, naming path.
 * cancelled, which may be NULL, is asked while a pipe is waited for: -ECANCELED.
 */
int source_open(struct source *s, const char *path, uint64_t max_bytes,
		cancel_fn cancelled, struct error *e);
void source_close(struct source *s);

/* What identifies a file's content without reading it. */
struct source_id {
	uint64_t dev, ino, size, mtime_ns, ctime_ns;
};

/* -ENOENT: not a regular file; -errno of fstat(). */
int source_identify(const struct source *s, struct source_id *id);

/*
 * Exactly len bytes from offset of fd, into memory or into guest memory.
 * -ENODATA: the file ends before; -EFAULT: not guest memory; or pread()'s.
 */
int source_pread(int fd, uint64_t offset, void *buf, size_t len_bytes);
int source_pread_guest(int fd, uint64_t offset, const struct guest_mem *m,
		       gpa_t gpa, uint64_t len_bytes);

#define SOURCE_MAP_RANGES 64

/* Where a part of a file has data; everything else in it is zeros. */
struct source_map {
	uint64_t count;
	struct {
		uint64_t from, to;	/* from the start of the part */
	} data[SOURCE_MAP_RANGES];
};

/*
 * Asks the file system for the holes in [offset, offset + len). Without an
 * answer, and for what is past the last range there is room for, all is data.
 */
void source_map_read(struct source_map *map, int fd, uint64_t offset,
		     uint64_t len_bytes);
/*
 * The first bytes of [at, end), not empty, that are data: [*from, *to). Both
 * are end when there are none. Terminates for any content of map.
 */
void source_map_next(const struct source_map *map, uint64_t at, uint64_t end,
		     uint64_t *from, uint64_t *to);

#endif
