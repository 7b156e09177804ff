/* SPDX-License-Identifier: MIT */
/*
 * The control queue of the network device (VIRTIO 1.2, 5.1.6.5). Loop's thread.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "virtio/net_internal.h"

#define MAC_BYTES	6u
/* Class, command and the fixed part of what any command brings. */
#define HEAD_BYTES	sizeof(struct virtio_net_ctrl_hdr)

struct request {
	const struct virtq_chain *chain;
	uint8_t command;
	uint64_t bytes;			/* of the command's data */
};

static bool get(const struct request *r, uint64_t offset, void *to, size_t len)
{
	if (offset > r->bytes || len > r->bytes - offset)
		return false;
	return iov_read(r->chain->iov, r->chain->readable,
			HEAD_BYTES + (size_t)offset, to, len) == len;
}

bool net_wants(const struct virtio_net *n, const uint8_t to[6])
{
	static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 };
	const struct net_filter *f = &n->filter;
	bool multicast = to[0] & 1;
	uint64_t mac = n->mac;

	if (f->promiscuous || f->too_many[multicast] ||
	    (multicast && f->all_multicast) || !memcmp(to, &mac, MAC_BYTES) ||
	    !memcmp(to, broadcast, MAC_BYTES))
		return true;
	for (unsigned int i = 0; i < f->count; i++)
		if (!memcmp(to, f->macs[i], MAC_BYTES))
			return true;
	return false;
}

/* 5.1.6.5.1 */
static bool set_rx_mode(struct virtio_net *n, const struct request *r)
{
	uint8_t on;

	if (r->command > VIRTIO_NET_CTRL_RX_ALLMULTI || r->bytes != 1 ||
	    !get(r, 0, &on, 1) || on > 1)
		return false;
	if (r->command == VIRTIO_NET_CTRL_RX_PROMISC)
		n->filter.promiscuous = on;
	else
		n->filter.all_multicast = on;
	return true;
}

/* 5.1.6.5.2: two tables, each with its number of entries in front. */
static bool set_mac_tables(struct virtio_net *n, const struct request *r)
{
	struct net_filter f = n->filter;
	uint64_t at = 0;

	f.count = 0;
	for (int table = 0; table < 2; table++) {
		uint32_t entries;

		if (!get(r, at, &entries, sizeof(entries)))
			return false;
		entries = le32toh(entries);
		at += sizeof(entries);
		f.too_many[table] = entries > NET_FILTER_MACS - (uint32_t)f.count;
		if (!f.too_many[table]) {
			if (!get(r, at, f.macs[f.count], entries * MAC_BYTES))
				return false;
			f.count = (uint8_t)(f.count + entries);
		}
		at += (uint64_t)entries * MAC_BYTES;
	}
	if (at != r->bytes)
		return false;
	n->filter = f;
	return true;
}

static bool set_mac(struct virtio_net *n, const struct request *r)
{
	uint64_t mac = 0;

	if (r->command == VIRTIO_NET_CTRL_MAC_TABLE_SET)
		return virtio_has(&n->dev, VIRTIO_NET_F_CTRL_RX) &&
		       set_mac_tables(n, r);
	if (!virtio_has(&n->dev, VIRTIO_NET_F_CTRL_MAC_ADDR) ||
	    r->command != VIRTIO_NET_CTRL_MAC_ADDR_SET ||
	    r->bytes != MAC_BYTES || !get(r, 0, &mac, MAC_BYTES))
		return false;
	n->mac = mac;
	return true;
}

static bool acknowledge(struct virtio_net *n, const struct request *r)
{
	if (r->command != VIRTIO_NET_CTRL_ANNOUNCE_ACK || r->bytes)
		return false;
	n->announce = false;
	return true;
}

static bool set_pairs(struct virtio_net *n, const struct request *r)
{
	uint16_t count;

	if (r->command != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET ||
	    r->bytes != sizeof(count) || !get(r, 0, &count, sizeof(count)))
		return false;
	count = le16toh(count);
	/* 5.1.6.5.5.2 */
	if (!count || count > n->pair_count)
		return false;
	return !net_enable_pairs(n, count);
}

static bool set_offloads(struct virtio_net *n, const struct request *r)
{
	uint64_t offloads;

	if (r->command != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET ||
	    r->bytes != sizeof(offloads) ||
	    !get(r, 0, &offloads, sizeof(offloads)))
		return false;
	offloads = le64toh(offloads);
	/* 5.1.6.5.6.2: only what was negotiated. */
	if (offloads & ~n->dev.features)
		return false;
	return !net_apply_offloads(n, offloads);
}

static bool run(struct virtio_net *n, const struct virtq_chain *c)
{
	struct request r = { .chain = c };
	struct virtio_net_ctrl_hdr head;

	if (iov_read(c->iov, c->readable, 0, &head, HEAD_BYTES) != HEAD_BYTES)
		return false;
	r.command = head.cmd;
	r.bytes = c->readable_bytes - HEAD_BYTES;
	switch (head.class) {
	case VIRTIO_NET_CTRL_RX:
		return virtio_has(&n->dev, VIRTIO_NET_F_CTRL_RX) &&
		       set_rx_mode(n, &r);
	case VIRTIO_NET_CTRL_MAC:
		return set_mac(n, &r);
	case VIRTIO_NET_CTRL_ANNOUNCE:
		return virtio_has(&n->dev, VIRTIO_NET_F_GUEST_ANNOUNCE) &&
		       acknowledge(n, &r);
	case VIRTIO_NET_CTRL_MQ:
		return virtio_has(&n->dev, VIRTIO_NET_F_MQ) &&
		       set_pairs(n, &r);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return virtio_has(&n->dev,
				  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) &&
		       set_offloads(n, &r);
	default:
		return false;
	}
}

/* 1, 0, -EPROTO. */
static int handle_one(struct virtio_net *n, struct virtqueue *vq)
{
	struct iovec iov[NET_CTRL_SIZE + VIRTQ_IOV_SLACK];
	struct virtq_chain c = {
		.iov = iov, .iov_max = sizeof(iov) / sizeof(iov[0]),
	};
	int ret = virtqueue_pop(vq, &c);
	uint8_t ack;

	if (ret <= 0)
		return ret;
	/* Nowhere to put the answer. */
	if (!c.writable_bytes)
		return -EPROTO;
	ack = run(n, &c) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
	iov_write(c.iov + c.readable, c.writable, 0, &ack, 1);
	virtqueue_push(vq, c.head, 1);
	return 1;
}

void net_ctrl_handle(struct virtio_net *n)
{
	unsigned int index = net_ctrl_index(n), budget = NET_CTRL_SIZE;
	struct virtqueue *vq = virtio_vq(&n->dev, index);
	int ret = 1;

	virtqueue_disarm(vq);
	while (budget) {
		ret = handle_one(n, vq);
		if (ret == 1)
			budget--;
		else if (ret || !virtqueue_arm(vq))
			break;
	}
	virtio_queue_flush(&n->dev, index);
	if (ret == -EPROTO)
		net_broken(n);
	else if (!budget)
		virtio_queue_again(&n->dev, index);
}
