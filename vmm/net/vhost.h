/* SPDX-License-Identifier: MIT */
/*
 * vhost-net: the kernel moves packets between a tap and virtqueues by itself
 * (linux/vhost.h). One handle serves one pair of queues: index 0 receives,
 * index 1 transmits. Knows neither virtio nor the guest; addresses are what the
 * caller translated. The main thread creates and destroys; the rest runs on
 * the thread that owns the queues. -errno.
 */
#ifndef MOTE_NET_VHOST_H
#define MOTE_NET_VHOST_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

struct vhost_net;

struct vhost_region {
	uint64_t guest;
	uint64_t len_bytes;
	void *host;
};

struct vhost_ring {
	uint16_t size;
	uint16_t next;		/* index of the next chain to take */
	void *desc, *avail, *used;
	int kick_fd, call_fd;
};

int vhost_net_create(struct vhost_net **out, struct error *e);
void vhost_net_destroy(struct vhost_net *v);
/* The ring features of virtio that it can do, as a mask of bits. */
uint64_t vhost_net_features(const struct vhost_net *v);

int vhost_net_set_features(struct vhost_net *v, uint64_t features);
int vhost_net_set_memory(struct vhost_net *v,
			 const struct vhost_region *regions,
			 unsigned int count);
int vhost_net_set_ring(struct vhost_net *v, unsigned int index,
		       const struct vhost_ring *r);
/* Where the interrupts of a ring go from now on. */
int vhost_net_set_call(struct vhost_net *v, unsigned int index, int call_fd);
/* Both rings work from here on, until stop. */
int vhost_net_start(struct vhost_net *v, int tap_fd);
/* Nothing is in flight on return. */
void vhost_net_stop(struct vhost_net *v);
/* After stop: the ring's next. */
int vhost_net_get_next(struct vhost_net *v, unsigned int index,
		       uint16_t *next);

#endif
