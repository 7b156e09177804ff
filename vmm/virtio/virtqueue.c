/* SPDX-License-Identifier: MIT */
/*
 * Split virtqueues, device side. Run by the queue's owner thread: the device's
 * iothread while the device is active, else whoever holds the machine lock.
 */
#include "virtio/virtqueue.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define DESC_BYTES	sizeof(struct vring_desc)
#define CHAIN_BYTES_END	(UINT64_C(1) << 32)

/* VIRTIO 1.2, 2.7.6 and 2.7.8: flags, idx, then the ring. */
struct avail_ring {
	_Atomic uint16_t flags;
	_Atomic uint16_t idx;
	_Atomic uint16_t ring[];	/* size heads, then used_event */
};

struct used_ring {
	_Atomic uint16_t flags;
	_Atomic uint16_t idx;
	struct vring_used_elem ring[];	/* then avail_event */
};

struct virtqueue {
	struct guest_mem *mem;
	uint16_t max_size;
	uint16_t size;			/* 0: not enabled */
	bool event_idx;
	bool indirect;
	const uint8_t *desc;
	const struct avail_ring *avail;
	struct used_ring *used;
	_Atomic uint16_t *avail_event;	/* follows used->ring */
	gpa_t used_gpa;
	uint16_t next_avail;		/* next head to take */
	uint16_t avail_seen;		/* avail->idx when last looked at */
	uint16_t next_used;		/* next used element to fill */
	uint16_t published;		/* what used->idx holds */
	uint16_t notified;		/* published, at the last answer */
	bool notify_always;		/* after a load: notified unknown */
};

int virtqueue_create(struct virtqueue **out, struct guest_mem *mem,
		     uint16_t max_size)
{
	struct virtqueue *q = calloc(1, sizeof(*q));

	assert(max_size && max_size <= VIRTQUEUE_MAX_SIZE &&
	       !(max_size & (max_size - 1)));
	if (!q)
		return -ENOMEM;
	q->mem = mem;
	q->max_size = max_size;
	*out = q;
	return 0;
}

void virtqueue_destroy(struct virtqueue *q)
{
	free(q);
}

/* What the driver reads to learn whether to kick: "yes" from here on. */
static void ask_for_kicks(struct virtqueue *q)
{
	if (q->event_idx)
		atomic_store_explicit(q->avail_event, htole16(q->next_avail),
				      memory_order_relaxed);
	else
		atomic_store_explicit(&q->used->flags, 0,
				      memory_order_relaxed);
}

/* Where the three areas are now. -EFAULT: one is not, or no longer, there. */
static int find_areas(struct virtqueue *q, const struct virtqueue_config *c)
{
	size_t size = c->size;
	size_t avail_bytes = sizeof(*q->avail) + 2 * (size + 1);
	size_t event_at = sizeof(*q->used) + size * sizeof(q->used->ring[0]);
	void *desc = guest_mem_ring(q->mem, c->desc, size * DESC_BYTES);
	void *avail = guest_mem_ring(q->mem, c->avail, avail_bytes);
	uint8_t *used = guest_mem_ring(q->mem, c->used,
				       event_at + sizeof(uint16_t));

	if (!desc || !avail || !used)
		return -EFAULT;
	q->desc = desc;
	q->avail = avail;
	q->used = (void *)used;
	q->avail_event = (void *)(used + event_at);
	q->used_gpa = c->used;
	return 0;
}

void virtqueue_note_written(const struct virtqueue *q)
{
	size_t used_bytes = sizeof(*q->used) + sizeof(uint16_t) +
			    q->size * sizeof(q->used->ring[0]);

	if (q->size)
		guest_mem_written(q->mem, q->used_gpa, used_bytes);
}

int virtqueue_enable(struct virtqueue *q, const struct virtqueue_config *c)
{
	struct virtqueue new = {
		.mem = q->mem, .max_size = q->max_size, .size = c->size,
		.event_idx = c->event_idx, .indirect = c->indirect,
	};
	uint16_t size = c->size;
	int ret;

	/* VIRTIO 1.2, 2.7: a power of two, and the table of alignments. */
	if (!size || size > q->max_size || (size & (size - 1)))
		return -EINVAL;
	if (c->desc % 16 || c->avail % 2 || c->used % 4)
		return -EINVAL;
	ret = find_areas(&new, c);
	if (ret)
		return ret;
	*q = new;
	ask_for_kicks(q);
	return 0;
}

int virtqueue_find_again(struct virtqueue *q, const struct virtqueue_config *c)
{
	return q->size ? find_areas(q, c) : 0;
}

void virtqueue_disable(struct virtqueue *q)
{
	virtqueue_note_written(q);
	q->size = 0;
	q->desc = NULL;
	q->avail = NULL;
	q->used = NULL;
	q->avail_event = NULL;
}

bool virtqueue_enabled(const struct virtqueue *q)
{
	return q->size;
}

