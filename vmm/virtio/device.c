/* SPDX-License-Identifier: MIT */
/*
 * The virtio device core: life cycle and ownership of the queues.
 *
 * Called by vCPU threads and the main thread under the machine lock. The
 * functions named *_on_loop, the kick watches and what devices call run on the
 * loop of the queues they are about. While the machine lock's holder moves the
 * ownership it waits for the loop, so d->active and d->quiesced never change
 * under its feet.
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

/* ---- on a queue's loop's thread ------------------------------------------- */

/* What a loop_call() is about: the queues of d that are on loop. */
struct move {
	struct virtio_device *d;
	struct loop *loop;
	const struct virtqueue_state *states;	/* NULL: a fresh start */
	void (*fn)(struct virtio_device *d, unsigned int index);
	int ret;
};

static bool moves(const struct move *m, unsigned int index)
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

static void unwatch_queues(const struct move *m)
{
	for (unsigned int i = 0; i < m->d->queue_count; i++)
		if (moves(m, i))
			loop_remove(&m->d->queues[i].watch);
}

static void close_queues(const struct move *m)
{
	for (unsigned int i = 0; i < m->d->queue_count; i++)
		if (moves(m, i))
			close_queue(&m->d->queues[i]);
}

/* Kicks that came before the watch count too: look into every queue. */
static int watch_queues(const struct move *m)
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

/* VIRTIO 1.2, 2.1.2: the driver hears of it. */
static void tell_needs_reset(struct virtio_device *d)
{
	atomic_fetch_or(&d->status, VIRTIO_CONFIG_S_NEEDS_RESET);
	virtio_device_config_changed(d);
}

/* Queues on other loops close when the kick arrives there. */
static void broken_on(struct virtio_device *d, struct loop *loop)
{
	struct move m = { .d = d, .loop = loop };

	if (atomic_exchange(&d->broken, true))
		return;
	close_queues(&m);
	for (unsigned int i = 0; i < d->queue_count; i++)
		if (!moves(&m, i))
			virtio_queue_again(d, i);
	tell_needs_reset(d);
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

static int activate_queues(const struct move *m)
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
static void activate_on_loop(void *opaque)
{
	struct move *m = opaque;
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

static void close_on_loop(void *opaque)
{
	close_queues(opaque);
}

static void call_queue_ops(const struct move *m,
			   void (*op)(struct virtio_device *d,
				      unsigned int index))
{
	for (unsigned int i = 0; op && i < m->d->queue_count; i++)
		if (moves(m, i))
			op(m->d, i);
}

/* Here and in a reset the device's own loop comes last. */
static void quiesce_on_loop(void *opaque)
{
	const struct move *m = opaque;
	const struct virtio_device_ops *ops = m->d->info->ops;

	unwatch_queues(m);
	call_queue_ops(m, ops->quiesce_queue);
	if (m->loop == m->d->loop && ops->quiesce)
		ops->quiesce(m->d);
}

static void resume_on_loop(void *opaque)
{
	struct move *m = opaque;
	const struct virtio_device_ops *ops = m->d->info->ops;

	if (m->loop == m->d->loop && ops->resume)
		ops->resume(m->d);
	m->ret = watch_queues(m);
}

static void find_on_loop(void *opaque)
{
	struct move *m = opaque;
	struct virtio_device *d = m->d;

	if (m->loop == d->loop && d->info->ops->memory_changed)
		d->info->ops->memory_changed(d);
	for (unsigned int i = 0; !m->ret && i < d->queue_count; i++)
		if (moves(m, i))
			m->ret = virtqueue_find_again(d->queues[i].vq,
						      &d->queues[i].config);
}

static void reset_on_loop(void *opaque)
{
	const struct move *m = opaque;
	const struct virtio_device_ops *ops = m->d->info->ops;

	unwatch_queues(m);
	call_queue_ops(m, ops->reset_queue);
	if (m->loop == m->d->loop && ops->reset)
		ops->reset(m->d);
	close_queues(m);
}

static void call_on_loop(void *opaque)
{
	const struct move *m = opaque;

	for (unsigned int i = 0; i < m->d->queue_count; i++)
		if (moves(m, i) && virtqueue_enabled(m->d->queues[i].vq))
			m->fn(m->d, i);
}

static void interrupts_on_loop(void *opaque)
{
	struct virtio_device *d = opaque;

	d->info->ops->interrupts_changed(d);
}

/* ---- machine lock -------------------------------------------------------- */

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

static void call_own(struct move *m, void (*fn)(void *opaque))
{
	m->loop = m->d->loop;
	loop_call(m->loop, fn, m);
}

static void call_others(struct move *m, void (*fn)(void *opaque))
{
	for (unsigned int i = 0; !m->ret && i < m->d->queue_count; i++) {
		if (!new_loop(m->d, i))
			continue;
		m->loop = m->d->queues[i].loop;
		loop_call(m->loop, fn, m);
	}
}

/* Call fn once on each of the device's loops; the first up to an error. */
static int call_own_first(struct move *m, void (*fn)(void *opaque))
{
	call_own(m, fn);
	call_others(m, fn);
	return m->ret;
}

static void call_own_last(struct move *m, void (*fn)(void *opaque))
{
	call_others(m, fn);
	call_own(m, fn);
}

/* Queues could not be set going: those that were are stopped again. */
static void give_up(struct virtio_device *d)
{
	struct move m = { .d = d };

	if (atomic_exchange(&d->broken, true))
		return;
	call_own_last(&m, close_on_loop);
	tell_needs_reset(d);
}

int virtio_device_activate(struct virtio_device *d,
			   const struct virtqueue_state *states)
{
	struct move m = { .d = d, .states = states };

	/* Also when it fails: only a reset takes the device out of it. */
	d->active = true;
	if (call_own_first(&m, activate_on_loop))
		give_up(d);
	return m.ret;
}

void virtio_queues_call(struct virtio_device *d,
			void (*fn)(struct virtio_device *d,
				   unsigned int index))
{
	struct move m = { .d = d, .fn = fn };

	if (d->active)
		call_own_last(&m, call_on_loop);
}

void virtio_device_quiesce(struct virtio_device *d)
{
	struct move m = { .d = d };

	if (d->quiesced)
		return;
	d->quiesced = true;
	if (d->active)
		call_own_last(&m, quiesce_on_loop);
}

void virtio_device_resume(struct virtio_device *d)
{
	struct move m = { .d = d };

	if (!d->quiesced)
		return;
	d->quiesced = false;
	if (!d->active)
		return;
	if (call_own_first(&m, resume_on_loop))
		give_up(d);
}

void virtio_device_memory_changed(struct virtio_device *d)
{
	struct move m = { .d = d };

	if (d->active && call_own_first(&m, find_on_loop))
		give_up(d);
}

void virtio_device_reset(struct virtio_device *d)
{
	struct move m = { .d = d };

	if (d->active)
		call_own_last(&m, reset_on_loop);
	d->active = false;
	atomic_store(&d->broken, false);
	d->features = 0;
	for (unsigned int i = 0; i < d->queue_count; i++)
		queue_clear(&d->queues[i]);
	atomic_store(&d->status, 0);
}

void virtio_device_interrupts_changed(struct virtio_device *d)
{
	if (d->active && d->info->ops->interrupts_changed)
		loop_call(d->loop, interrupts_on_loop, d);
}
