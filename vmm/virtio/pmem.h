/* SPDX-License-Identifier: MIT */
/* The virtio-pmem device (VIRTIO 1.2, 5.19). Main thread. */
#ifndef MOTE_VIRTIO_PMEM_H
#define MOTE_VIRTIO_PMEM_H

#include "pmem/pmem.h"
#include "virtio/device.h"

/* The region becomes the device's; the caller keeps it on failure. */
int virtio_pmem_create(struct virtio_device **out, struct pmem_region *region,
		       struct guest_mem *mem, struct loop *loop,
		       struct error *e);
/* Constant; the device's. */
const struct pmem_region *virtio_pmem_region(struct virtio_device *d);

#endif