uint16_t virtqueue_size(const struct virtqueue *q)
{
	return q->size;
}

/*
 * Looks at the driver's index again. Acquire: the heads and descriptors behind
 * it are read after it (2.7.13.1). It can neither move by more than the queue
 * holds nor offer again what has not been used yet.
 */
static int look(struct virtqueue *q)
{
	uint16_t idx = le16toh(atomic_load_explicit(&q->avail->idx,
						    memory_order_acquire));

	if ((uint16_t)(idx - q->next_avail) > q->size ||
	    (uint16_t)(idx - q->next_used) > q->size)
		return -EPROTO;
	q->avail_seen = idx;
	return 0;
}

/*
 * A snapshot that the guest cannot change afterwards: the fence keeps the
 * compiler from reading the source a second time.
 */
static void desc_copy(struct vring_desc *to, const uint8_t *from)
{
	memcpy(to, from, sizeof(*to));
	atomic_signal_fence(memory_order_seq_cst);
	to->addr = le64toh(to->addr);
	to->len = le32toh(to->len);
	to->flags = le16toh(to->flags);
	to->next = le16toh(to->next);
}

/* A descriptor table: the ring's own, or one in guest memory. */
struct table {
	const uint8_t *host;	/* NULL: the table straddles regions */
	gpa_t gpa;
	uint32_t count;
	bool nested;		/* an indirect table */
};

static int table_get(const struct virtqueue *q, const struct table *t,
		     uint32_t index, struct vring_desc *d)
{
	uint8_t bytes[DESC_BYTES];
	int ret;

	if (index >= t->count)
		return -EPROTO;
	if (t->host) {
		desc_copy(d, t->host + index * DESC_BYTES);
		return 0;
	}
	ret = guest_mem_read(q->mem, t->gpa + index * DESC_BYTES, bytes,
			     sizeof(bytes));
	if (!ret)
		desc_copy(d, bytes);
	return ret;
}

/* Adds the buffer of one descriptor to the chain. */
static int chain_add(const struct virtqueue *q, struct virtq_chain *c,
		     const struct vring_desc *d)
{
	uint32_t used = c->readable + c->writable;
	bool writable = d->flags & VRING_DESC_F_WRITE;
	int n;

	/* 2.7.4.2: device-writable buffers come after all readable ones. */
	if (!writable && c->writable)
		return -EPROTO;
	n = (writable ? guest_mem_iov : guest_mem_iov_read)
		(q->mem, d->addr, d->len, c->iov + used, c->iov_max - used);
	if (n < 0)
		return n;
	if (writable) {
		c->writable += (uint32_t)n;
		c->writable_bytes += d->len;
	} else {
		c->readable += (uint32_t)n;
		c->readable_bytes += d->len;
	}
	/* 2.7.5.2 bounds a chain; and used lengths have 32 bits. */
	if (c->readable_bytes + c->writable_bytes >= CHAIN_BYTES_END)
		return -EPROTO;
	return 0;
}

/* Goes on in the indirect table that d names (2.7.5.3). */
static int table_enter(const struct virtqueue *q, struct table *t,
		       const struct vring_desc *d)
{
	/* 2.7.5.3.1: negotiated, not nested, the last of its chain. */
	if (!q->indirect || t->nested || d->flags & VRING_DESC_F_NEXT)
		return -EPROTO;
	if (!d->len || d->len % DESC_BYTES ||
	    !guest_mem_valid(q->mem, d->addr, d->len))
		return -EPROTO;
	*t = (struct table){
		.host = guest_mem_ring(q->mem, d->addr, d->len),
		.gpa = d->addr,
		.count = d->len / (uint32_t)DESC_BYTES,
		.nested = true,
	};
	return 0;
}

static int walk(const struct virtqueue *q, struct virtq_chain *c)
{
	struct table t = { .host = q->desc, .count = q->size };
	uint32_t index = c->head;
	struct vring_desc d;
	int ret;

	/* 2.7.5.3.1: no chain is longer than the queue; so loops end. */
	for (uint32_t hops = 0; hops < q->size;) {
		ret = table_get(q, &t, index, &d);
		if (ret)
			return ret;
		if (d.flags & VRING_DESC_F_INDIRECT) {
			ret = table_enter(q, &t, &d);
			if (ret)
				return ret;
			index = 0;
			continue;
		}
		ret = chain_add(q, c, &d);
		if (ret)
			return ret;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		index = d.next;
		hops++;
	}
	return -EPROTO;
}

int virtqueue_pop(struct virtqueue *q, struct virtq_chain *c)
{
	uint16_t head;

	if (!q->size)
		return 0;
	if (q->next_avail == q->avail_seen && look(q))
		return -EPROTO;
	if (q->next_avail == q->avail_seen)
		return 0;
	head = le16toh(atomic_load_explicit(
		&q->avail->ring[q->next_avail & (q->size - 1)],
		memory_order_relaxed));
	c->head = head;
	c->readable = c->writable = 0;
	c->readable_bytes = c->writable_bytes = 0;
	if (head >= q->size || walk(q, c))
		return -EPROTO;
	q->next_avail++;
	return 1;
}

