/* SPDX-License-Identifier: MIT */
/*
 * Packets between a back end and a pair of queues (VIRTIO 1.2, 5.1.6). All of
 * it runs on the loop's thread: no allocation, no locks, no log.
 *
 * The back end reads straight into the guest's buffers and writes straight from
 * them. With MRG_RXBUF a packet may take several chains, and how many is only
 * known afterwards: chains are popped ahead into a stock that holds the longest
 * packet, and those that are not needed stay in it. A packet that is longer than
 * what was read into goes on in a buffer of our own, and waits there as a whole
 * until it fits.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "virtio/net_internal.h"

/* In one turn of the loop, which has other devices too. */
#define TURN_PACKETS	256
#define TURN_BYTES	(1u << 20)
/* Not for each packet anew. */
#define STOCK_WANTED	(2 * (uint64_t)NET_PACKET_MAX)
/* So many packets of at most so many bytes, and the next is taken for one. */
#define SHORT_RUN	8
#define SHORT_BYTES	4096

static void count_one(_Atomic uint64_t *counter, uint64_t n)
{
	/* One writer: no need for a locked instruction. */
	atomic_store_explicit(counter, n + atomic_load_explicit(counter,
				       memory_order_relaxed),
			      memory_order_relaxed);
}

static struct virtqueue *receiveq(const struct net_pair *p)
{
	return virtio_vq(&p->net->dev, 2 * p->index);
}

static struct virtqueue *transmitq(const struct net_pair *p)
{
	return virtio_vq(&p->net->dev, 2 * p->index + 1);
}

static void wait_for(struct net_pair *p, uint32_t events)
{
	if (events == p->events || p->watch.fd < 0)
		return;
	p->events = events;
	loop_modify(&p->watch, events);
}

/* ---- the stock ----------------------------------------------------------- */

