/* SPDX-License-Identifier: MIT */
/*
 * What device.c, under the machine lock, has run on the loops that a device's
 * queues are on. Arguments are struct virtio_move; in a device with several loops
 * its own comes first in what sets queues going, last in what stops them.
 */
#ifndef MOTE_VIRTIO_DEVICE_LOOP_H
#define MOTE_VIRTIO_DEVICE_LOOP_H

#include "virtio/device.h"

/* What a loop_call() is about: the queues of d that are on loop. */
struct virtio_move {
	struct virtio_device *d;
	struct loop *loop;
	const struct virtqueue_state *states;	/* NULL: a fresh start */
	void (*fn)(struct virtio_device *d, unsigned int index);
	int ret;
};

void virtio_activate_on_loop(void *opaque);
void virtio_close_on_loop(void *opaque);
void virtio_quiesce_on_loop(void *opaque);
void virtio_resume_on_loop(void *opaque);
void virtio_find_on_loop(void *opaque);
void virtio_reset_on_loop(void *opaque);
void virtio_call_on_loop(void *opaque);

/* VIRTIO 1.2, 2.1.2: the driver hears of it. Any thread. */
void virtio_tell_needs_reset(struct virtio_device *d);

#endif
