/* SPDX-License-Identifier: MIT */
/*
 * From a descriptor chain to a block request (VIRTIO 1.2, 5.2.6): checks
 * everything the driver says. The device's loop; no state of its own.
 */
#ifndef MOTE_VIRTIO_BLK_REQUEST_H
#define MOTE_VIRTIO_BLK_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "block/block.h"
#include "virtio/virtqueue.h"

#define BLK_QUEUE_SIZE	256
#define BLK_SEG_MAX	(BLK_QUEUE_SIZE - 2)	/* less header and status */
#define BLK_IOV_MAX	(BLK_QUEUE_SIZE + VIRTQ_IOV_SLACK)
#define BLK_ID_BYTES	20			/* VIRTIO_BLK_ID_BYTES */
/* In sectors, for one discard or write-zeroes: 1 GiB. */
#define BLK_MAX_RANGE	(UINT32_C(1) << 21)

/* What a device lets a driver do. */
struct blk_limits {
	uint64_t sectors;
	bool readonly;
	bool discard, write_zeroes;	/* negotiated */
	bool ignore_flush;
	bool write_through;		/* no FLUSH negotiated */
	char id[BLK_ID_BYTES];
};

/* What a request is counted as. */
enum blk_kind {
	BLK_OTHERS,
	BLK_READS,
	BLK_WRITES,		/* of zeroes, too */
	BLK_FLUSHES,
	BLK_DISCARDS,
	BLK_KINDS,
};

/* A request in flight; io.iov points into iov. */
struct blk_request {
	struct block_request io;
	void *owner;
	struct blk_request *next_free;
	enum blk_kind kind;
	/* What io was, which changes as it is done; 0 ns: not submitted. */
	uint64_t submitted_offset, submitted_bytes, submitted_ns;
	uint8_t *status;		/* in guest memory */
	uint32_t data_bytes;		/* written into the chain on success */
	uint16_t head;
	struct iovec iov[BLK_IOV_MAX];
};

/* Not a status of 5.2.6: r->io is ready to be submitted. */
#define BLK_SUBMIT	0x100

/*
 * The popped chain c lies in r->iov. Returns BLK_SUBMIT, a VIRTIO_BLK_S_* to
 * finish it with right away, or -EPROTO when there is no place for a status.
 */
int blk_request_parse(struct blk_request *r, const struct virtq_chain *c,
		      const struct blk_limits *l);

/* Stores the status (last) and returns the used length of the chain. */
uint32_t blk_request_finish(struct blk_request *r, uint8_t status);
/* What a result of the block layer is to the driver. */
uint8_t blk_request_status(int result);

#endif
