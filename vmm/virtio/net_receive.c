/* SPDX-License-Identifier: MIT */
/*
 * Packets from the back end to a receiveq (VIRTIO 1.2, 5.1.6.3, 5.1.6.4). All
 * of it runs on the loop's thread: no allocation, no locks, no log.
 *
 * The back end reads straight into the guest's buffers. With MRG_RXBUF a packet
 * may take several chains, and how many is only known afterwards: chains are
 * popped ahead into a stock that holds the longest packet, and those that are
 * not needed stay in it. A packet that is longer than what was read into goes
 * on in a buffer of our own, and waits there as a whole until it fits.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "virtio/net_internal.h"

/* Not for each packet anew. */
#define STOCK_WANTED	(2 * (uint64_t)NET_PACKET_MAX)
/* So many packets of at most so many bytes, and the next is taken for one. */
#define SHORT_RUN	8
#define SHORT_BYTES	4096

/* ---- the stock ----------------------------------------------------------- */

/* 0, or -EPROTO. Room for the longest chain there must be before each pop. */
static int stock_fill(struct net_pair *p, uint64_t wanted)
{
	while (p->stock_bytes < wanted && p->chain_count < NET_QUEUE_SIZE &&
	       p->iov_count + NET_CHAIN_IOV <= NET_STOCK_IOV) {
		struct virtq_chain c = {
			.iov = p->iov + p->iov_count, .iov_max = NET_CHAIN_IOV,
		};
		int ret = virtqueue_pop(net_receiveq(p), &c);

		if (ret <= 0)
			return ret;
		/* 5.1.6.3: only buffers to write into. */
		if (c.readable)
			return -EPROTO;
		p->chains[p->chain_count++] = (struct net_chain){
			.head = c.head, .iovs = c.writable,
			.bytes = c.writable_bytes,
		};
		p->iov_count += c.writable;
		p->stock_bytes += c.writable_bytes;
	}
	return 0;
}

static void stock_drop(struct net_pair *p, unsigned int chains)
{
	unsigned int iovs = 0;

	for (unsigned int i = 0; i < chains; i++) {
		iovs += p->chains[i].iovs;
		p->stock_bytes -= p->chains[i].bytes;
	}
	p->chain_count -= chains;
	p->iov_count -= iovs;
	memmove(p->chains, p->chains + chains,
		p->chain_count * sizeof(p->chains[0]));
	memmove(p->iov, p->iov + iovs, p->iov_count * sizeof(p->iov[0]));
}

void net_stock_return(struct net_pair *p)
{
	while (p->chain_count) {
		virtqueue_unpop(net_receiveq(p));
		p->chain_count--;
	}
	p->iov_count = 0;
	p->stock_bytes = 0;
}

/* ---- receiving ----------------------------------------------------------- */

static bool mergeable(const struct net_pair *p)
{
	return virtio_has(&p->net->dev, VIRTIO_NET_F_MRG_RXBUF);
}

/*
 * The iovecs to receive into, and what they hold: one chain, or as many as the
 * next packet may need. Each costs the kernel time, so that after short packets
 * it is few.
 */
static unsigned int receive_iovs(const struct net_pair *p, uint64_t *bytes)
{
	uint64_t wanted = p->short_run < SHORT_RUN ? NET_PACKET_MAX :
						     SHORT_BYTES;
	unsigned int iovs = p->chains[0].iovs;

	*bytes = p->chains[0].bytes;
	for (unsigned int i = 1; mergeable(p) && *bytes < wanted &&
				 i < p->chain_count; i++) {
		iovs += p->chains[i].iovs;
		*bytes += p->chains[i].bytes;
	}
	return iovs;
}

/* 5.1.6.4.1: what the driver has not negotiated, it does not see. */
static void finish_header(struct net_pair *p, uint16_t buffers)
{
	const size_t at = offsetof(struct virtio_net_hdr_v1, num_buffers);
	uint8_t none = 0;

	buffers = htole16(buffers);
	iov_write(p->iov, p->iov_count, at, &buffers, sizeof(buffers));
	if (!virtio_has(&p->net->dev, VIRTIO_NET_F_GUEST_CSUM))
		iov_write(p->iov, p->iov_count,
			  offsetof(struct virtio_net_hdr_v1, flags), &none, 1);
}

/* The filter; what it keeps away is left in buffers that stay unused. */
static bool wanted(const struct net_pair *p)
{
	uint8_t to[6];

	return p->net->filter.promiscuous ||
	       iov_read(p->iov, p->iov_count, NET_HDR_BYTES, to, sizeof(to)) <
		       sizeof(to) ||
	       net_wants(p->net, to);
}

