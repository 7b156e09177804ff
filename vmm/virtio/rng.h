/* SPDX-License-Identifier: MIT */
/* virtio-rng (VIRTIO 1.2, 5.4). Created and destroyed by the main thread. */
#ifndef MOTE_VIRTIO_RNG_H
#define MOTE_VIRTIO_RNG_H

#include "error.h"
#include "guest_mem.h"
#include "loop.h"
#include "virtio/device.h"

/*
 * source: a file or character device, or NULL for getrandom(). At the end of a
 * file the device falls silent: no byte is given out twice.
 */
int virtio_rng_create(struct virtio_device **out, const char *source,
		      struct guest_mem *mem, struct loop *loop,
		      struct error *e);

#endif
