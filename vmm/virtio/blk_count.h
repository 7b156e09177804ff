/* SPDX-License-Identifier: MIT */
/*
 * What a queue of a disk has done. The queue's loop counts, without a locked
 * instruction; any thread reads.
 */
#ifndef MOTE_VIRTIO_BLK_COUNT_H
#define MOTE_VIRTIO_BLK_COUNT_H

#include <stdint.h>

#include "virtio/blk.h"
#include "virtio/blk_request.h"

struct blk_counters {
	struct blk_count {
		_Atomic uint64_t operations, bytes, time_ns, failed, invalid;
	} kinds[BLK_KINDS];
	_Atomic uint64_t write_end;
};

/* A request that the driver is about to hear of; now_ns: CLOCK_MONOTONIC. */
void blk_count(struct blk_counters *c, const struct blk_request *r,
	       uint8_t status, uint64_t now_ns);
/* Adds what has been counted up to now. */
void blk_count_sum(struct virtio_blk_counters *sum,
		   const struct blk_counters *c);

#endif
