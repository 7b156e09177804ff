/* SPDX-License-Identifier: MIT */
/* Counting a disk's requests: the queue's loop; summing up: any thread. */
#include "virtio/blk_count.h"

#include <linux/virtio_blk.h>
#include <stdatomic.h>

static uint64_t get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* There is one writer: no read-modify-write that others would have to see. */
static void add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, get(counter) + n, memory_order_relaxed);
}

void blk_count(struct blk_counters *c, const struct blk_request *r,
	       uint8_t status, uint64_t now_ns)
{
	struct blk_count *k = &c->kinds[r->kind];
	uint64_t end = r->submitted_offset + r->submitted_bytes;

	if (status != VIRTIO_BLK_S_OK) {
		add(r->submitted_ns ? &k->failed : &k->invalid, 1);
		return;
	}
	add(&k->operations, 1);
	if (!r->submitted_ns)
		return;
	add(&k->bytes, r->submitted_bytes);
	add(&k->time_ns, now_ns - r->submitted_ns);
	if (r->kind == BLK_WRITES && end > get(&c->write_end))
		atomic_store_explicit(&c->write_end, end, memory_order_relaxed);
}

static void sum_kind(struct virtio_blk_count *sum, const struct blk_count *k)
{
	sum->operations += get(&k->operations);
	sum->bytes += get(&k->bytes);
	sum->time_ns += get(&k->time_ns);
	sum->failed += get(&k->failed);
	sum->invalid += get(&k->invalid);
}

void blk_count_sum(struct virtio_blk_counters *sum,
		   const struct blk_counters *c)
{
	uint64_t end = get(&c->write_end);

	sum_kind(&sum->reads, &c->kinds[BLK_READS]);
	sum_kind(&sum->writes, &c->kinds[BLK_WRITES]);
	sum_kind(&sum->flushes, &c->kinds[BLK_FLUSHES]);
	sum_kind(&sum->discards, &c->kinds[BLK_DISCARDS]);
	if (end > sum->write_end_bytes)
		sum->write_end_bytes = end;
}
