/* SPDX-License-Identifier: MIT */
/*
 * The memory file: RAM, each of its parts from a chunk of 2 MiB on, pages of zeros
 * left out as holes. The map tells, for every chunk, which
 * pages are there and their CRC32C; it is kept in the state file. docs/SNAPSHOT.md
 * has the format.
 *
 * One thread at a time; work is shared out to threads that end before the call returns.
 * Nobody else may change the memory meanwhile.
 */
#ifndef MOTE_MEMORY_FILE_H
#define MOTE_MEMORY_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "progress.h"
#include "job.h"
#include "save/page.h"
#include "state.h"

enum memory_kind {
	MEMORY_FULL,
	/* The file is a template's RAM: it has every page, and no checksums. */
	MEMORY_LIVE,
	/* Only what has changed since another save. */
	MEMORY_DIFF,
};

struct memory_chunk {
	uint64_t pages[MEMORY_CHUNK_WORDS];	/* bit: not a hole */
	uint64_t zeros[MEMORY_CHUNK_WORDS];	/* of a diff: has become zeros */
	uint32_t crc;		/* of the pages that are there, in order */
};

struct memory_map {
	enum memory_kind kind;
	uint64_t len_bytes;		/* of the memory and of the file */
	size_t chunk_count;
	struct memory_chunk *chunks;
};

/* A part of RAM. */
struct memory_part {
	uint8_t *host;
	uint64_t len_bytes;
	uint64_t offset;	/* in the file: that of a chunk */
	bool anonymous;		/* pages that nobody touched are zeros */
	/* Of a diff, a bit for each page: it may have changed. */
	const uint64_t *changed;
};

/* A file with its map; several are laid one over the other. */
struct memory_layer {
	int fd;
	const struct memory_map *map;
	const char *name;	/* for messages */
};

/* Bytes of the file that these parts make. */
uint64_t memory_file_bytes(const struct memory_part *parts, size_t count);

/* All holes. -ENOMEM */
int memory_map_init(struct memory_map *m, enum memory_kind kind,
		    uint64_t len_bytes);
void memory_map_deinit(struct memory_map *m);
/* Bytes of the file that are no holes. */
uint64_t memory_map_data_bytes(const struct memory_map *m);
void memory_map_save(const struct memory_map *m, struct state_writer *w);
/* Into an uninitialized map; -ENOMEM, -EPROTO, or what the reader says. */
int memory_map_load(struct memory_map *m, struct state_reader *r);

/* Writes an empty file and fills the map. j, or NULL, is told of the progress, and
 * -ECANCELED soon follows when it is cancelled. */
int memory_file_write(int fd, const struct memory_part *parts, size_t count,
		      struct memory_map *m, struct job *j, struct error *e);

enum memory_check {
	MEMORY_CHECK_PAGES,	/* checksums of what is read */
	MEMORY_CHECK_ALL,	/* and that the rest of the file is zeros */
};

/*
 * The layers, the first below, into memory that holds what is below them. What
 * is in no part is of memory that has gone since: left out.
 */
int memory_layers_read(const struct memory_layer *layers, size_t layer_count,
		       const struct memory_part *parts, size_t count,
		       enum memory_check check, struct progress *progress,
		       struct error *e);
/* All of them, the first a full one, as one file, which is empty; fills m.
 * progress, or NULL, is told of every chunk, here as above. */
int memory_layers_merge(const struct memory_layer *layers, size_t layer_count,
			int fd, struct memory_map *m,
			struct progress *progress, struct error *e);

#endif
