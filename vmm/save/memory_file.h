/* SPDX-License-Identifier: MIT */
/*
 * The memory file: RAM, its ranges one after the other, pages of zeros left out
 * as holes. The map tells, for every chunk of 2 MiB, which pages are there and
 * their CRC32C; it is kept in the state file. docs/SNAPSHOT.md has the format.
 *
 * Main thread; work is shared out to threads that end before the call returns.
 * Nobody else may change the memory meanwhile.
 */
#ifndef MOTE_MEMORY_FILE_H
#define MOTE_MEMORY_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "state.h"

#define MEMORY_PAGE_BYTES	4096u
#define MEMORY_CHUNK_BYTES	(2u << 20)
#define MEMORY_CHUNK_PAGES	(MEMORY_CHUNK_BYTES / MEMORY_PAGE_BYTES)

struct memory_chunk {
	uint64_t pages[MEMORY_CHUNK_PAGES / 64];	/* bit: not a hole */
	uint32_t crc;		/* of those pages, in order */
};

struct memory_map {
	uint64_t len_bytes;		/* of the memory and of the file */
	size_t chunk_count;
	struct memory_chunk *chunks;
	/* The file is a template's RAM: it has every page, and no checksums. */
	bool live;
};

/* A part of RAM; all but the last are whole chunks. */
struct memory_part {
	uint8_t *host;
	uint64_t len_bytes;
	bool anonymous;		/* pages that nobody touched are zeros */
};

/* All holes. -ENOMEM */
int memory_map_init(struct memory_map *m, uint64_t len_bytes);
void memory_map_deinit(struct memory_map *m);
/* Bytes of the file that are no holes. */
uint64_t memory_map_data_bytes(const struct memory_map *m);
void memory_map_save(const struct memory_map *m, struct state_writer *w);
/* Into an uninitialized map; -ENOMEM, -EPROTO, or what the reader says. */
int memory_map_load(struct memory_map *m, struct state_reader *r);

/* Writes an empty file and fills the map. */
int memory_file_write(int fd, const struct memory_part *parts, size_t count,
		      struct memory_map *m, struct error *e);
/* Into memory that is all zeros; every checksum that there is is verified. */
int memory_file_read(int fd, const struct memory_part *parts, size_t count,
		     const struct memory_map *m, struct error *e);

#endif
