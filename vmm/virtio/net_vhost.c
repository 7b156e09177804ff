/* SPDX-License-Identifier: MIT */
/*
 * Pairs of queues in the hands of vhost-net, one handle each: ring 0 receives,
 * ring 1 transmits. Created on the main thread, the rest on the loop's thread.
 */
#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <sys/ioctl.h>

#include "virtio/net_internal.h"

#define NODE		"/dev/vhost-net"
#define RINGS		2u
#define RING_FEATURES	(UINT64_C(1) << VIRTIO_F_VERSION_1 |		\
			 UINT64_C(1) << VIRTIO_NET_F_MRG_RXBUF |	\
			 UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX |	\
			 UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC)

static int init_pair(struct net_pair *p, const int *vhost_fd, struct error *e)
{
	uint64_t features;
	int ret = vhost_fd ? vhost_adopt(&p->vhost, *vhost_fd) :
			     vhost_open(&p->vhost, NODE);

	if (!ret)
		ret = vhost_features(&p->vhost, &features);
	if (ret)
		return error_errno(e, ret, vhost_fd ? "vhost=on: no vhost-net" :
						      "vhost=on: " NODE);
	if (RING_FEATURES & ~features)
		return error_set(e, -ENOTSUP, "vhost=on: this kernel's "
				 "vhost-net is too old");
	/* Doorbells are not for the loop. */
	for (unsigned int i = 0; i < RINGS; i++)
		p->net->dev.queues[2 * p->index + i].external = true;
	return 0;
}

int net_vhost_init(struct virtio_net *n, const struct virtio_net_params *params,
		   struct error *e)
{
	const int *fds = params->vhost_fds;
	int ret = 0;

	if (!n->backend->headers)
		return error_config(e, -EINVAL, "vhost=on: the tap was opened "
				    "without IFF_VNET_HDR");
	for (unsigned int i = 0; !ret && i < n->pair_count; i++)
		ret = init_pair(n->pairs[i], fds ? &fds[i] : NULL, e);
	return ret;
}

static bool rings_enabled(const struct net_pair *p)
{
	return virtqueue_enabled(virtio_vq(&p->net->dev, 2 * p->index)) &&
	       virtqueue_enabled(virtio_vq(&p->net->dev, 2 * p->index + 1));
}

static int set_backend(const struct net_pair *p, int fd)
{
	int ret = 0;

	for (unsigned int i = 0; !ret && i < RINGS; i++) {
		struct vhost_vring_file backend = { i, fd };

		if (ioctl(p->vhost.fd, VHOST_NET_SET_BACKEND, &backend) < 0)
			ret = -errno;
	}
	return ret;
}

static void stop(struct net_pair *p)
{
	set_backend(p, -1);
	for (unsigned int i = 0; i < RINGS; i++)
		vhost_queue_stop(&p->vhost, &p->vhost_queues[i], i);
	p->vhost_running = false;
}

int net_vhost_start(struct net_pair *p)
{
	struct virtio_net *n = p->net;
	int ret;

	if (p->vhost_running || !rings_enabled(p) || !net_link_up(n))
		return 0;
	ret = vhost_prepare(&p->vhost, &n->dev, true);
	for (unsigned int i = 0; !ret && i < RINGS; i++)
		ret = vhost_queue_start(&p->vhost, &p->vhost_queues[i], i,
					&n->dev, 2 * p->index + i);
	if (!ret)
		ret = set_backend(p, n->backend->fds[p->index]);
	/* A kick before there is a back end would be for nothing. */
	for (unsigned int i = 0; !ret && i < RINGS; i++)
		ret = vhost_queue_kick(&p->vhost, &p->vhost_queues[i], i);
	if (ret)
		stop(p);
	else
		p->vhost_running = true;
	return ret;
}

void net_vhost_stop(struct net_pair *p)
{
	if (p->vhost_running)
		stop(p);
}

void net_vhost_rewire(struct net_pair *p)
{
	for (unsigned int i = 0; p->vhost_running && i < RINGS; i++)
		if (vhost_queue_rewire(&p->vhost, &p->vhost_queues[i], i))
			net_broken(p->net);
}

void net_vhost_set_memory(struct net_pair *p)
{
	if (p->vhost_running && vhost_set_memory(&p->vhost, p->net->dev.mem))
		net_broken(p->net);
}
