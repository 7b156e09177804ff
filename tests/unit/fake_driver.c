/* SPDX-License-Identifier: MIT */
/* A virtqueue's driver for unit tests; runs on the test's thread. */
#include "fake_driver.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void fake_ram_init(struct fake_ram *r)
{
	/* Regions that touch for the guest lie apart in the host. */
	r->first = aligned_alloc(4096, FAKE_RAM_BYTES);
	r->second = aligned_alloc(4096, FAKE_RAM2_BYTES);
	if (!r->first || !r->second || guest_mem_create(&r->mem) ||
	    guest_mem_add(r->mem, FAKE_RAM_BASE, FAKE_RAM_BYTES, r->first) ||
	    guest_mem_add(r->mem, FAKE_RAM2_BASE, FAKE_RAM2_BYTES, r->second))
		abort();
	memset(r->first, 0, FAKE_RAM_BYTES);
	memset(r->second, 0, FAKE_RAM2_BYTES);
}

void fake_ram_deinit(struct fake_ram *r)
{
	guest_mem_destroy(r->mem);
	free(r->first);
	free(r->second);
}

void *fake_ptr(struct fake_ram *r, gpa_t gpa)
{
	if (gpa >= FAKE_RAM_BASE && gpa < FAKE_RAM2_BASE)
		return r->first + (gpa - FAKE_RAM_BASE);
	if (gpa >= FAKE_RAM2_BASE && gpa < FAKE_RAM_END)
		return r->second + (gpa - FAKE_RAM2_BASE);
	abort();
}

static _Atomic uint16_t *avail_word(struct fake_queue *q, size_t index)
{
	return (_Atomic uint16_t *)fake_ptr(q->ram, q->config.avail) + index;
}

static _Atomic uint16_t *used_word(struct fake_queue *q, size_t index)
{
	return (_Atomic uint16_t *)fake_ptr(q->ram, q->config.used) + index;
}

void fake_queue_init(struct fake_queue *q, struct fake_ram *r, gpa_t gpa,
		     uint16_t size)
{
	size_t avail_bytes = 6 + 2 * (size_t)size;
	size_t used_bytes = 6 + 8 * (size_t)size;

	*q = (struct fake_queue){
		.ram = r,
		.config = {
			.size = size,
			.desc = gpa,
			.avail = gpa + 16 * (gpa_t)size,
		},
	};
	q->config.used = (q->config.avail + avail_bytes + 3) & ~(gpa_t)3;
	memset(fake_ptr(r, q->config.desc), 0, 16 * (size_t)size);
	memset(fake_ptr(r, q->config.avail), 0, avail_bytes);
	memset(fake_ptr(r, q->config.used), 0, used_bytes);
}

void fake_indirect(struct fake_ram *r, gpa_t table, uint16_t index, gpa_t addr,
		   uint32_t len, uint16_t flags, uint16_t next)
{
	struct vring_desc d = {
		.addr = addr, .len = len, .flags = flags, .next = next,
	};

	if (guest_mem_write(r->mem, table + 16 * (gpa_t)index, &d, sizeof(d)))
		abort();
}

void fake_desc(struct fake_queue *q, uint16_t index, gpa_t addr, uint32_t len,
	       uint16_t flags, uint16_t next)
{
	fake_indirect(q->ram, q->config.desc, index, addr, len, flags, next);
}

void fake_set_avail_idx(struct fake_queue *q, uint16_t idx)
{
	q->avail_idx = idx;
	atomic_store_explicit(avail_word(q, 1), idx, memory_order_release);
}

void fake_offer(struct fake_queue *q, uint16_t head)
{
	*avail_word(q, 2 + (q->avail_idx & (q->config.size - 1u))) = head;
	fake_set_avail_idx(q, (uint16_t)(q->avail_idx + 1));
}

void fake_set_avail_flags(struct fake_queue *q, uint16_t flags)
{
	*avail_word(q, 0) = flags;
}

void fake_set_used_event(struct fake_queue *q, uint16_t event)
{
	*avail_word(q, 2 + (size_t)q->config.size) = event;
}

uint16_t fake_used_flags(struct fake_queue *q)
{
	return *used_word(q, 0);
}

