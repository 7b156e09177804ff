/* SPDX-License-Identifier: MIT */
/*
 * The event queue of the socket device (VIRTIO 1.2, 5.10.6.7). Loop's thread; set
 * up and torn down on the main thread.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_vsock.h>

#include "virtio/vsock.h"

#define EVENT_IOVS	(VSOCK_EVENT_SIZE + VIRTQ_IOV_SLACK)
#define PATIENCE_NS	UINT64_C(1000000000)

int virtio_vsock_send_reset(struct virtio_device *d)
{
	const struct virtio_vsock_event event = {
		.id = htole32(VIRTIO_VSOCK_EVENT_TRANSPORT_RESET),
	};
	struct iovec iov[EVENT_IOVS];
	struct virtq_chain c = { .iov = iov, .iov_max = EVENT_IOVS };
	struct virtqueue *vq = virtio_vq(d, VSOCK_EVENT);
	int ret = virtqueue_pop(vq, &c);

	if (ret <= 0)
		return ret;
	if (c.readable || c.writable_bytes < sizeof(event))
		return -EPROTO;
	iov_write(iov, c.writable, 0, &event, sizeof(event));
	virtqueue_push(vq, c.head, sizeof(event));
	virtio_queue_flush(d, VSOCK_EVENT);
	return 1;
}

static void send_reset(struct vsock_event *v)
{
	struct virtqueue *vq = virtio_vq(v->dev, VSOCK_EVENT);
	int ret;

	do
		ret = virtio_vsock_send_reset(v->dev);
	while (!ret && virtqueue_arm(vq));
	if (ret < 0)
		virtio_device_broken(v->dev);
	if (ret <= 0)
		return;
	v->due = false;
	v->waiting = true;
	/* One more than there are now: that one. */
	v->count = 1;
	while (v->count <= VSOCK_EVENT_SIZE && virtqueue_arm_late(vq, v->count))
		v->count++;
	loop_timer_set(&v->patience, PATIENCE_NS, 0);
}

bool vsock_event_heard(struct vsock_event *v)
{
	if (v->due)
		send_reset(v);
	if (v->waiting &&
	    virtqueue_arm_late(virtio_vq(v->dev, VSOCK_EVENT), v->count))
		v->waiting = false;
	return !v->waiting;
}

void vsock_event_set(struct vsock_event *v, bool due)
{
	v->due = due;
	v->waiting = false;
}

static void on_patience(void *opaque)
{
	struct vsock_event *v = opaque;

	if (!v->waiting)
		return;
	v->waiting = false;
	v->heard(v->opaque);
}

int vsock_event_init(struct vsock_event *v, struct virtio_device *d,
		     void (*heard)(void *opaque), void *opaque,
		     struct error *e)
{
	int ret;

	*v = (struct vsock_event){
		.dev = d, .heard = heard, .opaque = opaque,
	};
	ret = loop_timer_init(d->loop, &v->patience, on_patience, v);
	return ret ? error_errno(e, ret, "virtio-vsock: timer") : 0;
}

static void deinit_on_loop(void *opaque)
{
	loop_timer_deinit(&((struct vsock_event *)opaque)->patience);
}

void vsock_event_deinit(struct vsock_event *v)
{
	loop_call(v->dev->loop, deinit_on_loop, v);
}