/* The packet is in the first chains of the stock: they are used. */
static void deliver(struct net_pair *p, size_t bytes)
{
	size_t left = bytes;
	uint16_t n = 0;

	do {
		const struct net_chain *c = &p->chains[n++];
		size_t part = left < c->bytes ? left : (size_t)c->bytes;

		virtqueue_push(net_receiveq(p), c->head, (uint32_t)part);
		left -= part;
	} while (left);
	finish_header(p, n);
	stock_drop(p, n);
	net_count_one(&p->received.packets, 1);
	net_count_one(&p->received.bytes, bytes - NET_HDR_BYTES);
}

/* 1: it is delivered, or will never be; -ENOBUFS: later. */
static int deliver_kept(struct net_pair *p)
{
	uint64_t room = mergeable(p) ? p->stock_bytes :
			p->chain_count ? p->chains[0].bytes : 0;
	bool full = p->chain_count == virtqueue_size(net_receiveq(p)) ||
		    p->iov_count + NET_CHAIN_IOV > NET_STOCK_IOV;

	if (p->kept_bytes <= room) {
		iov_write(p->iov, p->iov_count, 0, p->kept, p->kept_bytes);
		deliver(p, p->kept_bytes);
	} else if (!p->chain_count || (mergeable(p) && !full)) {
		return -ENOBUFS;
	} else {
		/* More than this the driver will not give. */
		net_count_one(&p->received.drops, 1);
	}
	p->kept_bytes = 0;
	return 1;
}

/* The link is down. As receive_one(). */
static int discard_one(struct net_pair *p)
{
	const struct iovec iov = { p->kept, sizeof(p->kept) };
	struct net_backend *b = p->net->backend;
	ssize_t n = 0;

	if (!p->kept_bytes)
		n = b->ops->receive(b, p->index, &iov, 1);
	p->kept_bytes = 0;
	if (n < 0)
		return n == -EAGAIN ? 0 : -EIO;
	net_count_one(&p->received.drops, 1);
	return 1;
}

/*
 * Straight into the guest's buffers, and what they do not hold behind the place
 * in our own where the rest of the packet would be.
 */
static ssize_t receive_packet(struct net_pair *p, unsigned int iovs,
			      uint64_t bytes)
{
	struct net_backend *b = p->net->backend;
	struct iovec *end = &p->iov[iovs], next = *end;
	ssize_t n;

	if (bytes > sizeof(p->kept))
		bytes = sizeof(p->kept);
	*end = (struct iovec){ p->kept + bytes, sizeof(p->kept) - bytes };
	n = b->ops->receive(b, p->index, p->iov, iovs + 1);
	*end = next;
	return n;
}

/*
 * A packet: 1; 0 when the back end has none; -ENOBUFS: the driver must give
 * buffers first; -EPROTO; -EIO: the back end is gone.
 */
static int receive_one(struct net_pair *p)
{
	unsigned int iovs;
	uint64_t bytes;
	ssize_t n;

	if (p->stock_bytes < NET_PACKET_MAX && stock_fill(p, STOCK_WANTED))
		return -EPROTO;
	if (!net_link_up(p->net))
		return discard_one(p);
	if (p->kept_bytes)
		return deliver_kept(p);
	if (!p->chain_count)
		return -ENOBUFS;
	iovs = receive_iovs(p, &bytes);
	n = receive_packet(p, iovs, bytes);
	if (n < 0)
		return n == -EAGAIN ? 0 : -EIO;
	p->short_run = (size_t)n > SHORT_BYTES ? 0 : p->short_run + 1;
	if ((size_t)n < NET_HDR_BYTES + NET_FRAME_MIN ||
	    (size_t)n > NET_PACKET_MAX) {
		net_count_one(&p->received.errors, 1);
	} else if (!wanted(p)) {
		return 1;
	} else if ((size_t)n <= bytes) {
		deliver(p, (size_t)n);
	} else {
		iov_read(p->iov, iovs, 0, p->kept, bytes);
		p->kept_bytes = (size_t)n;
		return deliver_kept(p);
	}
	return 1;
}

void net_pair_receive(struct net_pair *p)
{
	struct virtio_device *d = &p->net->dev;
	unsigned int budget = NET_TURN_PACKETS;
	uint64_t bytes_end = p->received.bytes + NET_TURN_BYTES;
	int ret = 1;

	if (p->lost || p->watch.fd < 0)
		return;
	virtqueue_disarm(net_receiveq(p));
	for (; budget && ret == 1 && p->received.bytes < bytes_end; budget--) {
		ret = receive_one(p);
		if (ret == -ENOBUFS && virtqueue_arm(net_receiveq(p)))
			ret = 1;
	}
	virtio_queue_flush(d, 2 * p->index);
	if (ret == -EPROTO) {
		net_broken(p->net);
	} else if (ret == -EIO) {
		net_backend_lost(p->net);
	} else if (ret == -ENOBUFS) {
		net_pair_wait_for(p, p->events & ~(uint32_t)EPOLLIN);
	} else {
		net_pair_wait_for(p, p->events | EPOLLIN);
		/* Packets may lie in the back end where epoll sees none. */
		if (ret == 1)
			virtio_queue_again(d, 2 * p->index);
	}
}
