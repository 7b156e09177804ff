/* SPDX-License-Identifier: MIT */
/*
 * The socket device (VIRTIO 1.2, 5.10): chains become packets for vmm/vsock/, and
 * its packets fill chains. Create and destroy run on the main thread, the rest on
 * the device's loop.
 */
#include "virtio/vsock.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_vsock.h>
#include <stdlib.h>
#include <string.h>

#include "vsock/vsock.h"

#define VSOCK_F_STREAM	0	/* 5.10.3; Linux takes it for granted */
#define HDR_BYTES	sizeof(struct virtio_vsock_hdr)
#define IOV_MAX_COUNT	(VSOCK_QUEUE_SIZE + VIRTQ_IOV_SLACK)
/* Receive buffers held ready, so that one read can fill several. */
#define SPARES		16u
/* In one turn of the loop, which has other devices too. */
#define TURN_MAX_BYTES	(1u << 20)
#define CHAIN_COST_BYTES 1024u		/* a chain counts for at least this */

_Static_assert(IOV_MAX_COUNT <= VSOCK_SLOT_IOVS, "a chain fits a slot");

struct spare {
	struct vsock_slot slot;
	struct virtq_chain chain;
	struct iovec header[IOV_MAX_COUNT];	/* the chain's buffers */
	struct iovec payload[IOV_MAX_COUNT];	/* those behind the header */
};

struct virtio_vsock {
	struct virtio_device dev;
	struct vsock *host;
	uint32_t cid;
	bool stopped;
	struct vsock_event event;
	bool tx_waits;		/* for room for answers */
	/* The first spare_count are popped chains, in the ring's order. */
	struct spare *spares[SPARES];
	struct vsock_slot *slots[SPARES];
	unsigned int spare_count;
	struct iovec iov[IOV_MAX_COUNT];
	struct spare memory[SPARES];
};

static struct virtio_vsock *to_vsock(struct virtio_device *d)
{
	return (struct virtio_vsock *)d;
}

/* What is behind the first HDR_BYTES; returns the number of iovecs. */
static unsigned int skip_header(const struct iovec *iov, unsigned int count,
				struct iovec *out)
{
	size_t skip = HDR_BYTES;
	unsigned int used = 0;

	for (unsigned int i = 0; i < count; i++) {
		size_t n = skip < iov[i].iov_len ? skip : iov[i].iov_len;

		skip -= n;
		if (iov[i].iov_len > n)
			out[used++] = (struct iovec){
				(uint8_t *)iov[i].iov_base + n,
				iov[i].iov_len - n,
			};
	}
	return used;
}

/* ---- receiveq: packets to the guest -------------------------------------- */

/* One more spare: 1, 0 no chain there, -EPROTO. */
static int pop_spare(struct virtio_vsock *s)
{
	struct spare *p = s->spares[s->spare_count];
	int ret;

	p->chain = (struct virtq_chain){ .iov = p->header,
					 .iov_max = IOV_MAX_COUNT };
	ret = virtqueue_pop(virtio_vq(&s->dev, VSOCK_RX), &p->chain);
	if (ret <= 0)
		return ret;
	/* Without room for a byte behind the header nothing would ever move. */
	if (p->chain.readable || p->chain.writable_bytes <= HDR_BYTES)
		return -EPROTO;
	p->slot.iov = p->payload;
	p->slot.count = skip_header(p->header, p->chain.writable, p->payload);
	p->slot.room_bytes = (uint32_t)(p->chain.writable_bytes - HDR_BYTES);
	s->spare_count++;
	return 1;
}

/* Pushes the first n spares, filled; the others move up. */
static uint32_t push_spares(struct virtio_vsock *s, unsigned int n)
{
	struct spare *done[SPARES] = { NULL };
	uint32_t bytes = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct spare *p = s->spares[i];
		uint32_t len = (uint32_t)HDR_BYTES + p->slot.len_bytes;

		iov_write(p->header, p->chain.writable, 0, &p->slot.hdr,
			  HDR_BYTES);
		virtqueue_push(virtio_vq(&s->dev, VSOCK_RX), p->chain.head,
			       len);
		bytes += len + CHAIN_COST_BYTES;
		done[i] = p;
	}
	s->spare_count -= n;
	memmove(s->spares, s->spares + n,
		(SPARES - n) * sizeof(*s->spares));
	memcpy(s->spares + SPARES - n, done, n * sizeof(*done));
	for (unsigned int i = 0; i < SPARES; i++)
		s->slots[i] = &s->spares[i]->slot;
	return bytes;
}

