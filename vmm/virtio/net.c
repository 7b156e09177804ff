/* SPDX-License-Identifier: MIT */
/*
 * The network device (VIRTIO 1.2, 5.1). Create and destroy run on the main
 * thread, the configuration space under the machine lock, the rest on the
 * device's loop.
 */
#include "virtio/net.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/net_internal.h"

#define BIT(n)		(UINT64_C(1) << (n))

/* ---- loop's thread ------------------------------------------------------- */

static int start_pair(struct net_pair *p)
{
	return p->net->vhost ? net_vhost_start(p) : net_pair_start(p);
}

static void stop_pair(struct net_pair *p)
{
	if (p->net->vhost)
		net_vhost_stop(p);
	else
		net_pair_stop(p);
}

void net_stop_pairs(struct virtio_net *n, unsigned int from)
{
	for (unsigned int i = from; i < n->pair_count; i++)
		stop_pair(n->pairs[i]);
}

int net_start_pairs(struct virtio_net *n)
{
	int ret = 0;

	for (unsigned int i = 0; !ret && i < n->enabled_pairs; i++)
		ret = start_pair(n->pairs[i]);
	return ret;
}

int net_enable_pairs(struct virtio_net *n, unsigned int count)
{
	const struct net_backend *b = n->backend;
	int ret = b->ops->enable_pairs ?
			  b->ops->enable_pairs(n->backend, count) : 0;

	if (ret)
		return ret;
	n->enabled_pairs = count;
	net_stop_pairs(n, count);
	return n->working ? net_start_pairs(n) : 0;
}

void net_announce(struct virtio_net *n)
{
	if (virtio_has(&n->dev, VIRTIO_NET_F_GUEST_ANNOUNCE))
		n->announce = true;
}

void net_backend_lost(struct virtio_net *n)
{
	virtio_device_config_begin(&n->dev);
	n->lost = true;
	for (unsigned int i = 0; i < n->pair_count; i++) {
		stop_pair(n->pairs[i]);
		n->pairs[i]->lost = true;
		/* What waited for room is dropped now. */
		virtio_queue_again(&n->dev, 2 * i + 1);
	}
	virtio_device_config_changed(&n->dev);
}

void net_broken(struct virtio_net *n)
{
	virtio_device_broken(&n->dev);
	net_stop_pairs(n, 0);
}

static int net_activate(struct virtio_device *d)
{
	struct virtio_net *n = to_net(d);
	uint64_t guest = net_guest_features(~0u) & d->features;
	int ret = net_apply_offloads(n, guest);

	/* 5.1.6.5.5: with several pairs, too, the first is in use. */
	n->working = !d->quiesced;
	return ret ? ret : net_enable_pairs(n, 1);
}

static void net_handle_queue(struct virtio_device *d, unsigned int index)
{
	struct virtio_net *n = to_net(d);
	struct net_pair *p;

	if (virtio_has(d, VIRTIO_NET_F_CTRL_VQ) &&
	    index == net_ctrl_index(n)) {
		net_ctrl_handle(n);
		return;
	}
	if (index / 2 >= n->pair_count)
		return;
	p = n->pairs[index / 2];
	if (n->vhost)
		return;
	if (index % 2)
		net_pair_transmit(p);
	else
		net_pair_receive(p);
}

static void net_quiesce(struct virtio_device *d)
{
	to_net(d)->working = false;
	net_stop_pairs(to_net(d), 0);
}

static void net_resume(struct virtio_device *d)
{
	to_net(d)->working = true;
	if (net_start_pairs(to_net(d)))
		net_broken(to_net(d));
}

static void net_reset(struct virtio_device *d)
{
	struct virtio_net *n = to_net(d);

	net_quiesce(d);
	for (unsigned int i = 0; i < n->pair_count; i++)
		n->pairs[i]->kept_bytes = 0;
	net_enable_pairs(n, 1);
	net_apply_offloads(n, 0);
	n->announce = false;
	n->filter = (struct net_filter){ .promiscuous = true };
	net_set_mac(n, n->first_mac);
}

static void net_interrupts_changed(struct virtio_device *d)
{
	struct virtio_net *n = to_net(d);

	for (unsigned int i = 0; n->vhost && i < n->pair_count; i++)
		net_vhost_rewire(n->pairs[i]);
}

static void net_memory_changed(struct virtio_device *d)
{
	struct virtio_net *n = to_net(d);

	for (unsigned int i = 0; n->vhost && i < n->pair_count; i++)
		net_vhost_set_memory(n->pairs[i]);
}

/* ---- machine lock -------------------------------------------------------- */

static void net_config_read(struct virtio_device *d, uint32_t offset,
			    uint8_t *data, uint32_t len)
{
	struct virtio_net *n = to_net(d);
	uint16_t status = net_link_up(n) ? VIRTIO_NET_S_LINK_UP : 0;
	uint64_t mac = n->mac;
	struct virtio_net_config config = {
		.max_virtqueue_pairs = htole16((uint16_t)n->pair_count),
		.mtu = htole16(n->mtu),
	};

	if (n->announce)
		status |= VIRTIO_NET_S_ANNOUNCE;
	config.status = htole16(status);
	memcpy(config.mac, &mac, sizeof(config.mac));
	memcpy(data, (const uint8_t *)&config + offset, len);
}

