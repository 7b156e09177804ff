/* SPDX-License-Identifier: MIT */
/*
 * Packets from a transmitq to the back end (VIRTIO 1.2, 5.1.6.2), straight from
 * the guest's buffers; and the back end's descriptor. All of it runs on the
 * loop's thread: no allocation, no locks, no log.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "virtio/net_internal.h"

/*
 * A guest that sends so many bytes in a turn may be about to send more. It is
 * given so much time for it, or until there are so many packets.
 */
#define GATHER_BYTES	16384u
#define GATHER_NS	UINT64_C(300000)
#define GATHER_PACKETS	8u
/* If there are only so few then, the next so many turns are not waited for. */
#define GATHER_FEW	2u
#define GATHER_REST	8u

void net_pair_wait_for(struct net_pair *p, uint32_t events)
{
	if (events == p->events || p->watch.fd < 0)
		return;
	p->events = events;
	loop_modify(&p->watch, events);
}

/* ---- transmitting -------------------------------------------------------- */

/* 1: gone, one way or the other; 0: none; -EAGAIN; -EPROTO. */
static int transmit_one(struct net_pair *p, uint64_t *turn)
{
	struct net_backend *b = p->net->backend;
	struct virtq_chain c = { .iov = p->send_iov, .iov_max = NET_CHAIN_IOV };
	int ret = virtqueue_pop(net_transmitq(p), &c);

	if (ret <= 0)
		return ret;
	/* 5.1.6.2: nothing to write into. */
	if (c.writable)
		return -EPROTO;
	if (c.readable_bytes < NET_HDR_BYTES + NET_FRAME_MIN ||
	    c.readable_bytes > NET_PACKET_MAX) {
		net_count_one(&p->sent.errors, 1);
	} else if (!net_link_up(p->net)) {
		net_count_one(&p->sent.drops, 1);
	} else {
		ret = b->ops->send(b, p->index, c.iov, c.readable);
		if (ret == -EAGAIN) {
			virtqueue_unpop(net_transmitq(p));
			return -EAGAIN;
		}
		if (ret == 1)
			net_pair_wait_for(p, p->events | EPOLLOUT);
		net_count_one(ret < 0 ? &p->sent.errors : &p->sent.packets, 1);
		net_count_one(&p->sent.bytes,
			  ret < 0 ? 0 : c.readable_bytes - NET_HDR_BYTES);
	}
	virtqueue_push(net_transmitq(p), c.head, 0);
	*turn += c.readable_bytes;
	return 1;
}

/*
 * The ring is empty after a turn of so many packets: when is it looked at again?
 * At a kick; or, as a kick, a wake-up and two interrupts for each packet are most
 * of what a stream costs, a while after much was sent. Where that gathers nothing
 * it would be delay alone. True: at once.
 */
static bool await_packets(struct net_pair *p, unsigned int packets,
			  uint64_t bytes)
{
	if (p->gathering && packets <= GATHER_FEW)
		p->gather_rest = GATHER_REST;
	p->gathering = false;
	/* Without a back end there is no timer either. */
	if (bytes < GATHER_BYTES || p->lost)
		return virtqueue_arm(net_transmitq(p));
	if (p->gather_rest) {
		p->gather_rest--;
		return virtqueue_arm(net_transmitq(p));
	}
	if (virtqueue_arm_late(net_transmitq(p), GATHER_PACKETS))
		return true;
	p->gathering = true;
	loop_timer_set(&p->gather, GATHER_NS, 0);
	return false;
}

void net_pair_transmit(struct net_pair *p)
{
	struct virtio_device *d = &p->net->dev;
	unsigned int budget = NET_TURN_PACKETS, packets = 0;
	uint64_t turn = 0;
	int ret = 1;

	if (p->watch.fd < 0 && !p->lost)
		return;
	virtqueue_disarm(net_transmitq(p));
	for (; budget && ret == 1 && turn < NET_TURN_BYTES; budget--) {
		ret = transmit_one(p, &turn);
		if (ret == 1)
			packets++;
		else if (!ret && await_packets(p, packets, turn))
			ret = 1;
	}
	virtio_queue_flush(d, 2 * p->index + 1);
	if (ret == -EPROTO) {
		net_broken(p->net);
	} else if (ret == -EAGAIN) {
		net_pair_wait_for(p, p->events | EPOLLOUT);
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
			net_pair_wait_for(p, p->events & ~(uint32_t)EPOLLOUT);
			net_pair_transmit(p);
		}
	}
	if (events & EPOLLIN)
		net_pair_receive(p);
}

static void on_gathered(void *opaque)
{
	net_pair_transmit(opaque);
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
	p->gathering = false;
	p->gather_rest = 0;
	ret = loop_timer_init(n->dev.loop, &p->gather, on_gathered, p);
	if (ret) {
		loop_remove(&p->watch);
		return ret;
	}
	virtio_queue_again(&n->dev, 2 * p->index);
	virtio_queue_again(&n->dev, 2 * p->index + 1);
	return 0;
}

void net_pair_stop(struct net_pair *p)
{
	loop_remove(&p->watch);
	loop_timer_deinit(&p->gather);
	net_stock_return(p);
}
