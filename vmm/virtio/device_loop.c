/* SPDX-License-Identifier: MIT */
/* The queues of a virtio device, and what devices call, on the queues' loops. */
#include "virtio/device_loop.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <unistd.h>

static bool moves(const struct virtio_move *m, unsigned int index)
{
	return m->d->queues[index].loop == m->loop;
}

static unsigned int index_of(const struct virtio_queue *q)
{
	return (unsigned int)(q - q->device->queues);
}

static void close_queue(struct virtio_queue *q)
{
	loop_remove(&q->watch);
	virtqueue_disable(q->vq);
}

static void on_kick(struct loop_watch *w, uint32_t events)
{
	struct virtio_queue *q = w->opaque;
	struct virtio_device *d = q->device;

	(void)events;
	if (atomic_load(&d->broken))
		close_queue(q);
	else
		d->info->ops->handle_queue(d, index_of(q));
}

static void unwatch_queues(const struct virtio_move *m)
{
	for (unsigned int i = 0; i < m->d->queue_count; i++)
		if (moves(m, i))
			loop_remove(&m->d->queues[i].watch);
}

static void close_queues(const struct virtio_move *m)
{
	for (unsigned int i = 0; i < m->d->queue_count; i++)
		if (moves(m, i))
			close_queue(&m->d->queues[i]);
}

/* Kicks that came before the watch count too: look into every queue. */
static int watch_queues(const struct virtio_move *m)
{
	struct virtio_device *d = m->d;

	for (unsigned int i = 0; i < d->queue_count; i++) {
		struct virtio_queue *q = &d->queues[i];
		int ret;

		if (!moves(m, i) || !virtqueue_enabled(q->vq) || q->external)
			continue;
		ret = loop_add(q->loop, &q->watch, q->kick_fd, EPOLLIN | EPOLLET,
			       on_kick, q);
		if (ret)
			return ret;
	}
	for (unsigned int i = 0; i < d->queue_count; i++)
		if (moves(m, i) && virtqueue_enabled(d->queues[i].vq) &&
		    !atomic_load(&d->broken))
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

void virtio_tell_needs_reset(struct virtio_device *d)
{
	atomic_fetch_or(&d->status, VIRTIO_CONFIG_S_NEEDS_RESET);
	virtio_device_config_changed(d);
}

/* Queues on other loops close when the kick arrives there. */
static void broken_on(struct virtio_device *d, struct loop *loop)
{
	struct virtio_move m = { .d = d, .loop = loop };

	if (atomic_exchange(&d->broken, true))
		return;
	close_queues(&m);
	for (unsigned int i = 0; i < d->queue_count; i++)
		if (!moves(&m, i))
			virtio_queue_again(d, i);
	virtio_tell_needs_reset(d);
}

void virtio_device_broken(struct virtio_device *d)
{
	broken_on(d, d->loop);
}

void virtio_queue_broken(struct virtio_device *d, unsigned int index)
{
	broken_on(d, d->queues[index].loop);
}

int virtio_queue_drain(struct virtio_device *d, unsigned int index,
		       unsigned int budget,
		       int (*take)(struct virtio_device *d,
				   unsigned int index))
{
	struct virtqueue *vq = d->queues[index].vq;
	unsigned int cost = 0;
	int ret = 0;

	if (!virtqueue_size(vq))
		return 0;
	virtqueue_disarm(vq);
	while (cost < budget) {
		ret = take(d, index);
		if (ret > 0)
			cost += (unsigned int)ret;
		else if (ret || !virtqueue_arm(vq))
			break;
	}
	virtio_queue_flush(d, index);
	if (ret > 0)
		virtio_queue_again(d, index);
	else if (ret == -EPROTO)
		virtio_device_broken(d);
	return ret;
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

static int activate_queues(const struct virtio_move *m)
{
	struct virtio_device *d = m->d;

	if (!d->info->ops->activate_queue)
		return 0;
	for (unsigned int i = 0; i < d->queue_count; i++) {
		int ret;

		if (!moves(m, i) || !virtqueue_enabled(d->queues[i].vq))
			continue;
		ret = d->info->ops->activate_queue(d, i);
		if (ret)
			return ret;
	}
	return 0;
}

/* The device's own loop comes first. */
void virtio_activate_on_loop(void *opaque)
{
	struct virtio_move *m = opaque;
	struct virtio_device *d = m->d;

	if (m->loop == d->loop) {
		m->ret = enable_queues(d);
		if (!m->ret && m->states)
			m->ret = load_queues(d, m->states);
		if (!m->ret && d->info->ops->activate)
			m->ret = d->info->ops->activate(d);
	}
	if (!m->ret)
		m->ret = activate_queues(m);
	if (!m->ret && !d->quiesced)
		m->ret = watch_queues(m);
}

void virtio_close_on_loop(void *opaque)
{
	close_queues(opaque);
}

static void call_queue_ops(const struct virtio_move *m,
			   void (*op)(struct virtio_device *d,
				      unsigned int index))
{
	for (unsigned int i = 0; op && i < m->d->queue_count; i++)
		if (moves(m, i))
			op(m->d, i);
}

/* Here and in a reset the device's own loop comes last. */
void virtio_quiesce_on_loop(void *opaque)
{
	const struct virtio_move *m = opaque;
	const struct virtio_device_ops *ops = m->d->info->ops;

	unwatch_queues(m);
	call_queue_ops(m, ops->quiesce_queue);
	if (m->loop == m->d->loop && ops->quiesce)
		ops->quiesce(m->d);
}

void virtio_resume_on_loop(void *opaque)
{
	struct virtio_move *m = opaque;
	const struct virtio_device_ops *ops = m->d->info->ops;

	if (m->loop == m->d->loop && ops->resume)
		ops->resume(m->d);
	m->ret = watch_queues(m);
}

void virtio_find_on_loop(void *opaque)
{
	struct virtio_move *m = opaque;
	struct virtio_device *d = m->d;

	if (m->loop == d->loop && d->info->ops->memory_changed)
		d->info->ops->memory_changed(d);
	for (unsigned int i = 0; !m->ret && i < d->queue_count; i++)
		if (moves(m, i))
			m->ret = virtqueue_find_again(d->queues[i].vq,
						      &d->queues[i].config);
}

void virtio_reset_on_loop(void *opaque)
{
	const struct virtio_move *m = opaque;
	const struct virtio_device_ops *ops = m->d->info->ops;

	unwatch_queues(m);
	call_queue_ops(m, ops->reset_queue);
	if (m->loop == m->d->loop && ops->reset)
		ops->reset(m->d);
	close_queues(m);
}

void virtio_call_on_loop(void *opaque)
{
	const struct virtio_move *m = opaque;

	for (unsigned int i = 0; i < m->d->queue_count; i++)
		if (moves(m, i) && virtqueue_enabled(m->d->queues[i].vq))
			m->fn(m->d, i);
}