/* ---- counters ------------------------------------------------------------ */

static void add_counters(struct virtio_net_counters *sum,
			 const struct net_counters *c)
{
	sum->bytes += c->bytes;
	sum->packets += c->packets;
	sum->errors += c->errors;
	sum->drops += c->drops;
}

void virtio_net_count(const struct virtio_device *d,
		      struct virtio_net_counters *received,
		      struct virtio_net_counters *sent)
{
	const struct virtio_net *n = (const struct virtio_net *)d;

	*received = *sent = (struct virtio_net_counters){ 0 };
	for (unsigned int i = 0; i < n->pair_count; i++) {
		add_counters(received, &n->pairs[i]->received);
		add_counters(sent, &n->pairs[i]->sent);
	}
}

/* ---- main thread --------------------------------------------------------- */

static void net_free(struct virtio_net *n)
{
	for (unsigned int i = 0; n->pairs && i < n->pair_count; i++) {
		if (!n->pairs[i])
			continue;
		vhost_close(&n->pairs[i]->vhost);
		free(n->pairs[i]);
	}
	free(n->pairs);
	free(n->id);
	free(n);
}

static void net_destroy(struct virtio_device *d)
{
	struct virtio_net *n = to_net(d);

	virtio_device_deinit(d);
	net_backend_destroy(n->backend);
	net_free(n);
}

static const struct virtio_device_ops net_ops = {
	.config_read = net_config_read,
	.activate = net_activate,
	.handle_queue = net_handle_queue,
	.quiesce = net_quiesce,
	.resume = net_resume,
	.reset = net_reset,
	.interrupts_changed = net_interrupts_changed,
	.memory_changed = net_memory_changed,
	.save = net_save,
	.load = net_load,
	.destroy = net_destroy,
};

static const struct virtio_device_info net_info = {
	.name = "virtio-net",
	.type_id = VIRTIO_ID_NET,
	.pci_class = 0x020000,		/* network, Ethernet */
	.ops = &net_ops,
};

static int make_pairs(struct virtio_net *n)
{
	n->pairs = calloc(n->pair_count, sizeof(struct net_pair *));
	for (unsigned int i = 0; n->pairs && i < n->pair_count; i++) {
		struct net_pair *p = calloc(1, sizeof(*p));

		if (!p)
			return -ENOMEM;
		n->pairs[i] = p;
		p->net = n;
		p->index = i;
		p->watch.fd = -1;
		p->gather.watch.fd = -1;
		p->vhost = (struct vhost)VHOST_INIT;
	}
	return n->pairs ? 0 : -ENOMEM;
}

static int init_device(struct virtio_net *n, struct guest_mem *mem,
		       struct loop *loop, struct error *e)
{
	uint16_t sizes[2 * NET_MAX_PAIRS + 1];
	unsigned int data = 2 * n->pair_count;
	uint64_t features =
		net_backend_features(n->backend) | BIT(VIRTIO_NET_F_MAC) |
		BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_STATUS) |
		BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) |
		BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |
		BIT(VIRTIO_NET_F_GUEST_ANNOUNCE);

	for (unsigned int i = 0; i < data; i++)
		sizes[i] = NET_QUEUE_SIZE;
	sizes[data] = NET_CTRL_SIZE;
	/* Up to the MTU; what follows belongs to features that are not here. */
	return virtio_device_init(&n->dev, &net_info, mem, loop, features,
				  offsetof(struct virtio_net_config, speed),
				  sizes, data + 1, e);
}

int virtio_net_create(struct virtio_device **out,
		      const struct virtio_net_params *p, struct guest_mem *mem,
		      struct loop *loop, struct error *e)
{
	struct virtio_net *n = calloc(1, sizeof(*n));
	int ret = -ENOMEM;

	if (!n)
		return error_errno(e, ret, "virtio-net");
	n->backend = p->backend;
	n->mtu = p->backend->mtu != NET_MTU ? p->backend->mtu : 0;
	n->pair_count = p->backend->pairs;
	n->vhost = p->vhost;
	n->filter.promiscuous = true;
	n->id = strdup(p->id);
	n->link_up = true;
	memcpy(n->first_mac, p->mac, sizeof(n->first_mac));
	net_set_mac(n, p->mac);
	if (!n->id || make_pairs(n)) {
		error_errno(e, ret, "virtio-net");
		goto err_free;
	}
	ret = init_device(n, mem, loop, e);
	if (ret)
		goto err_free;
	n->enabled_pairs = n->pair_count;
	ret = n->vhost ? net_vhost_init(n, p, e) : 0;
	if (!ret && (ret = net_enable_pairs(n, 1)))
		error_errno(e, ret, "%s: cannot detach its queues", n->id);
	if (ret)
		goto err_deinit;
	*out = &n->dev;
	return 0;

err_deinit:
	virtio_device_deinit(&n->dev);
err_free:
	net_free(n);
	return ret;
}