/* Until there are no packets or no buffers: 0, 1 enough for a turn, -EPROTO. */
static int fill_buffers(struct virtio_vsock *s)
{
	struct virtqueue *vq = virtio_vq(&s->dev, VSOCK_RX);
	uint32_t turn = 0;
	int ret = 1;

	while (vsock_has_packets(s->host)) {
		unsigned int n;

		if (turn > TURN_MAX_BYTES)
			return 1;
		while (ret == 1 && s->spare_count < SPARES)
			ret = pop_spare(s);
		if (ret < 0)
			return ret;
		if (!s->spare_count) {
			if (!virtqueue_arm(vq))
				return 0;
			ret = 1;
			continue;
		}
		n = vsock_fill(s->host, s->slots, s->spare_count);
		turn += push_spares(s, n);
		ret = 1;
	}
	return 0;
}

static void deliver(struct virtio_vsock *s)
{
	int ret;

	if (s->stopped)
		return;
	/* After a restore new streams come after the end of the old ones. */
	if (!vsock_event_heard(&s->event) ||
	    !virtqueue_size(virtio_vq(&s->dev, VSOCK_RX)))
		return;
	virtqueue_disarm(virtio_vq(&s->dev, VSOCK_RX));
	ret = fill_buffers(s);
	virtio_queue_flush(&s->dev, VSOCK_RX);
	if (ret < 0) {
		virtio_device_broken(&s->dev);
		return;
	}
	if (ret)
		virtio_queue_again(&s->dev, VSOCK_RX);
	if (s->tx_waits && vsock_can_receive(s->host)) {
		s->tx_waits = false;
		virtio_queue_again(&s->dev, VSOCK_TX);
	}
}

/* The host's end has packets. */
static void on_packets(void *opaque)
{
	deliver(opaque);
}

/* ---- transmitq: packets of the guest ------------------------------------- */

/* One chain: its cost in bytes, 0 none there, -EPROTO. */
static int transmit(struct virtio_vsock *s)
{
	struct virtqueue *vq = virtio_vq(&s->dev, VSOCK_TX);
	struct virtq_chain c = { .iov = s->iov, .iov_max = IOV_MAX_COUNT };
	struct virtio_vsock_hdr hdr;
	int ret = virtqueue_pop(vq, &c);
	unsigned int count;

	if (ret <= 0)
		return ret;
	/* 5.10.6: a packet begins with its header. */
	if (c.writable || c.readable_bytes < HDR_BYTES)
		return -EPROTO;
	iov_read(s->iov, c.readable, 0, &hdr, HDR_BYTES);
	count = skip_header(s->iov, c.readable, s->iov);
	vsock_receive(s->host, &hdr, s->iov, count);
	virtqueue_push(vq, c.head, 0);
	return (int)CHAIN_COST_BYTES +
	       (int)(c.readable_bytes < TURN_MAX_BYTES ? c.readable_bytes :
							 TURN_MAX_BYTES);
}

static void drain_transmitq(struct virtio_vsock *s)
{
	struct virtqueue *vq = virtio_vq(&s->dev, VSOCK_TX);
	unsigned int turn = 0;
	int ret = 0;

	if (s->stopped || !virtqueue_size(vq))
		return;
	virtqueue_disarm(vq);
	while (turn < TURN_MAX_BYTES) {
		/* 5.10.6.1: no more packets while answers pile up. */
		s->tx_waits = !vsock_can_receive(s->host);
		if (s->tx_waits)
			break;
		ret = transmit(s);
		if (ret > 0)
			turn += (unsigned int)ret;
		else if (ret || !virtqueue_arm(vq))
			break;
	}
	virtio_queue_flush(&s->dev, VSOCK_TX);
	if (ret < 0) {
		virtio_device_broken(&s->dev);
		return;
	}
	if (turn >= TURN_MAX_BYTES)
		virtio_queue_again(&s->dev, VSOCK_TX);
	deliver(s);
}

/* ---- the device ---------------------------------------------------------- */

static void vsock_handle_queue(struct virtio_device *d, unsigned int index)
{
	struct virtio_vsock *s = to_vsock(d);

	if (index == VSOCK_TX)
		drain_transmitq(s);
	else
		deliver(s);
}

void virtio_vsock_config_read(uint32_t cid, uint32_t offset, uint8_t *data,
			      uint32_t len)
{
	const struct virtio_vsock_config config = { .guest_cid = htole64(cid) };

	memcpy(data, (const uint8_t *)&config + offset, len);
}

