/* SPDX-License-Identifier: MIT */
/*
 * The virtio transport of 9P: a device with type 9, one queue and a mount tag in
 * its configuration space. VIRTIO 1.2 reserves the type (5) and leaves the rest
 * to Linux's include/uapi/linux/virtio_9p.h.
 *
 * Each share has a thread of its own, so that a slow directory of the host holds
 * up no other device. Created and destroyed by the main thread; for the rest see
 * virtio/device.h.
 */
#ifndef MOTE_VIRTIO_9P_H
#define MOTE_VIRTIO_9P_H

#include "config/config.h"
#include "error.h"
#include "guest_mem.h"
#include "virtio/device.h"

struct p9_files;

/* files outlive the device. See p9_export_open(). */
int virtio_9p_create(struct virtio_device **out, const struct config_9p *c,
		     struct p9_files *files, struct guest_mem *mem,
		     struct error *e);

#endif
