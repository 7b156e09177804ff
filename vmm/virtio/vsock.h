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

/*
 * The same for a device that has packets for the driver: it ends all streams that
 * there are when it looks at the event, so that none may be new by then. Its
 * buffer comes back when it has looked; it is not waited for longer than a second.
 * Loop's thread, but for init and deinit.
 */
struct vsock_event {
	struct virtio_device *dev;
	struct loop_timer patience;
	void (*heard)(void *opaque);
	void *opaque;
	bool due;		/* it is to be told */
	bool waiting;		/* it has been */
	uint16_t count;		/* buffers that are there when it has looked */
};

/* heard: vsock_event_heard() has become true. */
int vsock_event_init(struct vsock_event *v, struct virtio_device *d,
		     void (*heard)(void *opaque), void *opaque,
		     struct error *e);
void vsock_event_deinit(struct vsock_event *v);
/* Whether the driver is to be told; also with the machine lock, at rest. */
void vsock_event_set(struct vsock_event *v, bool due);
/* Tells it, if that is due; false: it has not looked yet. */
bool vsock_event_heard(struct vsock_event *v);

int vhost_vsock_create(struct virtio_device **out,
		       const struct config_vsock *c, struct guest_mem *mem,
		       struct loop *loop, struct error *e);

#endif
