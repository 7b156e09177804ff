/* SPDX-License-Identifier: MIT */
/*
 * The network device and its back end: what the one offers of what the other
 * can, the link, and another back end. Offloads are set on the loop's thread;
 * the link and the back end change on the main thread, machine lock held.
 */
#include <errno.h>

#include "virtio/net_internal.h"

#define BIT(n)		(UINT64_C(1) << (n))

/* What virtio calls what a back end can offload. */
static const struct {
	unsigned int offload;
	uint64_t guest, host;
} offload_features[] = {
	{ NET_CSUM, BIT(VIRTIO_NET_F_GUEST_CSUM), BIT(VIRTIO_NET_F_CSUM) },
	{ NET_TSO4, BIT(VIRTIO_NET_F_GUEST_TSO4), BIT(VIRTIO_NET_F_HOST_TSO4) },
	{ NET_TSO6, BIT(VIRTIO_NET_F_GUEST_TSO6), BIT(VIRTIO_NET_F_HOST_TSO6) },
	{ NET_ECN, BIT(VIRTIO_NET_F_GUEST_ECN), BIT(VIRTIO_NET_F_HOST_ECN) },
	{ NET_USO, BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6),
	  BIT(VIRTIO_NET_F_HOST_USO) },
};

#define OFFLOADS (sizeof(offload_features) / sizeof(offload_features[0]))

uint64_t net_guest_features(unsigned int offloads)
{
	uint64_t features = 0;

	for (size_t i = 0; i < OFFLOADS; i++)
		if (offloads & offload_features[i].offload)
			features |= offload_features[i].guest;
	return features;
}

uint64_t net_backend_features(const struct net_backend *b)
{
	uint64_t features = net_guest_features(b->offloads);

	for (size_t i = 0; i < OFFLOADS; i++)
		if (b->offloads & offload_features[i].offload)
			features |= offload_features[i].host;
	if (b->offloads)
		features |= BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	if (b->pairs > 1)
		features |= BIT(VIRTIO_NET_F_MQ);
	if (b->mtu && b->mtu != NET_MTU)
		features |= BIT(VIRTIO_NET_F_MTU);
	return features;
}

int net_apply_offloads(struct virtio_net *n, uint64_t guest_offloads)
{
	const struct net_backend *b = n->backend;
	unsigned int offloads = 0;
	int ret;

	for (size_t i = 0; i < OFFLOADS; i++)
		if ((guest_offloads & offload_features[i].guest) ==
		    offload_features[i].guest)
			offloads |= offload_features[i].offload;
	ret = b->ops->set_offloads ?
		      b->ops->set_offloads(n->backend, offloads) : 0;
	if (!ret)
		n->guest_offloads = guest_offloads;
	return ret;
}

static void link_on_loop(void *opaque)
{
	struct virtio_net *n = opaque;

	/* vhost would not notice. */
	for (unsigned int i = 0; n->vhost && i < n->pair_count; i++)
		if (!net_link_up(n))
			net_vhost_stop(n->pairs[i]);
	if (n->working && net_start_pairs(n))
		net_broken(n);
	/* What came before the change is not for after it. */
	for (unsigned int i = 0; !n->vhost && i < n->enabled_pairs; i++)
		net_pair_receive(n->pairs[i]);
}

void virtio_net_set_link(struct virtio_device *d, bool up)
{
	struct virtio_net *n = to_net(d);

	if (n->link_up == up)
		return;
	virtio_device_config_begin(d);
	n->link_up = up;
	if (d->active)
		loop_call(d->loop, link_on_loop, n);
	virtio_device_config_changed(d);
}

bool virtio_net_link(const struct virtio_device *d)
{
	return net_link_up((const struct virtio_net *)d);
}

struct swap {
	struct virtio_net *n;
	struct net_backend *old, *new;
	int ret;
};

static void swap_on_loop(void *opaque)
{
	struct swap *s = opaque;
	struct virtio_net *n = s->n;
	struct net_backend *old = n->backend;

	net_stop_pairs(n, 0);
	n->backend = s->new;
	s->ret = net_apply_offloads(n, n->guest_offloads);
	if (!s->ret && s->new->ops->enable_pairs)
		s->ret = s->new->ops->enable_pairs(s->new, n->enabled_pairs);
	if (s->ret) {
		n->backend = old;
	} else {
		for (unsigned int i = 0; i < n->pair_count; i++)
			n->pairs[i]->lost = false;
		n->lost = false;
		/* Another network learns where the address is. */
		net_announce(n);
		s->old = old;
	}
	if (n->working && net_start_pairs(n))
		net_broken(n);
}

/* A driver that is to come may want all that was offered. */
static int check_other(const struct virtio_net *n, const struct net_backend *b,
		       struct error *e)
{
	uint64_t lacking = n->dev.offered & net_backend_features(n->backend) &
			   ~net_backend_features(b) & ~BIT(VIRTIO_NET_F_MTU);
	unsigned int mtu = n->mtu ? n->mtu : NET_MTU;

	/* 5.1.4.1: the MTU stays what it was, so what is sent may be so long. */
	if (b->mtu && b->mtu < mtu)
		return error_class_set(e, ERROR_NOT_SUPPORTED, -ENOTSUP,
				       "%s: the other back end's MTU is %u, "
				       "less than %u", n->id, b->mtu, mtu);
	if (lacking || b->pairs < n->pair_count || (n->vhost && !b->headers))
		return error_class_set(e, ERROR_NOT_SUPPORTED, -ENOTSUP,
				       "%s: the other back end lacks features "
				       "0x%llx or queues", n->id,
				       (unsigned long long)lacking);
	return 0;
}

int virtio_net_set_backend(struct virtio_device *d, struct net_backend *b,
			   struct error *e)
{
	struct virtio_net *n = to_net(d);
	struct swap s = { .n = n, .new = b };
	int ret = check_other(n, b, e);

	if (ret)
		return ret;
	virtio_device_config_begin(d);
	loop_call(d->loop, swap_on_loop, &s);
	virtio_device_config_changed(d);
	if (s.ret)
		return error_errno(e, s.ret, "%s", n->id);
	net_backend_destroy(s.old);
	return 0;
}
