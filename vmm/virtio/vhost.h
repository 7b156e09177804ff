/* SPDX-License-Identifier: MIT */
/*
 * The host kernel's virtio back ends (linux/vhost.h): what all kinds have in
 * common. The loop's thread, but for vhost_open() and vhost_close(), which any
 * one thread at a time may call. All return 0 or -errno.
 */
#ifndef MOTE_VIRTIO_VHOST_H
#define MOTE_VIRTIO_VHOST_H

#include <stdint.h>

#include "loop.h"
#include "virtio/device.h"

/* A queue that the kernel works on. */
struct vhost_queue {
	struct virtio_device *device;
	unsigned int index;
	/* Interrupts that have no eventfd of their own come by here. */
	struct loop_watch call;
	int call_fd;
};

struct vhost {
	int fd;
	bool logs;		/* since vhost_prepare(): into guest_mem's log */
};

#define VHOST_INIT { .fd = -1 }

/* Opens the node and makes this process its owner. */
int vhost_open(struct vhost *v, const char *path);
/* The same with a duplicate of one that somebody has opened. */
int vhost_adopt(struct vhost *v, int fd);
void vhost_close(struct vhost *v);
int vhost_features(const struct vhost *v, uint64_t *features);
/*
 * The negotiated features that are the kernel's business, and the guest's memory
 * as it is now, with guest_mem's log. logs: this kind tells what it writes; one
 * that does not is noted there.
 */
int vhost_prepare(struct vhost *v, const struct virtio_device *d, bool logs);
/*
 * The guest's memory anew, while queues run. The kernel takes a limited number of
 * regions (its module parameter max_mem_regions, 64): with more, those at the
 * highest addresses are missing, which is persistent memory. A driver that puts
 * a buffer there waits for it for ever.
 */
int vhost_set_memory(const struct vhost *v, struct guest_mem *mem);

/*
 * Queue at of the kernel's is queue index of d, enabled and external: hands its
 * rings over. Kicks follow with vhost_queue_kick(), when the back end runs.
 */
int vhost_queue_start(const struct vhost *v, struct vhost_queue *q,
		      unsigned int at, struct virtio_device *d,
		      unsigned int index);
int vhost_queue_kick(const struct vhost *v, const struct vhost_queue *q,
		     unsigned int at);
/* Where its interrupts go has changed. */
int vhost_queue_rewire(const struct vhost *v, const struct vhost_queue *q,
		       unsigned int at);
/* The back end has stopped: takes the rings back. Also when not started. */
void vhost_queue_stop(const struct vhost *v, struct vhost_queue *q,
		      unsigned int at);

#endif
