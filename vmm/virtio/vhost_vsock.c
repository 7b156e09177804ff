/* SPDX-License-Identifier: MIT */
/*
 * The socket device with the host kernel's back end: host programs use AF_VSOCK.
 * The kernel has the two data queues, the event queue is ours (VIRTIO 1.2,
 * 5.10). Threads as in vsock.c.
 */
#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_vsock.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "virtio/vhost.h"
#include "virtio/vsock.h"

#define NODE		"/dev/vhost-vsock"
#define DATA_QUEUES	2u

struct vhost_vsock {
	struct virtio_device dev;
	struct vhost vhost;
	struct vhost_queue queues[DATA_QUEUES];
	uint32_t cid;
	bool adopted;		/* the kernel's handle is not ours alone */
	bool stopped;
	bool reset_due;		/* the driver has to hear of a restore */
};

static struct vhost_vsock *to_vhost(struct virtio_device *d)
{
	return (struct vhost_vsock *)d;
}

static int set_cid(struct vhost_vsock *s)
{
	uint64_t cid = s->cid;

	return ioctl(s->vhost.fd, VHOST_VSOCK_SET_GUEST_CID, &cid) < 0 ?
	       -errno : 0;
}

static int set_running(struct vhost_vsock *s, int running)
{
	return ioctl(s->vhost.fd, VHOST_VSOCK_SET_RUNNING, &running) < 0 ?
	       -errno : 0;
}

static void stop(struct vhost_vsock *s)
{
	if (s->vhost.fd < 0)
		return;
	set_running(s, 0);
	for (unsigned int i = 0; i < DATA_QUEUES; i++)
		vhost_queue_stop(&s->vhost, &s->queues[i], i);
}

static int start(struct vhost_vsock *s)
{
	/* vhost/vsock.c asks vhost_get_vq_desc() for no log. */
	int ret = s->vhost.fd < 0 ? -ENODEV :
				    vhost_prepare(&s->vhost, &s->dev, false);

	for (unsigned int i = 0; !ret && i < DATA_QUEUES; i++)
		ret = vhost_queue_start(&s->vhost, &s->queues[i], i, &s->dev,
					i);
	if (!ret)
		ret = set_running(s, 1);
	for (unsigned int i = 0; !ret && i < DATA_QUEUES; i++)
		ret = vhost_queue_kick(&s->vhost, &s->queues[i], i);
	if (ret)
		stop(s);
	return ret;
}

static void send_event(struct virtio_device *d, unsigned int index)
{
	struct vhost_vsock *s = to_vhost(d);
	int ret;

	if (index != VSOCK_EVENT || s->stopped || !s->reset_due)
		return;
	do
		ret = virtio_vsock_send_reset(d);
	while (!ret && virtqueue_arm(virtio_vq(d, VSOCK_EVENT)));
	if (ret > 0)
		s->reset_due = false;
	else if (ret)
		virtio_device_broken(d);
}

static void vhost_config_read(struct virtio_device *d, uint32_t offset,
			      uint8_t *data, uint32_t len)
{
	virtio_vsock_config_read(to_vhost(d)->cid, offset, data, len);
}

static int vhost_activate(struct virtio_device *d)
{
	struct vhost_vsock *s = to_vhost(d);

	s->stopped = d->quiesced;
	s->reset_due = false;
	return s->stopped ? 0 : start(s);
}

static void vhost_quiesce(struct virtio_device *d)
{
	struct vhost_vsock *s = to_vhost(d);

	if (!s->stopped)
		stop(s);
	s->stopped = true;
}

static void vhost_resume(struct virtio_device *d)
{
	to_vhost(d)->stopped = false;
	if (start(to_vhost(d)))
		virtio_device_broken(d);
}

/* Only closing it ends the host's sockets; it is opened anew for the next
 * driver, which fails to start should that not work. */
static void vhost_reset(struct virtio_device *d)
{
	struct vhost_vsock *s = to_vhost(d);

	vhost_quiesce(d);
	if (s->adopted)
		return;
	vhost_close(&s->vhost);
	if (!vhost_open(&s->vhost, NODE) && set_cid(s))
		vhost_close(&s->vhost);
}