static void vsock_config_read(struct virtio_device *d, uint32_t offset,
			      uint8_t *data, uint32_t len)
{
	virtio_vsock_config_read(to_vsock(d)->cid, offset, data, len);
}

static int vsock_activate(struct virtio_device *d)
{
	struct virtio_vsock *s = to_vsock(d);

	s->stopped = d->quiesced;
	s->tx_waits = false;
	vsock_event_set(&s->event, false);
	s->spare_count = 0;
	vsock_start(s->host, virtio_has(d, VIRTIO_VSOCK_F_SEQPACKET));
	return 0;
}

/* Streams go on: only the guest's memory is left alone from here on. */
static void vsock_quiesce(struct virtio_device *d)
{
	struct virtio_vsock *s = to_vsock(d);

	s->stopped = true;
	for (; s->spare_count; s->spare_count--)
		virtqueue_unpop(virtio_vq(d, VSOCK_RX));
}

static void vsock_resume(struct virtio_device *d)
{
	to_vsock(d)->stopped = false;
}

static void vsock_device_reset(struct virtio_device *d)
{
	struct virtio_vsock *s = to_vsock(d);

	s->stopped = true;
	s->spare_count = 0;
	vsock_reset(s->host);
}

/*
 * Nothing is saved but the queues: the streams do not survive, and the driver,
 * which then also looks at its CID again, is told so.
 */
static int vsock_load(struct virtio_device *d, struct state_reader *r,
		      struct error *e)
{
	(void)r;
	(void)e;
	vsock_event_set(&to_vsock(d)->event, d->active);
	return 0;
}

static void vsock_device_destroy(struct virtio_device *d)
{
	vsock_event_deinit(&to_vsock(d)->event);
	vsock_destroy(to_vsock(d)->host);
	virtio_device_deinit(d);
	free(d);
}

static const struct virtio_device_ops vsock_ops = {
	.config_read = vsock_config_read,
	.activate = vsock_activate,
	.handle_queue = vsock_handle_queue,
	.quiesce = vsock_quiesce,
	.resume = vsock_resume,
	.reset = vsock_device_reset,
	.load = vsock_load,
	.destroy = vsock_device_destroy,
};

static const struct virtio_device_info vsock_info = {
	.name = "virtio-vsock",
	.type_id = VIRTIO_ID_VSOCK,
	.pci_class = 0x028000,		/* network, other */
	.ops = &vsock_ops,
};

struct vsock *virtio_vsock_host(struct virtio_device *d)
{
	return d->info == &vsock_info ? to_vsock(d)->host : NULL;
}

static int create(struct virtio_device **out, const struct config_vsock *c,
		  struct guest_mem *mem, struct loop *loop, struct error *e)
{
	static const uint16_t sizes[VSOCK_QUEUES] = {
		VSOCK_QUEUE_SIZE, VSOCK_QUEUE_SIZE, VSOCK_EVENT_SIZE,
	};
	struct virtio_vsock *s = calloc(1, sizeof(*s));
	struct vsock_params p = {
		.guest_cid = c->cid, .path = c->path, .loop = loop,
		.packets = on_packets, .opaque = s,
	};
	int ret;

	if (!s)
		return error_errno(e, -ENOMEM, "virtio-vsock");
	s->cid = c->cid;
	s->stopped = true;
	for (unsigned int i = 0; i < SPARES; i++) {
		s->spares[i] = &s->memory[i];
		s->slots[i] = &s->memory[i].slot;
	}
	ret = virtio_device_init(&s->dev, &vsock_info, mem, loop,
				 UINT64_C(1) << VSOCK_F_STREAM |
				 UINT64_C(1) << VIRTIO_VSOCK_F_SEQPACKET,
				 sizeof(struct virtio_vsock_config), sizes,
				 VSOCK_QUEUES, e);
	if (ret)
		goto err_free;
	ret = vsock_event_init(&s->event, &s->dev, on_packets, s, e);
	if (ret)
		goto err_device;
	ret = vsock_create(&s->host, &p, e);
	if (ret)
		goto err_event;
	*out = &s->dev;
	return 0;

err_event:
	vsock_event_deinit(&s->event);
err_device:
	virtio_device_deinit(&s->dev);
err_free:
	free(s);
	return ret;
}

int virtio_vsock_create(struct virtio_device **out,
			const struct config_vsock *c, struct guest_mem *mem,
			struct loop *loop, struct error *e)
{
	return c->vhost ? vhost_vsock_create(out, c, mem, loop, e) :
			  create(out, c, mem, loop, e);
}
