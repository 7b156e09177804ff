/* SPDX-License-Identifier: MIT */
/* An open image, for file.c, probe.c and the engines. Its members change on the
 * main thread only, while nothing is in flight. */
#ifndef MOTE_BLOCK_FILE_H
#define MOTE_BLOCK_FILE_H

#include "block/block.h"

struct block_file {
	int fd;				/* through the page cache; locked */
	int direct_fd;			/* O_DIRECT, or -1 */
	/* What direct I/O wants to be multiples: positions and lengths of
	 * every buffer; addresses of memory. Powers of two. */
	uint32_t direct_offset_align, direct_memory_align;
	/* What the device below takes without splitting it, as far as one can
	 * tell. */
	uint32_t direct_max_bytes, direct_max_buffers;
	uint64_t size_bytes;
	struct block_topology topology;
	bool readonly;
	bool device;			/* a block device */
	bool vhd;
	bool can_discard;
	bool can_write_zeroes;
};

/* Fills size, topology and abilities; f->fd is open. probe.c */
int block_probe(struct block_file *f, const char *path, struct error *e);
/* What the device has, f->device. -errno. */
int block_device_bytes(const struct block_file *f, uint64_t *bytes);
/* Opens f->direct_fd and finds the alignments. */
int block_probe_direct(struct block_file *f, const char *path,
		       struct error *e);

#endif
