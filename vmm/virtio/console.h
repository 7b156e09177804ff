/* SPDX-License-Identifier: MIT */
/*
 * virtio-console with one port (VIRTIO 1.2, 5.3). Created and destroyed by the
 * main thread.
 */
#ifndef MOTE_VIRTIO_CONSOLE_H
#define MOTE_VIRTIO_CONSOLE_H

#include "char/chardev.h"
#include "error.h"
#include "guest_mem.h"
#include "loop.h"
#include "virtio/device.h"

/* Becomes cd's client; cd outlives the device. */
int virtio_console_create(struct virtio_device **out, struct chardev *cd,
			  struct guest_mem *mem, struct loop *loop,
			  struct error *e);

#endif
