/* SPDX-License-Identifier: MIT */
/*
 * The virtio device core: life cycle and ownership of the queues. vCPU threads
 * and the main thread, under the machine lock; what runs on the queues' loops is
 * in device_loop.c. While the machine lock's holder moves the ownership it waits
 * for the loop, so d->active and d->quiesced never change under its feet.
 */
#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "virtio/device_loop.h"

#define CORE_FEATURES	((UINT64_C(1) << VIRTIO_F_VERSION_1) |		\
			 (UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX) |	\
			 (UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC))

static void queue_clear(struct virtio_queue *q)
{
	uint64_t count;

	q->config = (struct virtqueue_config){ .size = q->max_size };
	q->enabled = false;
	(void)!read(q->kick_fd, &count, sizeof(count));
}

static int queue_init(struct virtio_queue *q, struct guest_mem *mem,
		      uint16_t max_size)
{
	int ret = virtqueue_create(&q->vq, mem, max_size);

	if (ret)
		return ret;
	q->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->kick_fd < 0)
		return -errno;
	q->max_size = max_size;
	queue_clear(q);
	return 0;
}

int virtio_device_init(struct virtio_device *d,
		       const struct virtio_device_info *info,
		       struct guest_mem *mem, struct loop *loop,
		       uint64_t features, uint32_t config_bytes,
		       const uint16_t *queue_sizes, unsigned int queue_count,
		       struct error *e)
{
	int ret = -ENOMEM;

	assert(queue_count && queue_count <= VIRTIO_MAX_QUEUES);
	*d = (struct virtio_device){
		.info = info, .mem = mem, .loop = loop,
		.offered = features | CORE_FEATURES,
		.config_bytes = config_bytes,
	};
	d->queues = calloc(queue_count, sizeof(*d->queues));
	if (!d->queues)
		goto err;
	d->queue_count = queue_count;
	for (unsigned int i = 0; i < queue_count; i++) {
		d->queues[i].watch.fd = -1;
		d->queues[i].kick_fd = -1;
		d->queues[i].device = d;
		d->queues[i].loop = loop;
	}
	for (unsigned int i = 0; i < queue_count; i++) {
		ret = queue_init(&d->queues[i], mem, queue_sizes[i]);
		if (ret)
			goto err;
	}
	return 0;

err:
	virtio_device_deinit(d);
	return error_errno(e, ret, "%s: cannot make its queues", info->name);
}

void virtio_device_deinit(struct virtio_device *d)
{
	for (unsigned int i = 0; i < d->queue_count; i++) {
		virtqueue_destroy(d->queues[i].vq);
		if (d->queues[i].kick_fd >= 0)
			close(d->queues[i].kick_fd);
	}
	free(d->queues);
	d->queues = NULL;
	d->queue_count = 0;
}

void virtio_queue_set_loop(struct virtio_device *d, unsigned int index,
			   struct loop *loop)
{
	assert(!d->active);
	d->queues[index].loop = loop;
}

void virtio_device_destroy(struct virtio_device *d)
{
	if (!d)
		return;
	virtio_device_reset(d);
	d->info->ops->destroy(d);
}

/* Another loop of the device than its own, met for the first time at index. */
static bool new_loop(const struct virtio_device *d, unsigned int index)
{
	struct loop *loop = d->queues[index].loop;

	if (loop == d->loop)
		return false;
	for (unsigned int i = 0; i < index; i++)
		if (d->queues[i].loop == loop)
			return false;
	return true;
}

static void call_own(struct virtio_move *m, void (*fn)(void *opaque))
{
	m->loop = m->d->loop;
	loop_call(m->loop, fn, m);
}

static void call_others(struct virtio_move *m, void (*fn)(void *opaque))
{
	for (unsigned int i = 0; !m->ret && i < m->d->queue_count; i++) {
		if (!new_loop(m->d, i))
			continue;
		m->loop = m->d->queues[i].loop;
		loop_call(m->loop, fn, m);
	}
}

/* Call fn once on each of the device's loops; the first up to an error. */
static int call_own_first(struct virtio_move *m, void (*fn)(void *opaque))
{
	call_own(m, fn);
	call_others(m, fn);
	return m->ret;
}

static void call_own_last(struct virtio_move *m, void (*fn)(void *opaque))
{
	call_others(m, fn);
	call_own(m, fn);
}

/* Queues could not be set going: those that were are stopped again. */
static void give_up(struct virtio_device *d)
{
	struct virtio_move m = { .d = d };

	if (atomic_exchange(&d->broken, true))
		return;
	call_own_last(&m, virtio_close_on_loop);
	virtio_tell_needs_reset(d);
}

int virtio_device_activate(struct virtio_device *d,
			   const struct virtqueue_state *states)
{
	struct virtio_move m = { .d = d, .states = states };

	/* Also when it fails: only a reset takes the device out of it. */
	d->active = true;
	if (call_own_first(&m, virtio_activate_on_loop))
		give_up(d);
	return m.ret;
}

void virtio_queues_call(struct virtio_device *d,
			void (*fn)(struct virtio_device *d,
				   unsigned int index))
{
	struct virtio_move m = { .d = d, .fn = fn };

	if (d->active)
		call_own_last(&m, virtio_call_on_loop);
}

void virtio_device_quiesce(struct virtio_device *d)
{
	struct virtio_move m = { .d = d };

	if (d->quiesced)
		return;
	d->quiesced = true;
	if (d->active)
		call_own_last(&m, virtio_quiesce_on_loop);
}

void virtio_device_resume(struct virtio_device *d)
{
	struct virtio_move m = { .d = d };

	if (!d->quiesced)
		return;
	d->quiesced = false;
	if (!d->active)
		return;
	if (call_own_first(&m, virtio_resume_on_loop))
		give_up(d);
}

void virtio_device_memory_changed(struct virtio_device *d)
{
	struct virtio_move m = { .d = d };

	if (d->active && call_own_first(&m, virtio_find_on_loop))
		give_up(d);
}

void virtio_device_reset(struct virtio_device *d)
{
	struct virtio_move m = { .d = d };

	if (d->active)
		call_own_last(&m, virtio_reset_on_loop);
	d->active = false;
	atomic_store(&d->broken, false);
	d->features = 0;
	for (unsigned int i = 0; i < d->queue_count; i++)
		queue_clear(&d->queues[i]);
	atomic_store(&d->status, 0);
}

static void interrupts_on_loop(void *opaque)
{
	struct virtio_device *d = opaque;

	d->info->ops->interrupts_changed(d);
}

void virtio_device_interrupts_changed(struct virtio_device *d)
{
	if (d->active && d->info->ops->interrupts_changed)
		loop_call(d->loop, interrupts_on_loop, d);
}
