/* SPDX-License-Identifier: MIT */
/* The way of virtio-blk's requests: from a queue to its engine and back. The
 * queue's loop. */
#include <errno.h>
#include <sys/mman.h>
#include <time.h>

#include "virtio/blk_internal.h"

/*
 * The data of all requests in flight, over all queues; a larger request is
 * alone. A reset waits for all of it, and with it whoever needs the machine:
 * many requests for the same few pages of RAM could make that minutes. More
 * than systems have in flight.
 */
#define IN_FLIGHT_BYTES	(UINT64_C(256) << 20)

static struct blk_queue *queue_of(struct virtio_device *d, unsigned int index)
{
	return &to_blk(d)->queues[index];
}

static struct blk_request *slot_get(struct blk_queue *q)
{
	struct blk_request *r = q->free;

	if (r)
		q->free = r->next_free;
	else if (q->fresh < BLK_SLOTS)
		r = &q->slots[q->fresh++];
	return r;
}

static void slot_put(struct blk_queue *q, struct blk_request *r)
{
	r->next_free = q->free;
	q->free = r;
}

/* The clock is read once for each batch. */
static uint64_t now_ns(struct blk_queue *q)
{
	struct timespec t;

	if (!q->now_ns) {
		clock_gettime(CLOCK_MONOTONIC, &t);
		q->now_ns = (uint64_t)t.tv_sec * 1000000000 +
			    (uint64_t)t.tv_nsec;
	}
	return q->now_ns;
}

static void finish(struct blk_queue *q, struct blk_request *r, uint8_t status)
{
	blk_count(&q->counters, r, status, r->submitted_ns ? now_ns(q) : 0);
	virtqueue_push(virtio_vq(&q->blk->dev, q->index), r->head,
		       blk_request_finish(r, status));
	slot_put(q, r);
}

static void request_done(struct block_request *io)
{
	struct blk_request *r = (struct blk_request *)io;
	struct blk_queue *q = r->owner;

	q->in_flight_bytes -= r->submitted_bytes;
	finish(q, r, blk_request_status(io->result));
}

/* False: too much at once, others have to end first. */
static bool submit(struct blk_queue *q, struct blk_request *r)
{
	uint64_t limit = IN_FLIGHT_BYTES / q->blk->dev.queue_count;
	uint64_t bytes = r->io.len_bytes;

	if (q->in_flight_bytes && q->in_flight_bytes + bytes > limit)
		return false;
	q->in_flight_bytes += bytes;
	r->submitted_offset = r->io.offset;
	r->submitted_bytes = bytes;
	r->submitted_ns = now_ns(q);
	block_engine_submit(q->engine, &r->io);
	return true;
}

/* Takes one chain: 1, 0: none there, -ENOSPC: no slot or room, -EPROTO. */
static int take(struct blk_queue *q, struct virtqueue *vq)
{
	struct blk_request *r = slot_get(q);
	struct virtq_chain c;
	int ret;

	if (!r)
		return -ENOSPC;
	c.iov = r->iov;
	c.iov_max = BLK_IOV_MAX;
	ret = virtqueue_pop(vq, &c);
	if (ret <= 0) {
		slot_put(q, r);
		return ret;
	}
	r->owner = q;
	r->io.done = request_done;
	ret = blk_request_parse(r, &c, &q->blk->limits);
	if (ret < 0) {
		slot_put(q, r);
		return ret;
	}
	if (ret != BLK_SUBMIT) {
		finish(q, r, (uint8_t)ret);
	} else if (!submit(q, r)) {
		virtqueue_unpop(vq);
		slot_put(q, r);
		return -ENOSPC;
	}
	return 1;
}

void blk_handle_queue(struct virtio_device *d, unsigned int index)
{
	struct blk_queue *q = queue_of(d, index);
	struct virtqueue *vq = virtio_vq(d, index);
	unsigned int budget = virtqueue_size(vq);
	int ret = 0;

	if (q->stopped || !budget)
		return;
	q->now_ns = 0;
	virtqueue_disarm(vq);
	while (budget) {
		ret = take(q, vq);
		if (ret == 1)
			budget--;
		else if (ret || !virtqueue_arm(vq))
			break;
	}
	if (!budget)
		virtio_queue_again(d, index);
	else if (ret == -EPROTO)
		virtio_queue_broken(d, index);
	else if (ret == -ENOSPC)
		q->stalled = true;
	q->now_ns = 0;
	block_engine_kick(q->engine);
	virtio_queue_flush(d, index);
}

static void batch_done(void *opaque)
{
	struct blk_queue *q = opaque;
	struct virtio_device *d = &q->blk->dev;

	q->now_ns = 0;
	virtio_queue_flush(d, q->index);
	if (q->stalled && !q->stopped) {
		q->stalled = false;
		blk_handle_queue(d, q->index);
	}
}

static void release(struct blk_queue *q)
{
	block_engine_destroy(q->engine);
	q->engine = NULL;
	if (q->slots)
		munmap(q->slots, BLK_SLOTS_BYTES);
	q->slots = q->free = NULL;
	q->fresh = 0;
	q->in_flight_bytes = 0;
	q->stalled = q->stopped = false;
}

int blk_activate_queue(struct virtio_device *d, unsigned int index)
{
	struct blk_queue *q = queue_of(d, index);
	struct virtio_blk *b = to_blk(d);
	void *slots = mmap(NULL, BLK_SLOTS_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int ret;

	if (slots == MAP_FAILED)
		return -ENOMEM;
	q->slots = slots;
	ret = block_engine_create(&q->engine, b->file, d->queues[index].loop,
				  BLK_SLOTS, b->kind, batch_done, q);
	if (ret)
		release(q);
	return ret;
}

/* What the end of some requests makes room for waits until after. */
void blk_quiesce_queue(struct virtio_device *d, unsigned int index)
{
	struct blk_queue *q = queue_of(d, index);

	q->stopped = true;
	if (q->engine)
		block_engine_drain(q->engine);
	q->stopped = q->stalled = false;
}

void blk_reset_queue(struct virtio_device *d, unsigned int index)
{
	blk_quiesce_queue(d, index);
	release(queue_of(d, index));
}

void blk_queue_file_changed(struct virtio_device *d, unsigned int index)
{
	struct blk_queue *q = queue_of(d, index);

	if (q->engine)
		block_engine_set_file(q->engine, to_blk(d)->file);
}
