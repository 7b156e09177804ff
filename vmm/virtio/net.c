/* SPDX-License-Identifier: MIT */
/*
 * The network device (VIRTIO 1.2, 5.1). Create and destroy run on the main
 * thread, the configuration space under the machine lock, the rest on the
 * device's loop; set_link() and set_backend() go there by loop_call().
 */
#include "virtio/net.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"
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

static uint64_t guest_features(unsigned int offloads)
{
	uint64_t features = 0;

	for (size_t i = 0; i < OFFLOADS; i++)
		if (offloads & offload_features[i].offload)
			features |= offload_features[i].guest;
	return features;
}

static uint64_t backend_features(const struct net_backend *b)
{
	uint64_t features = guest_features(b->offloads);

	for (size_t i = 0; i < OFFLOADS; i++)
		if (b->offloads & offload_features[i].offload)
			features |= offload_features[i].host;
	if (b->offloads)
		features |= BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	if (b->pairs > 1)
		features |= BIT(VIRTIO_NET_F_MQ);
	if (b->mtu)
		features |= BIT(VIRTIO_NET_F_MTU);
	return features;
}

/* ---- loop's thread ------------------------------------------------------- */

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

static void stop_pairs(struct virtio_net *n, unsigned int from)
{
	for (unsigned int i = from; i < n->pair_count; i++)
		stop_pair(n->pairs[i]);
}

static int start_pairs(struct virtio_net *n)
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
	stop_pairs(n, count);
	return n->working ? start_pairs(n) : 0;
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
	stop_pairs(n, 0);
}

static int net_activate(struct virtio_device *d)
{
	struct virtio_net *n = to_net(d);
	uint64_t guest = guest_features(~0u) & d->features;
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
	stop_pairs(to_net(d), 0);
}

static void net_resume(struct virtio_device *d)
{
	to_net(d)->working = true;
	if (start_pairs(to_net(d)))
		net_broken(to_net(d));
}

static void set_mac(struct virtio_net *n, const uint8_t mac[6])
{
	uint64_t value = 0;

	memcpy(&value, mac, 6);
	n->mac = value;
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
	set_mac(n, n->first_mac);
}

static void net_interrupts_changed(struct virtio_device *d)
{
	struct virtio_net *n = to_net(d);

	for (unsigned int i = 0; n->vhost && i < n->pair_count; i++)
		net_vhost_rewire(n->pairs[i]);
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
		.mtu = htole16(n->backend->mtu),
	};

	if (n->announce)
		status |= VIRTIO_NET_S_ANNOUNCE;
	config.status = htole16(status);
	memcpy(config.mac, &mac, sizeof(config.mac));
	memcpy(data, (const uint8_t *)&config + offset, len);
}

static void net_save(struct virtio_device *d, struct state_writer *w)
{
	const struct virtio_net *n = to_net(d);
	uint64_t mac = n->mac;

	state_put_bytes(w, &mac, 6);
	state_put_bool(w, n->link_up);
	state_put_u16(w, (uint16_t)n->enabled_pairs);
	state_put_u64(w, n->guest_offloads);
	state_put_bool(w, n->filter.promiscuous);
	state_put_bool(w, n->filter.all_multicast);
	state_put_bool(w, n->filter.too_many[0]);
	state_put_bool(w, n->filter.too_many[1]);
	state_put_u8(w, n->filter.count);
	state_put_bytes(w, n->filter.macs, n->filter.count * 6u);
}

static void get_filter(struct state_reader *r, struct net_filter *f)
{
	f->promiscuous = state_get_bool(r);
	f->all_multicast = state_get_bool(r);
	f->too_many[0] = state_get_bool(r);
	f->too_many[1] = state_get_bool(r);
	f->count = state_get_u8(r);
	if (f->count <= NET_FILTER_MACS)
		state_get_bytes(r, f->macs, f->count * 6u);
}

struct loaded {
	struct virtio_net *n;
	unsigned int pairs;
	uint64_t offloads;
	int ret;
};