static void vhost_interrupts_changed(struct virtio_device *d)
{
	struct vhost_vsock *s = to_vhost(d);

	for (unsigned int i = 0; i < DATA_QUEUES; i++)
		if (vhost_queue_rewire(&s->vhost, &s->queues[i], i))
			virtio_device_broken(d);
}

static void vhost_memory_changed(struct virtio_device *d)
{
	struct vhost_vsock *s = to_vhost(d);

	if (!s->stopped && vhost_set_memory(&s->vhost, d->mem))
		virtio_device_broken(d);
}

/* See vsock_load(). */
static int vhost_load(struct virtio_device *d, struct state_reader *r,
		      struct error *e)
{
	(void)r;
	(void)e;
	to_vhost(d)->reset_due = d->active;
	return 0;
}

static void vhost_destroy(struct virtio_device *d)
{
	vhost_close(&to_vhost(d)->vhost);
	virtio_device_deinit(d);
	free(d);
}

static const struct virtio_device_ops vhost_ops = {
	.config_read = vhost_config_read,
	.activate = vhost_activate,
	.handle_queue = send_event,
	.quiesce = vhost_quiesce,
	.resume = vhost_resume,
	.reset = vhost_reset,
	.load = vhost_load,
	.interrupts_changed = vhost_interrupts_changed,
	.memory_changed = vhost_memory_changed,
	.destroy = vhost_destroy,
};

static const struct virtio_device_info vhost_info = {
	.name = "virtio-vsock",
	.type_id = VIRTIO_ID_VSOCK,
	.pci_class = 0x028000,		/* network, other */
	.ops = &vhost_ops,
};

static int open_node(struct vhost_vsock *s, int fd, uint64_t *features,
		     struct error *e)
{
	int ret = fd > 0 ? vhost_adopt(&s->vhost, fd) :
			   vhost_open(&s->vhost, NODE);

	if (ret && fd > 0)
		return error_errno(e, ret, "vhostfd: no vhost-vsock");
	if (ret)
		return error_errno(e, ret, "--vsock vhost=on: " NODE
				   " (modprobe vhost_vsock?)");
	ret = set_cid(s);
	if (ret == -EADDRINUSE)
		return error_config(e, ret, "--vsock: cid=%u is in use on this "
				    "host", s->cid);
	if (!ret)
		ret = vhost_features(&s->vhost, features);
	return ret ? error_errno(e, ret, "--vsock vhost=on: " NODE) : 0;
}

int vhost_vsock_create(struct virtio_device **out,
		       const struct config_vsock *c, struct guest_mem *mem,
		       struct loop *loop, struct error *e)
{
	static const uint16_t sizes[VSOCK_QUEUES] = {
		VSOCK_QUEUE_SIZE, VSOCK_QUEUE_SIZE, VSOCK_EVENT_SIZE,
	};
	struct vhost_vsock *s = calloc(1, sizeof(*s));
	uint64_t features = 0;
	int ret;

	if (!s)
		return error_errno(e, -ENOMEM, "virtio-vsock");
	s->cid = c->cid;
	s->adopted = c->vhost_fd > 0;
	s->stopped = true;
	s->vhost = (struct vhost)VHOST_INIT;
	ret = open_node(s, c->vhost_fd, &features, e);
	if (ret)
		goto err;
	ret = virtio_device_init(&s->dev, &vhost_info, mem, loop, features &
				 UINT64_C(1) << VIRTIO_VSOCK_F_SEQPACKET,
				 sizeof(struct virtio_vsock_config), sizes,
				 VSOCK_QUEUES, e);
	if (ret)
		goto err;
	s->dev.queues[VSOCK_RX].external = true;
	s->dev.queues[VSOCK_TX].external = true;
	*out = &s->dev;
	return 0;

err:
	vhost_close(&s->vhost);
	free(s);
	return ret;
}
