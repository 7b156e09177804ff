/* SPDX-License-Identifier: MIT */
/*
 * What the files of the network device share:
 *
 *	net.c		the device: configuration space, life cycle, counters
 *	net_backend.c	its back end: features, link, another one
 *	net_state.c	saving and restoring
 *	net_receive.c	packets from a back end
 *	net_queue.c	packets to it; its descriptor
 *	net_ctrl.c	the control queue
 *	net_vhost.c	the kernel instead of net_receive.c and net_queue.c
 */
#ifndef MOTE_NET_INTERNAL_H
#define MOTE_NET_INTERNAL_H

#include <linux/virtio_net.h>
#include <string.h>

#include "virtio/net.h"
#include "virtio/vhost.h"

#define NET_QUEUE_SIZE	256
#define NET_CTRL_SIZE	64
#define NET_CHAIN_IOV	(NET_QUEUE_SIZE + VIRTQ_IOV_SLACK)
/* At most IOV_MAX, with one more at the end. */
#define NET_STOCK_IOV	1000
/* In one turn of the loop, which has other devices too. */
#define NET_TURN_PACKETS 256
#define NET_TURN_BYTES	(1u << 20)

/* VIRTIO 1.2, 5.1.3; headers of older kernels lack them. */
#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4	54
#define VIRTIO_NET_F_GUEST_USO6	55
#define VIRTIO_NET_F_HOST_USO	56
#endif

struct virtio_net;

struct net_counters {
	_Atomic uint64_t bytes, packets, errors, drops;
};

#define NET_FILTER_MACS	64

/*
 * Which frames the driver wants (5.1.6.5.1, 5.1.6.5.2) besides broadcasts and
 * those to its own address; [0] of unicast, [1] of multicast addresses. Loop's
 * thread.
 */
struct net_filter {
	bool promiscuous;		/* all; so it is after a reset */
	bool all_multicast;
	bool too_many[2];		/* the table did not fit: all of those */
	uint8_t count;
	uint8_t macs[NET_FILTER_MACS][6];
};

/* A chain of the receiveq that was popped and is not used yet. */
struct net_chain {
	uint16_t head;
	uint32_t iovs;
	uint64_t bytes;
};

/*
 * A receiveq and a transmitq, and the back end's descriptor. All but the
 * counters belong to the loop's thread.
 */
struct net_pair {
	struct virtio_net *net;
	unsigned int index;
	struct loop_watch watch;	/* the back end's, while it works */
	uint32_t events;		/* what the watch waits for */
	bool lost;			/* the back end is gone */

	/* The stock: chains[0 … chain_count) and their buffers, in order. */
	unsigned int chain_count, iov_count;
	uint64_t stock_bytes;
	struct net_chain chains[NET_QUEUE_SIZE];
	struct iovec iov[NET_STOCK_IOV + 1];
	/* A packet that there were too few buffers for; and room to see that one
	 * is too long. */
	size_t kept_bytes;		/* 0: none */
	uint8_t kept[NET_PACKET_MAX + 1];
	unsigned int short_run;		/* short packets since the last long */

	struct iovec send_iov[NET_CHAIN_IOV];
	/* The guest is left to gather packets until this rings. */
	struct loop_timer gather;
	bool gathering;
	unsigned int gather_rest;	/* turns in which it is not */
	struct net_counters received, sent;

	struct vhost vhost;		/* fd is -1: user space */
	bool vhost_running;
	struct vhost_queue vhost_queues[2];
};

struct virtio_net {
	struct virtio_device dev;
	char *id;
	struct net_backend *backend;
	bool vhost;			/* the kernel moves the packets */
	uint16_t mtu;			/* what the driver is told; or 0 */
	unsigned int pair_count;
	struct net_pair **pairs;
	uint8_t first_mac[6];		/* as created */
	_Atomic uint64_t mac;		/* little-endian, 6 bytes */
	atomic_bool link_up;		/* set_link's */
	atomic_bool lost;		/* the back end is gone */
	atomic_bool announce;		/* the driver is asked to (5.1.6.5.4) */
	bool working;			/* active and not quiesced */
	unsigned int enabled_pairs;
	uint64_t guest_offloads;	/* VIRTIO_NET_F_GUEST_* bits */
	struct net_filter filter;	/* not with vhost */
};