static void load_on_loop(void *opaque)
{
	struct loaded *l = opaque;

	l->ret = net_apply_offloads(l->n, l->offloads);
	if (!l->ret)
		l->ret = net_enable_pairs(l->n, l->pairs);
}

static int net_load(struct virtio_device *d, struct state_reader *r,
		    struct error *e)
{
	struct virtio_net *n = to_net(d);
	struct loaded l = { .n = n };
	struct net_filter filter = { 0 };
	uint8_t mac[6];
	bool up;

	state_get_bytes(r, mac, sizeof(mac));
	up = state_get_bool(r);
	l.pairs = state_get_u16(r);
	l.offloads = state_get_u64(r);
	get_filter(r, &filter);
	if (filter.count > NET_FILTER_MACS)
		return error_set(e, -EINVAL, "virtio-net: state has %u "
				 "addresses in the filter", filter.count);
	if (state_reader_error(r))
		return error_errno(e, state_reader_error(r),
				   "virtio-net: bad state");
	if (!l.pairs || l.pairs > n->pair_count)
		return error_set(e, -EINVAL, "virtio-net: state has %u pairs "
				 "of queues in use, of %u", l.pairs,
				 n->pair_count);
	if (l.offloads & ~(guest_features(~0u) & d->features))
		return error_set(e, -EINVAL, "virtio-net: state has offloads "
				 "0x%llx, not negotiated",
				 (unsigned long long)l.offloads);
	set_mac(n, mac);
	n->filter = filter;
	n->link_up = up;
	if (!d->active)
		return 0;
	loop_call(d->loop, load_on_loop, &l);
	if (l.ret)
		return error_errno(e, l.ret, "virtio-net: offloads");
	/* 5.1.6.5.4: the network learns where the address is now. */
	if (virtio_has(d, VIRTIO_NET_F_GUEST_ANNOUNCE)) {
		virtio_device_config_begin(d);
		n->announce = true;
		virtio_device_config_changed(d);
	}
	return 0;
}

/* ---- link, back end, counters -------------------------------------------- */

static void link_on_loop(void *opaque)
{
	struct virtio_net *n = opaque;

	/* vhost would not notice. */
	for (unsigned int i = 0; n->vhost && i < n->pair_count; i++)
		if (!net_link_up(n))
			net_vhost_stop(n->pairs[i]);
	if (n->working && start_pairs(n))
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

	stop_pairs(n, 0);
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
		s->old = old;
	}
	if (n->working && start_pairs(n))
		net_broken(n);
}

int virtio_net_set_backend(struct virtio_device *d, struct net_backend *b,
			   struct error *e)
{
	const uint64_t hidden = BIT(VIRTIO_NET_F_MTU);
	struct virtio_net *n = to_net(d);
	struct swap s = { .n = n, .new = b };
	uint64_t lacking = d->offered & backend_features(n->backend) &
			   ~backend_features(b) & ~hidden;

	/* A driver that is to come may want all that was offered. */
	if (lacking || b->pairs < n->pair_count ||
	    (n->vhost && !b->headers))
		return error_class_set(e, ERROR_NOT_SUPPORTED, -ENOTSUP,
				       "%s: the other back end lacks features "
				       "0x%llx or queues", n->id,
				       (unsigned long long)lacking);
	virtio_device_config_begin(d);
	loop_call(d->loop, swap_on_loop, &s);
	virtio_device_config_changed(d);
	if (s.ret)
		return error_errno(e, s.ret, "%s", n->id);
	net_backend_destroy(s.old);
	return 0;
}

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
		backend_features(n->backend) | BIT(VIRTIO_NET_F_MAC) |
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
	n->pair_count = p->backend->pairs;
	n->vhost = p->vhost;
	n->filter.promiscuous = true;
	n->id = strdup(p->id);
	n->link_up = true;
	memcpy(n->first_mac, p->mac, sizeof(n->first_mac));
	set_mac(n, p->mac);
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

bool virtio_device_is_net(const struct virtio_device *d)
{
	return d->info == &net_info;
}

const char *virtio_net_id(const struct virtio_device *d)
{
	return ((const struct virtio_net *)d)->id;
}
