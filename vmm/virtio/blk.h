/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk (VIRTIO 1.2, 5.2) on a disk image. Created and destroyed by the
 * main thread; for the rest see virtio/device.h.
 */
#ifndef MOTE_VIRTIO_BLK_H
#define MOTE_VIRTIO_BLK_H

#include "block/block.h"
#include "config/config.h"
#include "error.h"
#include "guest_mem.h"
#include "loop.h"
#include "virtio/device.h"

/*
 * Opens and locks the image; see block_open() for the errors. loops: one for
 * each of c->queues, which may be the same; the first is the device's.
 */
int virtio_blk_create(struct virtio_device **out, const struct config_disk *c,
		      struct guest_mem *mem, struct loop *const *loops,
		      struct error *e);
/* Before the driver starts; BLOCK_ENGINE_AUTO otherwise. */
void virtio_blk_set_engine(struct virtio_device *d,
			   enum block_engine_kind kind);

/*
 * Machine lock held; both wait for what is in flight, and tell the driver of
 * the new capacity. resize: see block_resize(). replace: another image, of
 * which c's path, format, readonly and direct count, in the place of the
 * present one, which is closed; -EINVAL when the driver could not take it for
 * the same disk. What does not work changes nothing.
 */
int virtio_blk_resize(struct virtio_device *d, uint64_t size_bytes,
		      struct error *e);
int virtio_blk_replace(struct virtio_device *d, const struct config_disk *c,
		       struct error *e);

/* Since the device was made, through resets and other images. */
struct virtio_blk_count {
	uint64_t operations;	/* that succeeded, */
	uint64_t bytes;		/* of how much, */
	uint64_t time_ns;	/* and how long each took, all added up */
	uint64_t failed;	/* on the host */
	uint64_t invalid;	/* refused: a driver's mistake */
};

struct virtio_blk_counters {
	/* Zeroes that the driver has written are among the writes. */
	struct virtio_blk_count reads, writes, flushes, discards;
	uint64_t write_end_bytes;	/* the end of the highest write */
};

/* Any thread; what is just being counted may be there in part. */
void virtio_blk_count(const struct virtio_device *d,
		      struct virtio_blk_counters *out);

#endif
