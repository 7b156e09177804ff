/* SPDX-License-Identifier: MIT */
/*
 * Network back ends: where a NIC's packets go on the host. They know neither
 * virtio nor the guest; a packet here is the kernel's own offload header
 * (struct virtio_net_hdr_v1 of linux/virtio_net.h, NET_HDR_BYTES, the same that
 * a tap with IFF_VNET_HDR has) and then an Ethernet frame.
 *
 * Created and destroyed by the main thread. send, receive, flush and
 * enable_pairs run on the thread that owns the device's queues, one at a time;
 * they do not block, allocate, lock or log. The descriptors are for that
 * thread's epoll and belong to the back end.
 */
#ifndef MOTE_NET_H
#define MOTE_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "error.h"

#define NET_MAX_PAIRS	16
#define NET_HDR_BYTES	12u
/* An IP packet of 65,535 bytes behind an Ethernet header with a VLAN tag. */
#define NET_FRAME_MAX	(65535u + 18u)
#define NET_FRAME_MIN	14u
/* What all Ethernet has, and a driver that was told nothing assumes. */
#define NET_MTU		1500u
#define NET_PACKET_MAX	(NET_HDR_BYTES + NET_FRAME_MAX)

/* What a back end can take from the guest or leave to it: bits. */
enum net_offload {
	NET_CSUM = 1 << 0,	/* partial checksums */
	NET_TSO4 = 1 << 1,
	NET_TSO6 = 1 << 2,
	NET_ECN = 1 << 3,
	NET_USO = 1 << 4,	/* UDP segmentation, IPv4 and IPv6 */
};

struct net_backend;

struct net_backend_ops {
	/*
	 * The next packet into the iovecs; its length with the header, which is
	 * more than the iovecs hold when the rest of it was lost. -EAGAIN: none
	 * now; anything else: the back end is gone.
	 */
	ssize_t (*receive)(struct net_backend *b, unsigned int pair,
			   const struct iovec *iov, unsigned int count);
	/*
	 * The packet as a whole: 0 when it is taken, 1 when it is and flush
	 * must follow as soon as the descriptor is writable, -EAGAIN when the
	 * descriptor must become writable first; anything else: it is lost.
	 */
	int (*send)(struct net_backend *b, unsigned int pair,
		    const struct iovec *iov, unsigned int count);
	/* The descriptor is writable: finishes what send began. 0, -EAGAIN, or
	 * the back end is gone. NULL: send leaves nothing. */
	int (*flush)(struct net_backend *b);
	/* Which offloads received packets may need; NULL: none. */
	int (*set_offloads)(struct net_backend *b, unsigned int offloads);
	/* Packets are received on the pairs below count only; NULL: there is
	 * one pair. */
	int (*enable_pairs)(struct net_backend *b, unsigned int count);
	void (*destroy)(struct net_backend *b);
};

struct net_backend {
	const struct net_backend_ops *ops;
	unsigned int pairs;	/* 1 … NET_MAX_PAIRS */
	int fds[NET_MAX_PAIRS];	/* one a pair: epoll, vhost-net */
	unsigned int offloads;	/* enum net_offload: both ways */
	bool headers;		/* the descriptors carry the header */
	uint16_t mtu;		/* 0: not known, or no limit */
};

/*
 * A tap interface: the one of that name, or a new one, which is then up and goes
 * with the back end. limit_output: a full interface holds the sender up (not
 * for vhost-net, which does that itself). -EPERM: not there, and not allowed to
 * be made.
 */
int net_tap_create(struct net_backend **out, const char *name,
		   unsigned int pairs, bool limit_output, struct error *e);
/* Inherited descriptors of a tap or macvtap; owned on success. */
int net_tap_adopt(struct net_backend **out, const int *fds, unsigned int pairs,
		  bool limit_output, struct error *e);

/*
 * Frames behind a big-endian 32-bit length on a stream socket. Owns fd on
 * success.
 */
int net_stream_create(struct net_backend **out, int fd, struct error *e);
/* Connects to the Unix socket at path. */
int net_stream_connect(struct net_backend **out, const char *path,
		       struct error *e);
/* A stream to a passt of our own, which ends with the back end. */
int net_passt_create(struct net_backend **out, struct error *e);

void net_backend_destroy(struct net_backend *b);	/* NULL is fine */

/*
 * For back ends: the iovecs of src without their first skip bytes, at most max
 * of them; returns how many.
 */
unsigned int net_iov_skip(struct iovec *dst, unsigned int max,
			  const struct iovec *src, unsigned int count,
			  size_t skip);

#endif
