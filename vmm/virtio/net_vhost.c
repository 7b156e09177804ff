/* SPDX-License-Identifier: MIT */
/*
 * A pair of queues in the hands of vhost-net. Created and destroyed on the main
 * thread, the rest on the loop's thread.
 *
 * Doorbells signal the queue's own kick_fd, which vhost waits for. Interrupts
 * go from vhost straight to the eventfd of the queue's MSI-X vector, which
 * counts while the vector is masked; without one they go through an eventfd of
 * ours and the transport.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "virtio/net_internal.h"

#define MAX_REGIONS	64
#define RING_FEATURES	(UINT64_C(1) << VIRTIO_F_VERSION_1 |		\
			 UINT64_C(1) << VIRTIO_NET_F_MRG_RXBUF |	\
			 UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX |	\
			 UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC)

static void on_call(struct loop_watch *w, uint32_t events)
{
	struct net_pair *p = w->opaque;
	struct virtio_device *d = &p->net->dev;
	unsigned int ring = (unsigned int)(w - p->call_watches);
	uint64_t count;

	(void)events;
	(void)!read(w->fd, &count, sizeof(count));
	if (d->irq.queue)
		d->irq.queue(d->irq.opaque, 2 * p->index + ring);
}

static int init_pair(struct net_pair *p, struct error *e)
{
	int ret = vhost_net_create(&p->vhost, e);

	if (ret)
		return ret;
	if (RING_FEATURES & ~vhost_net_features(p->vhost))
		return error_set(e, -ENOTSUP, "vhost=on: this kernel's "
				 "vhost-net is too old");
	for (unsigned int i = 0; i < 2; i++) {
		p->call_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (p->call_fds[i] < 0)
			return error_errno(e, -errno, "vhost=on: eventfd");
		/* Its doorbells are not for the loop. */
		p->net->dev.queues[2 * p->index + i].external = true;
	}
	return 0;
}

int net_vhost_init(struct virtio_net *n, struct error *e)
{
	int ret = 0;

	if (!n->backend->headers)
		return error_config(e, -EINVAL, "vhost=on: the tap was opened "
				    "without IFF_VNET_HDR");
	for (unsigned int i = 0; !ret && i < n->pair_count; i++)
		ret = init_pair(n->pairs[i], e);
	return ret;
}

void net_vhost_deinit(struct net_pair *p)
{
	vhost_net_destroy(p->vhost);
	for (unsigned int i = 0; i < 2; i++)
		if (p->call_fds[i] >= 0)
			close(p->call_fds[i]);
}

/* Where vhost shall signal the ring, now. */
static int call_fd(struct net_pair *p, unsigned int ring)
{
	struct virtio_device *d = &p->net->dev;
	int fd = -1;

	if (d->irq.queue_eventfd)
		fd = d->irq.queue_eventfd(d->irq.opaque, 2 * p->index + ring);
	return fd >= 0 ? fd : p->call_fds[ring];
}

static int set_memory(struct net_pair *p)
{
	struct vhost_region regions[MAX_REGIONS];
	const struct guest_mem_region *r;
	unsigned int count = 0;

	for (; (r = guest_mem_region(p->net->dev.mem, count)); count++) {
		if (count == MAX_REGIONS)
			return -E2BIG;
		regions[count] = (struct vhost_region){
			.guest = r->base, .len_bytes = r->len_bytes,
			.host = r->host,
		};
	}
	return vhost_net_set_memory(p->vhost, regions, count);
}

static int set_ring(struct net_pair *p, unsigned int ring)
{
	struct virtio_device *d = &p->net->dev;
	struct virtio_queue *q = &d->queues[2 * p->index + ring];
	size_t size = q->config.size;
	struct virtqueue_state state;
	struct vhost_ring r = {
		.size = q->config.size,
		.kick_fd = q->kick_fd,
		.call_fd = call_fd(p, ring),
	};

	virtqueue_save(q->vq, &state);
	r.next = state.next_avail;
	r.desc = guest_mem_ring(d->mem, q->config.desc, 16 * size);
	r.avail = guest_mem_ring(d->mem, q->config.avail, 6 + 2 * size);
	r.used = guest_mem_ring(d->mem, q->config.used, 6 + 8 * size);
	return vhost_net_set_ring(p->vhost, ring, &r);
}

static bool rings_enabled(const struct net_pair *p)
{
	return virtqueue_enabled(virtio_vq(&p->net->dev, 2 * p->index)) &&
	       virtqueue_enabled(virtio_vq(&p->net->dev, 2 * p->index + 1));
}

int net_vhost_start(struct net_pair *p)
{
	struct virtio_net *n = p->net;
	uint64_t features = n->dev.features & RING_FEATURES;
	int ret;

	if (p->vhost_running || !rings_enabled(p) || !net_link_up(n))
		return 0;
	ret = vhost_net_set_features(p->vhost, features);
	if (!ret)
		ret = set_memory(p);
	for (unsigned int i = 0; !ret && i < 2; i++) {
		ret = loop_add(n->dev.loop, &p->call_watches[i],
			       p->call_fds[i], EPOLLIN, on_call, p);
		if (!ret)
			ret = set_ring(p, i);
	}
	if (!ret)
		ret = vhost_net_start(p->vhost, n->backend->fds[p->index]);
	if (ret) {
		loop_remove(&p->call_watches[0]);
		loop_remove(&p->call_watches[1]);
		return ret;
	}
	p->vhost_running = true;
	/* What was made available before vhost looked. */
	for (unsigned int i = 0; i < 2; i++)
		virtio_queue_again(&n->dev, 2 * p->index + i);
	return 0;
}

void net_vhost_stop(struct net_pair *p)
{
	if (!p->vhost_running)
		return;
	vhost_net_stop(p->vhost);
	for (unsigned int i = 0; i < 2; i++) {
		struct virtqueue *vq = virtio_vq(&p->net->dev,
						 2 * p->index + i);
		struct virtqueue_state s = { 0 };

		loop_remove(&p->call_watches[i]);
		/* It uses chains in order and leaves none behind. */
		if (!vhost_net_get_next(p->vhost, i, &s.next_avail)) {
			s.next_used = s.next_avail;
			virtqueue_load(vq, &s);
		}
	}
	p->vhost_running = false;
}

void net_vhost_rewire(struct net_pair *p)
{
	for (unsigned int i = 0; p->vhost_running && i < 2; i++)
		vhost_net_set_call(p->vhost, i, call_fd(p, i));
}
