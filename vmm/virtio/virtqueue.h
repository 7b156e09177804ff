/* SPDX-License-Identifier: MIT */
/*
 * A split virtqueue, device side (VIRTIO 1.2, 2.7).
 *
 * One owner thread at a time: the device's iothread between activate and
 * quiesce/reset, else whoever holds the machine lock. No function here takes a
 * lock or, after virtqueue_create(), allocates.
 *
 * Guest memory is hostile: descriptors are read once, hops are bounded by the
 * queue size, ring indices are C11 atomics, used->idx is never read back.
 */
#ifndef MOTE_VIRTQUEUE_H
#define MOTE_VIRTQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "guest_mem.h"

#define VIRTQUEUE_MAX_SIZE 1024

struct virtqueue;

struct virtqueue_config {
	uint16_t size;		/* descriptors: a power of two ≤ the maximum */
	bool event_idx;		/* VIRTIO_F_EVENT_IDX negotiated */
	bool indirect;		/* VIRTIO_F_INDIRECT_DESC negotiated */
	gpa_t desc;		/* 16-byte aligned */
	gpa_t avail;		/* 2-byte aligned; "driver area" */
	gpa_t used;		/* 4-byte aligned; "device area" */
};

/* What save and restore need besides the configuration. */
struct virtqueue_state {
	uint16_t next_avail;
	uint16_t next_used;
};

/*
 * A descriptor chain, its buffers translated: first the device-readable, then
 * the device-writable iovecs, in one array that the caller provides and may
 * keep until it pushes the chain.
 */
struct virtq_chain {
	struct iovec *iov;	/* caller sets: room for iov_max entries */
	uint32_t iov_max;
	uint16_t head;
	uint32_t readable;	/* number of iovecs */
	uint32_t writable;	/* iov[readable] is the first of them */
	uint64_t readable_bytes;
	uint64_t writable_bytes;
};

/* An iovec array of size + this many never makes pop fail for want of room
 * in a guest whose buffers do not straddle more region borders than this. */
#define VIRTQ_IOV_SLACK 8

int virtqueue_create(struct virtqueue **out, struct guest_mem *mem,
		     uint16_t max_size);
void virtqueue_destroy(struct virtqueue *q);

/*
 * Checks size, alignment and that all three areas are guest memory, and starts
 * at index 0. -EINVAL, -EFAULT. Kicks start enabled.
 */
int virtqueue_enable(struct virtqueue *q, const struct virtqueue_config *c);
/* After guest memory has changed, with what it was enabled with: -EFAULT when
 * not all of it is there any more; it must then be disabled. */
int virtqueue_find_again(struct virtqueue *q, const struct virtqueue_config *c);
/*
 * The device writes to the used area all the time: guest_mem's log gets it when
 * somebody is about to look at it, who calls this, and when the queue is disabled.
 */
void virtqueue_note_written(const struct virtqueue *q);
void virtqueue_disable(struct virtqueue *q);
bool virtqueue_enabled(const struct virtqueue *q);
uint16_t virtqueue_size(const struct virtqueue *q);

/*
 * Takes the next available chain: 1, 0 when there is none, -EPROTO when the
 * ring is malformed (index jump, head ≥ size, loop, nested/odd/empty indirect
 * table, writable before readable, address outside memory, total of 2^32 bytes
 * or more, no room in iov). After -EPROTO the device must stop the queue and
 * report DEVICE_NEEDS_RESET (virtio_device_broken()).
 */
int virtqueue_pop(struct virtqueue *q, struct virtq_chain *c);
/* Gives the last popped chain back to the ring as if never popped. */
void virtqueue_unpop(struct virtqueue *q);

/* Puts a used element in place; the driver sees it at virtqueue_publish(). */
void virtqueue_push(struct virtqueue *q, uint16_t head, uint32_t written_bytes);
/* Makes everything pushed visible to the driver (2.7.8). */
void virtqueue_publish(struct virtqueue *q);
/*
 * True when the driver wants a used buffer notification for what has been
 * published since the last call (2.7.7.2, 2.7.10).
 */
bool virtqueue_should_notify(struct virtqueue *q);

/* Asks the driver not to kick while the queue is being worked on (a hint). */
void virtqueue_disarm(struct virtqueue *q);
/* Asks for kicks again; true when buffers arrived meanwhile: look again. */
bool virtqueue_arm(struct virtqueue *q);
/*
 * The same, but for one kick, when there are count buffers, or without the event
 * index for none: who calls this looks again by itself, in time. True when there
 * are as many.
 */
bool virtqueue_arm_late(struct virtqueue *q, uint16_t count);

void virtqueue_save(const struct virtqueue *q, struct virtqueue_state *s);
/* After virtqueue_enable(). -EINVAL: indices further apart than the size. */
int virtqueue_load(struct virtqueue *q, const struct virtqueue_state *s);

/* Copies up to len bytes between buf and an iovec array from a byte offset;
 * return the bytes copied. */
size_t iov_read(const struct iovec *iov, size_t count, size_t offset,
		void *buf, size_t len);
size_t iov_write(const struct iovec *iov, size_t count, size_t offset,
		 const void *buf, size_t len);

#endif
