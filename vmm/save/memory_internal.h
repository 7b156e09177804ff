/* SPDX-License-Identifier: MIT */
/* What the files about the memory file share: memory_*.c. */
#ifndef MOTE_MEMORY_INTERNAL_H
#define MOTE_MEMORY_INTERNAL_H

#include <stdatomic.h>

#include "save/memory_file.h"

#define PAGE MEMORY_PAGE_BYTES

bool memory_chunk_empty(const struct memory_chunk *c);
/* Pages of chunk i that are inside the memory. */
unsigned int memory_chunk_pages(const struct memory_map *m, uint64_t i);

/* The part that a chunk is in, and where; NULL: none. */
const struct memory_part *memory_part_at(const struct memory_part *parts,
					 size_t count, uint64_t chunk,
					 uint64_t *offset);

int memory_write_all(int fd, const uint8_t *data, size_t len, uint64_t at);
/* -ENODATA: the file ends before. */
int memory_read_all(int fd, uint8_t *data, size_t len, uint64_t at);
/* Writes the chunk's pages, which are at host, and notes their checksum. */
int memory_write_chunk(int fd, struct memory_chunk *c, uint64_t chunk,
		       const uint8_t *host);

/* Work on chunks, shared out to threads, each with chunks of its own. */
struct memory_job {
	uint64_t chunk_count;
	struct job *owner;		/* or NULL */
	struct progress *progress;	/* or NULL */
	int (*work)(struct memory_job *job, uint64_t chunk);
	_Atomic uint64_t next;
	_Atomic int error;	/* the first: -errno */
	_Atomic uint64_t failed_chunk;
};

/* 0, or the first error; on return all threads have ended. */
int memory_job_run(struct memory_job *job);

#endif