uint16_t fake_used_idx(struct fake_queue *q)
{
	return atomic_load_explicit(used_word(q, 1), memory_order_acquire);
}

uint16_t fake_avail_event(struct fake_queue *q)
{
	return *used_word(q, 2 + 4 * (size_t)q->config.size);
}

uint16_t fake_add(struct fake_queue *q, const struct fake_buffer *b,
		  unsigned int count)
{
	uint16_t mask = (uint16_t)(q->config.size - 1);
	uint16_t head = q->next_desc & mask;

	for (unsigned int i = 0; i < count; i++) {
		uint16_t at = q->next_desc++ & mask;
		int flags = b[i].writable ? VRING_DESC_F_WRITE : 0;

		if (i + 1 < count)
			flags |= VRING_DESC_F_NEXT;
		fake_desc(q, at, b[i].addr, b[i].len, (uint16_t)flags,
			  q->next_desc & mask);
	}
	fake_offer(q, head);
	return head;
}

bool fake_used(struct fake_queue *q, uint32_t *id, uint32_t *len)
{
	struct vring_used_elem *e;
	uint16_t at = q->used_idx & (uint16_t)(q->config.size - 1);

	if (fake_used_idx(q) == q->used_idx)
		return false;
	e = (struct vring_used_elem *)used_word(q, 2) + at;
	*id = e->id;
	*len = e->len;
	q->used_idx++;
	return true;
}

static void set_up_queue(struct virtio_device *d, unsigned int index,
			 const struct virtqueue_config *c)
{
	gpa_t areas[] = { c->desc, c->avail, c->used };

	virtio_reg_queue_size(d, index, c->size);
	for (unsigned int i = 0; i < 3; i++) {
		virtio_reg_queue_address(d, index, i, false,
					 (uint32_t)areas[i]);
		virtio_reg_queue_address(d, index, i, true,
					 (uint32_t)(areas[i] >> 32));
	}
	virtio_reg_queue_enable(d, index);
}

uint8_t fake_start(struct virtio_device *d, uint64_t wanted,
		   struct fake_queue *queues, unsigned int count)
{
	uint64_t offered = virtio_reg_device_features(d, 0) |
			   (uint64_t)virtio_reg_device_features(d, 1) << 32;
	uint64_t features = offered &
			    (wanted | UINT64_C(1) << VIRTIO_F_VERSION_1);

	virtio_reg_status_write(d, 1);
	virtio_reg_status_write(d, 3);
	virtio_reg_driver_features(d, 0, (uint32_t)features);
	virtio_reg_driver_features(d, 1, (uint32_t)(features >> 32));
	virtio_reg_status_write(d, 11);
	for (unsigned int i = 0; i < count; i++)
		set_up_queue(d, i, &queues[i].config);
	virtio_reg_status_write(d, 15);
	return virtio_reg_status(d);
}

static void on_queue(void *opaque, unsigned int index)
{
	struct fake_irq *irq = opaque;

	sem_post(&irq->queue[index]);
}

static void on_config(void *opaque)
{
	struct fake_irq *irq = opaque;

	sem_post(&irq->config);
}

void fake_irq_init(struct fake_irq *irq, struct virtio_device *d)
{
	for (size_t i = 0; i < sizeof(irq->queue) / sizeof(*irq->queue); i++)
		sem_init(&irq->queue[i], 0, 0);
	sem_init(&irq->config, 0, 0);
	d->irq = (struct virtio_interrupts){
		.queue = on_queue, .config = on_config, .opaque = irq,
	};
}

bool fake_irq_wait(sem_t *s)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 5;
	return !sem_timedwait(s, &end);
}

bool fake_irq_take(sem_t *s)
{
	return !sem_trywait(s);
}

void fake_kick(struct virtio_device *d, unsigned int index)
{
	virtio_reg_queue_notify(d, index);
}

bool fake_used_wait(struct fake_queue *q, struct fake_irq *irq,
		    unsigned int index, uint32_t *id, uint32_t *len)
{
	for (;;) {
		/* Ask for the next interrupt, then look a last time. */
		fake_set_used_event(q, q->used_idx);
		atomic_thread_fence(memory_order_seq_cst);
		if (fake_used(q, id, len))
			return true;
		if (!fake_irq_wait(&irq->queue[index]))
			return false;
	}
}
