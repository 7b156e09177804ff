/* SPDX-License-Identifier: MIT */
/*
 * A file mapped shared, at a multiple of PMEM_ALIGN_BYTES and padded to one,
 * that survives its file: what can no longer be reached, because the file has
 * become smaller, is replaced by private zeros, and every flush fails from then
 * on.
 *
 * Made and destroyed by the main thread, when nothing uses the memory. Touching
 * it from mote's own threads never ends the process: SIGBUS is handled while
 * there is a map. The handler is the process's, and so is the list of maps.
 */
#ifndef MOTE_PMEM_MAP_H
#define MOTE_PMEM_MAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"

#define PMEM_ALIGN_BYTES (UINT64_C(2) << 20)

struct pmem_map {
	struct pmem_map *next;
	const char *path;
	int fd;			/* not owned */
	bool readonly;
	uint8_t *host;
	uint64_t len_bytes;	/* with the padding */
	uint64_t data_bytes;	/* the file's, without a footer */
	uint64_t file_bytes;	/* mapped from the file: whole pages */
	_Atomic uint64_t backed_bytes;	/* of these, still the file's */
	atomic_bool lost;	/* some of it is not the file's any more */
	atomic_bool said;
	void (*on_lost)(const char *path);
};

/*
 * The caller has filled path, fd, readonly, data_bytes and, if it wants to be
 * told of a loss (once, on the thread that finds it), on_lost. footer: behind
 * the data the file goes on with what is none of the guest's; a last page that
 * is shared with it is a copy, written back by pmem_map_flush() and _destroy().
 */
int pmem_map_create(struct pmem_map *m, bool footer, struct error *e);
void pmem_map_destroy(struct pmem_map *m);

/* Looks whether any file has become smaller. Any thread. */
void pmem_maps_check(void);

/* What was written before is durable: 0 or -errno. Any thread; blocks. */
int pmem_map_flush(struct pmem_map *m);

/* The size of a file or block device; -errno. Async-signal-safe. */
int pmem_file_bytes(int fd, uint64_t *bytes);

#endif