/* 0, or -EPROTO. Room for the longest chain there must be before each pop. */
static int stock_fill(struct net_pair *p, uint64_t wanted)
{
	while (p->stock_bytes < wanted && p->chain_count < NET_QUEUE_SIZE &&
	       p->iov_count + NET_CHAIN_IOV <= NET_STOCK_IOV) {
		struct virtq_chain c = {
			.iov = p->iov + p->iov_count, .iov_max = NET_CHAIN_IOV,
		};
		int ret = virtqueue_pop(receiveq(p), &c);

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

static void stock_return(struct net_pair *p)
{
	while (p->chain_count) {
		virtqueue_unpop(receiveq(p));
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

		virtqueue_push(receiveq(p), c->head, (uint32_t)part);
		left -= part;
	} while (left);
	finish_header(p, n);
	stock_drop(p, n);
	count_one(&p->received.packets, 1);
	count_one(&p->received.bytes, bytes - NET_HDR_BYTES);
}

/* 1: it is delivered, or will never be; -ENOBUFS: later. */
static int deliver_kept(struct net_pair *p)
{
	uint64_t room = mergeable(p) ? p->stock_bytes :
			p->chain_count ? p->chains[0].bytes : 0;
	bool full = p->chain_count == virtqueue_size(receiveq(p)) ||
		    p->iov_count + NET_CHAIN_IOV > NET_STOCK_IOV;

	if (p->kept_bytes <= room) {
		iov_write(p->iov, p->iov_count, 0, p->kept, p->kept_bytes);
		deliver(p, p->kept_bytes);
	} else if (!p->chain_count || (mergeable(p) && !full)) {
		return -ENOBUFS;
	} else {
		/* More than this the driver will not give. */
		count_one(&p->received.drops, 1);
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
	count_one(&p->received.drops, 1);
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
		count_one(&p->received.errors, 1);
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
	unsigned int budget = TURN_PACKETS;
	uint64_t bytes_end = p->received.bytes + TURN_BYTES;
	int ret = 1;

	if (p->lost || p->watch.fd < 0)
		return;
	virtqueue_disarm(receiveq(p));
	for (; budget && ret == 1 && p->received.bytes < bytes_end; budget--) {
		ret = receive_one(p);
		if (ret == -ENOBUFS && virtqueue_arm(receiveq(p)))
			ret = 1;
	}
	virtio_queue_flush(d, 2 * p->index);
	if (ret == -EPROTO) {
		net_broken(p->net);
	} else if (ret == -EIO) {
		net_backend_lost(p->net);
	} else if (ret == -ENOBUFS) {
		wait_for(p, p->events & ~(uint32_t)EPOLLIN);
	} else {
		wait_for(p, p->events | EPOLLIN);
		/* Packets may lie in the back end where epoll sees none. */
		if (ret == 1)
			virtio_queue_again(d, 2 * p->index);
	}
}

/* ---- transmitting -------------------------------------------------------- */

/* 1: gone, one way or the other; 0: none; -EAGAIN; -EPROTO. */
static int transmit_one(struct net_pair *p, uint64_t *turn)
{
	struct net_backend *b = p->net->backend;
	struct virtq_chain c = { .iov = p->send_iov, .iov_max = NET_CHAIN_IOV };
	int ret = virtqueue_pop(transmitq(p), &c);

	if (ret <= 0)
		return ret;
	/* 5.1.6.2: nothing to write into. */
	if (c.writable)
		return -EPROTO;
	if (c.readable_bytes < NET_HDR_BYTES + NET_FRAME_MIN ||
	    c.readable_bytes > NET_PACKET_MAX) {
		count_one(&p->sent.errors, 1);
	} else if (!net_link_up(p->net)) {
		count_one(&p->sent.drops, 1);
	} else {
		ret = b->ops->send(b, p->index, c.iov, c.readable);
		if (ret == -EAGAIN) {
			virtqueue_unpop(transmitq(p));
			return -EAGAIN;
		}
		if (ret == 1)
			wait_for(p, p->events | EPOLLOUT);
		count_one(ret < 0 ? &p->sent.errors : &p->sent.packets, 1);
		count_one(&p->sent.bytes,
			  ret < 0 ? 0 : c.readable_bytes - NET_HDR_BYTES);
	}
	virtqueue_push(transmitq(p), c.head, 0);
	*turn += c.readable_bytes;
	return 1;
}

void net_pair_transmit(struct net_pair *p)
{
	struct virtio_device *d = &p->net->dev;
	unsigned int budget = TURN_PACKETS;
	uint64_t turn = 0;
	int ret = 1;

	if (p->watch.fd < 0 && !p->lost)
		return;
	virtqueue_disarm(transmitq(p));
	for (; budget && ret == 1 && turn < TURN_BYTES; budget--) {
		ret = transmit_one(p, &turn);
		if (!ret && virtqueue_arm(transmitq(p)))
			ret = 1;
	}
	virtio_queue_flush(d, 2 * p->index + 1);
	if (ret == -EPROTO) {
		net_broken(p->net);
	} else if (ret == -EAGAIN) {
		wait_for(p, p->events | EPOLLOUT);
	} else if (ret == 1) {
		virtio_queue_again(d, 2 * p->index + 1);
	}
}

/* ---- the back end's descriptor ------------------------------------------- */

static void on_backend(struct loop_watch *w, uint32_t events)
{
	struct net_pair *p = w->opaque;
	struct net_backend *b = p->net->backend;
	int ret = 0;

	/* Told without being asked: nothing to read will ever come. */
	if (events & (EPOLLERR | EPOLLHUP) && !(events & EPOLLIN)) {
		net_backend_lost(p->net);
		return;
	}
	if (events & EPOLLOUT) {
		if (b->ops->flush)
			ret = b->ops->flush(b);
		if (ret && ret != -EAGAIN) {
			net_backend_lost(p->net);
			return;
		}
		if (!ret) {
			wait_for(p, p->events & ~(uint32_t)EPOLLOUT);
			net_pair_transmit(p);
		}
	}
	if (events & EPOLLIN)
		net_pair_receive(p);
}

int net_pair_start(struct net_pair *p)
{
	struct virtio_net *n = p->net;
	int ret;

	if (p->lost || p->watch.fd >= 0)
		return 0;
	/* What the back end holds of a frame is still to be sent. */
	p->events = EPOLLIN | (n->backend->ops->flush ? EPOLLOUT : 0);
	ret = loop_add(n->dev.loop, &p->watch, n->backend->fds[p->index],
		       p->events, on_backend, p);
	if (ret)
		return ret;
	virtio_queue_again(&n->dev, 2 * p->index);
	virtio_queue_again(&n->dev, 2 * p->index + 1);
	return 0;
}

void net_pair_stop(struct net_pair *p)
{
	loop_remove(&p->watch);
	stock_return(p);
}
