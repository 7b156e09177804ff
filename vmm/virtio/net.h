/* SPDX-License-Identifier: MIT */
/*
 * The network device (VIRTIO 1.2, 5.1). Features: what the back end can offload,
 * MRG_RXBUF, MAC, MTU, STATUS, CTRL_VQ with CTRL_RX, CTRL_MAC_ADDR,
 * CTRL_GUEST_OFFLOADS and GUEST_ANNOUNCE, MQ with several pairs.
 */
#ifndef MOTE_VIRTIO_NET_H
#define MOTE_VIRTIO_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "guest_mem.h"
#include "loop.h"
#include "net/net.h"
#include "virtio/device.h"

struct virtio_net_params {
	const char *id;		/* copied */
	uint8_t mac[6];
	struct net_backend *backend;
	bool vhost;		/* the kernel moves the packets */
	/* With vhost: open handles, one a pair, of which it takes duplicates;
	 * NULL: it opens its own. */
	const int *vhost_fds;
};

/* What went through since creation; bytes are of frames. Not with vhost. */
struct virtio_net_counters {
	uint64_t bytes, packets;
	uint64_t errors;	/* malformed, or refused by the other side */
	uint64_t drops;		/* no room, or the link is down */
};

/* Main thread. Owns the back end on success. */
int virtio_net_create(struct virtio_device **out,
		      const struct virtio_net_params *p, struct guest_mem *mem,
		      struct loop *loop, struct error *e);

/* Main thread, machine lock held. */

/* Plugs the cable in or out; packets are lost while it is out. */
void virtio_net_set_link(struct virtio_device *d, bool up);
bool virtio_net_link(const struct virtio_device *d);
/*
 * Another back end, owned on success; the driver announces its address there
 * (5.1.6.5.4). -ENOTSUP: it lacks what was offered, or has a smaller MTU.
 */
int virtio_net_set_backend(struct virtio_device *d, struct net_backend *b,
			   struct error *e);
/* Any thread. */
void virtio_net_count(const struct virtio_device *d,
		      struct virtio_net_counters *received,
		      struct virtio_net_counters *sent);

#endif
