/* SPDX-License-Identifier: MIT */
/*
 * virtio-vsock (VIRTIO 1.2, 5.10): with Unix sockets on the host (vmm/vsock/),
 * or with the host kernel's vhost-vsock. Created and destroyed by the main
 * thread; for the rest see virtio/device.h.
 */
#ifndef MOTE_VIRTIO_VSOCK_H
#define MOTE_VIRTIO_VSOCK_H

#include "config/config.h"
#include "error.h"
#include "guest_mem.h"
#include "loop.h"
#include "virtio/device.h"

struct vsock;

/* As c says: by Unix sockets, or vhost. */
int virtio_vsock_create(struct virtio_device **out,
			const struct config_vsock *c, struct guest_mem *mem,
			struct loop *loop, struct error *e);
/* The host's end of a device made so; NULL with vhost. */
struct vsock *virtio_vsock_host(struct virtio_device *d);

/* What both variants have in common. */

#define VSOCK_RX		0
#define VSOCK_TX		1
#define VSOCK_EVENT		2
#define VSOCK_QUEUES		3
#define VSOCK_QUEUE_SIZE	256
#define VSOCK_EVENT_SIZE	16

/* The configuration space: the CID (5.10.4). */
void virtio_vsock_config_read(uint32_t cid, uint32_t offset, uint8_t *data,
			      uint32_t len);
/*
 * After a restore: the driver is told, in the event queue, that all streams are
 * gone (5.10.6.7). 1 when it was, 0 when it has no buffer there yet; -EPROTO.
 */
int virtio_vsock_send_reset(struct virtio_device *d);

int vhost_vsock_create(struct virtio_device **out,
		       const struct config_vsock *c, struct guest_mem *mem,
		       struct loop *loop, struct error *e);

#endif