void virtqueue_unpop(struct virtqueue *q)
{
	if (q->size)
		q->next_avail--;
}

void virtqueue_push(struct virtqueue *q, uint16_t head, uint32_t written_bytes)
{
	struct vring_used_elem *e;

	if (!q->size)
		return;
	e = &q->used->ring[q->next_used++ & (q->size - 1)];
	e->id = htole32(head);
	e->len = htole32(written_bytes);
}

void virtqueue_publish(struct virtqueue *q)
{
	if (!q->size || q->published == q->next_used)
		return;
	q->published = q->next_used;
	/* Release: the elements and the buffers come first (2.7.8). */
	atomic_store_explicit(&q->used->idx, htole16(q->published),
			      memory_order_release);
}

bool virtqueue_should_notify(struct virtqueue *q)
{
	uint16_t old = q->notified, new = q->published, event;
	bool always = q->notify_always;

	if (!q->size || (old == new && !always))
		return false;
	q->notified = new;
	q->notify_always = false;
	/*
	 * used->idx must be visible before the driver's wish is read, which the
	 * driver writes before it looks at used->idx a last time (2.7.7.1).
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if (always)
		return true;
	if (!q->event_idx)
		return !(le16toh(atomic_load_explicit(&q->avail->flags,
						      memory_order_relaxed)) &
			 VRING_AVAIL_F_NO_INTERRUPT);
	event = le16toh(atomic_load_explicit(&q->avail->ring[q->size],
					     memory_order_relaxed));
	/* 2.7.7.2: has used->idx gone past used_event since the last time? */
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

void virtqueue_disarm(struct virtqueue *q)
{
	/* With the event index avail_event simply stays behind. */
	if (q->size && !q->event_idx)
		atomic_store_explicit(&q->used->flags,
				      htole16(VRING_USED_F_NO_NOTIFY),
				      memory_order_relaxed);
}

/* How many buffers are there, after a wish for kicks. */
static uint16_t count_after_wish(struct virtqueue *q)
{
	/* The wish must be visible before the index is read a last time, which
	 * the driver writes before it reads the wish (2.7.10). */
	atomic_thread_fence(memory_order_seq_cst);
	return (uint16_t)(le16toh(atomic_load_explicit(&q->avail->idx,
						       memory_order_relaxed)) -
			  q->next_avail);
}

bool virtqueue_arm(struct virtqueue *q)
{
	if (!q->size)
		return false;
	ask_for_kicks(q);
	return count_after_wish(q);
}

bool virtqueue_arm_late(struct virtqueue *q, uint16_t count)
{
	if (!q->size)
		return false;
	/* 2.7.10: the kick comes with the entry that avail_event names. */
	if (q->event_idx)
		atomic_store_explicit(q->avail_event,
				      htole16((uint16_t)(q->next_avail +
							 count - 1)),
				      memory_order_relaxed);
	return count_after_wish(q) >= count;
}

void virtqueue_save(const struct virtqueue *q, struct virtqueue_state *s)
{
	s->next_avail = q->next_avail;
	s->next_used = q->next_used;
}

int virtqueue_load(struct virtqueue *q, const struct virtqueue_state *s)
{
	if (!q->size ||
	    (uint16_t)(s->next_avail - s->next_used) > q->size)
		return -EINVAL;
	q->next_avail = q->avail_seen = s->next_avail;
	q->next_used = q->published = q->notified = s->next_used;
	q->notify_always = true;
	ask_for_kicks(q);
	return 0;
}

size_t iov_read(const struct iovec *iov, size_t count, size_t offset,
		void *buf, size_t len)
{
	size_t done = 0;

	for (size_t i = 0; i < count && done < len; i++) {
		size_t n = iov[i].iov_len;

		if (offset >= n) {
			offset -= n;
			continue;
		}
		n = n - offset < len - done ? n - offset : len - done;
		memcpy((uint8_t *)buf + done,
		       (const uint8_t *)iov[i].iov_base + offset, n);
		done += n;
		offset = 0;
	}
	return done;
}

size_t iov_write(const struct iovec *iov, size_t count, size_t offset,
		 const void *buf, size_t len)
{
	size_t done = 0;

	for (size_t i = 0; i < count && done < len; i++) {
		size_t n = iov[i].iov_len;

		if (offset >= n) {
			offset -= n;
			continue;
		}
		n = n - offset < len - done ? n - offset : len - done;
		memcpy((uint8_t *)iov[i].iov_base + offset,
		       (const uint8_t *)buf + done, n);
		done += n;
		offset = 0;
	}
	return done;
}
