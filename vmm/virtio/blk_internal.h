/* SPDX-License-Identifier: MIT */
/* Between blk.c, the device, and blk_queue.c, its queues. */
#ifndef MOTE_VIRTIO_BLK_INTERNAL_H
#define MOTE_VIRTIO_BLK_INTERNAL_H

#include <linux/virtio_blk.h>

#include "virtio/blk.h"
#include "virtio/blk_count.h"
#include "virtio/blk_request.h"

/* Requests in flight in a queue: so also the size of the ring that its engine
 * asks the kernel for. */
#define BLK_SLOTS	128
#define BLK_SLOTS_BYTES	(BLK_SLOTS * sizeof(struct blk_request))

struct virtio_blk;

/* A queue's own, so that queues on different threads share nothing that
 * changes. Its loop, while active. */
struct blk_queue {
	struct virtio_blk *blk;
	unsigned int index;
	struct block_engine *engine;	/* while active */

	/* Mapped while active; a slot costs memory once it has been used, and
	 * the one used last is used next. */
	struct blk_request *slots;
	struct blk_request *free;
	unsigned int fresh;		/* slots never used yet start here */
	uint64_t in_flight_bytes;
	uint64_t now_ns;		/* of the present batch; 0: not asked */
	struct blk_counters counters;
	bool stalled;			/* waits for others' end */
	bool stopped;
};

struct virtio_blk {
	struct virtio_device dev;
	struct block_file *file;
	enum block_engine_kind kind;
	struct virtio_blk_config config;	/* machine lock */
	struct blk_limits limits;	/* changes while quiesced */
	bool no_flush;
	struct blk_queue *queues;
};

static inline struct virtio_blk *to_blk(struct virtio_device *d)
{
	return (struct virtio_blk *)d;
}

/* Ops of the device core; blk_queue.c. */
int blk_activate_queue(struct virtio_device *d, unsigned int index);
void blk_handle_queue(struct virtio_device *d, unsigned int index);
void blk_quiesce_queue(struct virtio_device *d, unsigned int index);
void blk_reset_queue(struct virtio_device *d, unsigned int index);
/* For virtio_queues_call(): to_blk(d)->file is another one. */
void blk_queue_file_changed(struct virtio_device *d, unsigned int index);

#endif