static inline struct virtio_net *to_net(struct virtio_device *d)
{
	return (struct virtio_net *)d;
}

static inline bool net_link_up(const struct virtio_net *n)
{
	return n->link_up && !n->lost;
}

/* 5.1.2: behind all pairs that may be used. */
static inline unsigned int net_ctrl_index(const struct virtio_net *n)
{
	return virtio_has(&n->dev, VIRTIO_NET_F_MQ) ? 2 * n->pair_count : 2;
}

static inline struct virtqueue *net_receiveq(const struct net_pair *p)
{
	return virtio_vq(&p->net->dev, 2 * p->index);
}

static inline struct virtqueue *net_transmitq(const struct net_pair *p)
{
	return virtio_vq(&p->net->dev, 2 * p->index + 1);
}

static inline void net_count_one(_Atomic uint64_t *counter, uint64_t n)
{
	/* One writer: no need for a locked instruction. */
	atomic_store_explicit(counter, n + atomic_load_explicit(counter,
				       memory_order_relaxed),
			      memory_order_relaxed);
}

/* A little-endian number, so that one access has all of it. */
static inline void net_set_mac(struct virtio_net *n, const uint8_t mac[6])
{
	uint64_t value = 0;

	memcpy(&value, mac, 6);
	n->mac = value;
}

/* net.c, loop's thread: */
/* The enabled ones. */
int net_start_pairs(struct virtio_net *n);
/* All from this one on. */
void net_stop_pairs(struct virtio_net *n, unsigned int from);
/* Pairs below count work. -errno of the back end: it keeps some. */
int net_enable_pairs(struct virtio_net *n, unsigned int count);
/* 5.1.6.5.4: asks the driver, if it understands, to tell the network where it
 * is. Between config_begin() and config_changed(). */
void net_announce(struct virtio_net *n);
/* The link is down for good; what the driver sends is dropped. */
void net_backend_lost(struct virtio_net *n);
/* A malformed ring: all stops. */
void net_broken(struct virtio_net *n);

/* net_backend.c */
/* VIRTIO_NET_F_GUEST_* for these offloads (enum net_offload). */
uint64_t net_guest_features(unsigned int offloads);
/* What is offered because of the back end. */
uint64_t net_backend_features(const struct net_backend *b);
/* Loop's thread: what received packets may need. */
int net_apply_offloads(struct virtio_net *n, uint64_t guest_offloads);

/* net_state.c, machine lock held. See struct virtio_device_ops. */
void net_save(struct virtio_device *d, struct state_writer *w);
int net_load(struct virtio_device *d, struct state_reader *r, struct error *e);

/* net_queue.c, loop's thread. */
/* Starts to look at the back end; what was waiting is then looked for. */
int net_pair_start(struct net_pair *p);
/* Unused chains go back to the ring. */
void net_pair_stop(struct net_pair *p);
void net_pair_transmit(struct net_pair *p);	/* a kick */
/* What the back end's descriptor is watched for. */
void net_pair_wait_for(struct net_pair *p, uint32_t events);

/* net_receive.c, loop's thread. */
void net_pair_receive(struct net_pair *p);	/* a kick, or packets */
/* Chains that were popped ahead go back to the ring. */
void net_stock_return(struct net_pair *p);

/* net_ctrl.c, loop's thread. */
void net_ctrl_handle(struct virtio_net *n);	/* a kick */
/* Whether the driver wants a frame to this address. */
bool net_wants(const struct virtio_net *n, const uint8_t to[6]);

/* net_vhost.c. Main thread: */
int net_vhost_init(struct virtio_net *n, const struct virtio_net_params *params,
		   struct error *e);
/* Loop's thread: */
int net_vhost_start(struct net_pair *p);
void net_vhost_stop(struct net_pair *p);
/* The transport's vectors have changed. */
void net_vhost_rewire(struct net_pair *p);
/* Guest memory has. */
void net_vhost_set_memory(struct net_pair *p);

#endif
