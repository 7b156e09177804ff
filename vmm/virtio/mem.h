/* SPDX-License-Identifier: MIT */
/*
 * The memory device (VIRTIO 1.2, 5.15): a region of the guest's address space of
 * which the guest plugs and unplugs blocks, up to what it is asked to have.
 * Created and destroyed by the main thread.
 */
#ifndef MOTE_VIRTIO_MEM_H
#define MOTE_VIRTIO_MEM_H

#include <stdint.h>

#include "error.h"
#include "guest_mem.h"
#include "loop.h"
#include "virtio/device.h"

#define VIRTIO_MEM_BLOCK_BYTES (2ull << 20)

/* What the device needs of its machine. */
struct mem_host {
	/* The guest has unplugged these bytes of the region: they are empty
	 * again. The device's loop's thread, or the caller's of
	 * virtio_mem_unplug_all(). */
	void (*clear)(void *opaque, uint64_t offset, uint64_t len_bytes);
	/* The plugged size has changed. The same threads. */
	void (*changed)(void *opaque);
	void *opaque;
};

/* Multiples of the block size; the region is empty. */
int virtio_mem_create(struct virtio_device **out, gpa_t base,
		      uint64_t region_bytes, const struct mem_host *host,
		      struct guest_mem *mem, struct loop *loop,
		      struct error *e);

/* Machine lock held. */

/* What the guest is asked to have plugged, a multiple of the block size, and how
 * much of the region it can use for that, which never shrinks. */
void virtio_mem_request(struct virtio_device *d, uint64_t requested_bytes,
			uint64_t usable_bytes);
/* A system reset, after the device's. */
void virtio_mem_unplug_all(struct virtio_device *d);

/* Any thread. */
uint64_t virtio_mem_requested_bytes(struct virtio_device *d);
uint64_t virtio_mem_plugged_bytes(struct virtio_device *d);

#endif
