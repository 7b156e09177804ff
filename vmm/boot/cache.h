/* SPDX-License-Identifier: MIT */
/*
 * Decompressed kernels, kept in a private directory for the next start. Main
 * thread; many processes may use one directory at once.
 *
 * An entry is one file, named after the identity of the file it was made from:
 * a page of metadata, then the content. It appears at once and whole, is never
 * changed, and only unlinked: whoever has it mapped keeps it.
 */
#ifndef MOTE_BOOT_CACHE_H
#define MOTE_BOOT_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "boot/source.h"
#include "error.h"

/* Where the content starts, in an entry and in a cache_temp. */
#define CACHE_CONTENT_OFFSET	4096u

#define CACHE_MAX_ENTRIES	8
#define CACHE_MAX_BYTES		(1ull << 30)

struct cache {
	int dir_fd;		/* -1: off */
	char *made;		/* its path, if some of it was made */
	size_t made_from;	/* bytes of it that were there */
};

#define CACHE_INIT { .dir_fd = -1 }

/*
 * setting: a directory, "off", or NULL for $XDG_CACHE_HOME/mote/kernels or
 * $HOME/.cache/mote/kernels. The directory is made when missing and must belong
 * to us, be no symbolic link and be writable by nobody else: a named one that
 * is not is an error (InvalidConfig), the default one then is not used. A
 * directory that cannot be made (no space, read-only) turns the cache off.
 */
int cache_open(struct cache *c, const char *setting, struct error *e);
void cache_close(struct cache *c);
/* Before it is closed: directories that cache_open() made, and in which nothing
 * is, go again. */
void cache_undo(struct cache *c);

struct cache_entry {
	int fd;			/* read-only; the caller's */
	uint64_t len_bytes;	/* of the content */
	struct source_map data;	/* in the content */
};

/*
 * -ENOENT: not there, or not as it should be, which removes it. A hit costs a
 * few system calls; the content's digest is checked only at the first use
 * after a start of the host, since entries are not flushed to the disk.
 */
int cache_lookup(const struct cache *c, const struct source_id *id,
		 struct cache_entry *out);

/* A file to write content to, from CACHE_CONTENT_OFFSET on. */
struct cache_temp {
	int fd;
	char name[40];		/* "": it has none yet */
};

#define CACHE_TEMP_INIT { .fd = -1 }

int cache_begin(const struct cache *c, struct cache_temp *t);
/* Nothing of it stays unless it was published. */
void cache_abandon(const struct cache *c, struct cache_temp *t);

/*
 * Makes t the entry for the file s, which had the identity id before it was
 * read; content is len bytes with the digest crc64. Makes room by removing what
 * was not used for longest. -EIO: the digest does not match; -ESTALE: s has
 * changed meanwhile; -EEXIST: another process was first.
 */
int cache_publish(const struct cache *c, struct cache_temp *t,
		  const struct source *s, const struct source_id *id,
		  uint64_t len_bytes, uint64_t crc64);

#endif
