/* SPDX-License-Identifier: MIT */
/*
 * The virtio device core: life cycle and ownership of the queues.
 *
 * Called by vCPU threads and the main thread under the machine lock. The
 * functions named *_on_loop, the kick watches and what devices call run on the
 * device's loop. While the machine lock's holder moves the ownership it waits
 * for the loop, so d->active and d->quiesced never change under its feet.
 */
#include "virtio/device.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

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

void virtio_device_destroy(struct virtio_device *d)
{
	if (!d)
		return;
	virtio_device_reset(d);
	d->info->ops->destroy(d);
}

/* ---- on the loop's thread ------------------------------------------------ */

static void on_kick(struct loop_watch *w, uint32_t events)
{
	struct virtio_device *d = w->opaque;
	const struct virtio_queue *q = (const void *)
		((const char *)w - offsetof(struct virtio_queue, watch));
	uint64_t count;

	(void)events;
	(void)!read(w->fd, &count, sizeof(count));
	d->info->ops->handle_queue(d, (unsigned int)(q - d->queues));
}

static void unwatch_queues(struct virtio_device *d)
{
	for (unsigned int i = 0; i < d->queue_count; i++)
		loop_remove(&d->queues[i].watch);
}

/* Kicks that came before the watch count too: look into every queue. */
static int watch_queues(struct virtio_device *d)
{
	for (unsigned int i = 0; i < d->queue_count; i++) {
		struct virtio_queue *q = &d->queues[i];
		int ret;

		if (!virtqueue_enabled(q->vq))
			continue;
		ret = loop_add(d->loop, &q->watch, q->kick_fd, EPOLLIN, on_kick,
			       d);
		if (ret)
			return ret;
	}
	for (unsigned int i = 0; i < d->queue_count && !d->broken; i++)
		if (virtqueue_enabled(d->queues[i].vq))
			d->info->ops->handle_queue(d, i);
	return 0;
}

static int enable_queues(struct virtio_device *d)
{
	for (unsigned int i = 0; i < d->queue_count; i++) {
		struct virtio_queue *q = &d->queues[i];
		int ret;

		if (!q->enabled)
			continue;
		q->config.event_idx = virtio_has(d, VIRTIO_RING_F_EVENT_IDX);
		q->config.indirect = virtio_has(d, VIRTIO_RING_F_INDIRECT_DESC);
		ret = virtqueue_enable(q->vq, &q->config);
		if (ret)
			return ret;
	}
	return 0;
}

static void disable_queues(struct virtio_device *d)
{
	for (unsigned int i = 0; i < d->queue_count; i++)
		virtqueue_disable(d->queues[i].vq);
}

void virtio_queue_flush(struct virtio_device *d, unsigned int index)
{
	struct virtqueue *vq = d->queues[index].vq;

	virtqueue_publish(vq);
	if (virtqueue_should_notify(vq) && d->irq.queue)
		d->irq.queue(d->irq.opaque, index);
}

void virtio_queue_again(struct virtio_device *d, unsigned int index)
{
	uint64_t one = 1;

	(void)!write(d->queues[index].kick_fd, &one, sizeof(one));
}

void virtio_device_broken(struct virtio_device *d)
{
	if (d->broken)
		return;
	d->broken = true;
	unwatch_queues(d);
	disable_queues(d);
	/* VIRTIO 1.2, 2.1.2: the driver hears of it. */
	atomic_fetch_or(&d->status, VIRTIO_CONFIG_S_NEEDS_RESET);
	virtio_device_config_changed(d);
}

void virtio_device_config_begin(struct virtio_device *d)
{
	atomic_fetch_add(&d->config_generation, 1);
}

void virtio_device_config_changed(struct virtio_device *d)
{
	atomic_fetch_add(&d->config_generation, 1);
	if (d->irq.config)
		d->irq.config(d->irq.opaque);
}

struct activation {
	struct virtio_device *d;
	const struct virtqueue_state *states;	/* NULL: a fresh start */
	int ret;
};

static int load_queues(struct virtio_device *d,
		       const struct virtqueue_state *states)
{
	for (unsigned int i = 0; i < d->queue_count; i++) {
		int ret;

		if (!d->queues[i].enabled)
			continue;
		ret = virtqueue_load(d->queues[i].vq, &states[i]);
		if (ret)
			return ret;
	}
	return 0;
}

static void activate_on_loop(void *opaque)
{
	struct activation *a = opaque;
	struct virtio_device *d = a->d;

	a->ret = enable_queues(d);
	if (!a->ret && a->states)
		a->ret = load_queues(d, a->states);
	if (!a->ret)
		a->ret = d->info->ops->activate(d);
	if (!a->ret && !d->quiesced)
		a->ret = watch_queues(d);
	if (a->ret)
		virtio_device_broken(d);
}

static void quiesce_on_loop(void *opaque)
{
	struct virtio_device *d = opaque;

	unwatch_queues(d);
	d->info->ops->quiesce(d);
}

static void resume_on_loop(void *opaque)
{
	struct virtio_device *d = opaque;

	d->info->ops->resume(d);
	if (watch_queues(d))
		virtio_device_broken(d);
}

static void reset_on_loop(void *opaque)
{
	struct virtio_device *d = opaque;

	unwatch_queues(d);
	d->info->ops->reset(d);
	disable_queues(d);
	d->broken = false;
}

/* ---- machine lock -------------------------------------------------------- */

int virtio_device_activate(struct virtio_device *d,
			   const struct virtqueue_state *states)
{
	struct activation a = { .d = d, .states = states };

	/* Also when it fails: only a reset takes the device out of it. */
	d->active = true;
	loop_call(d->loop, activate_on_loop, &a);
	return a.ret;
}

void virtio_device_quiesce(struct virtio_device *d)
{
	if (d->quiesced)
		return;
	d->quiesced = true;
	if (d->active)
		loop_call(d->loop, quiesce_on_loop, d);
}

void virtio_device_resume(struct virtio_device *d)
{
	if (!d->quiesced)
		return;
	d->quiesced = false;
	if (d->active)
		loop_call(d->loop, resume_on_loop, d);
}

void virtio_device_reset(struct virtio_device *d)
{
	if (d->active)
		loop_call(d->loop, reset_on_loop, d);
	d->active = false;
	d->features = 0;
	for (unsigned int i = 0; i < d->queue_count; i++)
		queue_clear(&d->queues[i]);
	atomic_store(&d->status, 0);
}
