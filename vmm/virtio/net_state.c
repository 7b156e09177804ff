/* SPDX-License-Identifier: MIT */
/* The network device, saved and restored. Machine lock held. */
#include <errno.h>

#include "state.h"
#include "virtio/net_internal.h"

void net_save(struct virtio_device *d, struct state_writer *w)
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

int net_load(struct virtio_device *d, struct state_reader *r,
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
	if (l.offloads & ~(net_guest_features(~0u) & d->features))
		return error_set(e, -EINVAL, "virtio-net: state has offloads "
				 "0x%llx, not negotiated",
				 (unsigned long long)l.offloads);
	net_set_mac(n, mac);
	n->filter = filter;
	n->link_up = up;
	if (!d->active)
		return 0;
	loop_call(d->loop, load_on_loop, &l);
	if (l.ret)
		return error_errno(e, l.ret, "virtio-net: offloads");
	virtio_device_config_begin(d);
	net_announce(n);
	virtio_device_config_changed(d);
	return 0;
}
