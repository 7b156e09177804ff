/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk (VIRTIO 1.2, 5.2) on a raw image. Created and destroyed by the
 * main thread; for the rest see virtio/device.h.
 */
#ifndef MOTE_VIRTIO_BLK_H
#define MOTE_VIRTIO_BLK_H

#include "block/block.h"
#include "config.h"
#include "error.h"
#include "guest_mem.h"
#include "loop.h"
#include "virtio/device.h"

/* Opens and locks the image; see block_open() for the errors. */
int virtio_blk_create(struct virtio_device **out, const struct config_disk *c,
		      struct guest_mem *mem, struct loop *loop,
		      struct error *e);
/* Before the driver starts; BLOCK_ENGINE_AUTO otherwise. */
void virtio_blk_set_engine(struct virtio_device *d,
			   enum block_engine_kind kind);

#endif
