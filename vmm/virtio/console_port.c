/* SPDX-License-Identifier: MIT */
/* The data queues of a console's port. The device's loop. */
#include "virtio/console_port.h"

#include <errno.h>

/* Written in one turn of the loop, which has other devices too. */
#define TURN_MAX_BYTES	(256u << 10)

/*
 * Writes the chain from byte p->sent on. 0: all of it is gone; -EAGAIN: no room
 * behind; -EBUSY: enough for this turn.
 */
static int send_chain(struct console_port *p, const struct virtq_chain *ch,
		      size_t *turn)
{
	uint64_t skip = p->sent;

	for (uint32_t i = 0; i < ch->readable; i++) {
		const uint8_t *from = ch->iov[i].iov_base;
		size_t len = ch->iov[i].iov_len, want, n;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		want = len - skip < *turn ? len - skip : *turn;
		n = chardev_write(p->cd, from + skip, want);
		p->sent += n;
		*turn -= n;
		if (n < want)
			return -EAGAIN;
		if (n < len - skip)
			return -EBUSY;
		skip = 0;
	}
	p->sent = 0;
	return 0;
}

/* One chain: 1, 0 none there, -EPROTO, or what send_chain() says. */
static int transmit(struct console_port *p, size_t *turn)
{
	struct virtqueue *vq = virtio_vq(p->dev, p->transmitq);
	struct virtq_chain ch = { .iov = p->iov, .iov_max = CONSOLE_IOVS };
	int ret = virtqueue_pop(vq, &ch);

	if (ret <= 0)
		return ret;
	/* 5.3.6.2: nothing to write into in the transmitq. */
	if (ch.writable)
		return -EPROTO;
	ret = send_chain(p, &ch, turn);
	if (ret) {
		virtqueue_unpop(vq);
		return ret;
	}
	virtqueue_push(vq, ch.head, 0);
	return 1;
}

/* One chain: 1, 0 none there, -EAGAIN no input, -EPROTO. */
static int receive(struct console_port *p)
{
	struct virtqueue *vq = virtio_vq(p->dev, p->receiveq);
	struct virtq_chain ch = { .iov = p->iov, .iov_max = CONSOLE_IOVS };
	int ret = virtqueue_pop(vq, &ch);
	size_t done = 0;

	if (ret <= 0)
		return ret;
	if (ch.readable)
		return -EPROTO;
	for (uint32_t i = 0; i < ch.writable; i++) {
		size_t len = ch.iov[i].iov_len;
		size_t n = chardev_read(p->cd, ch.iov[i].iov_base, len);

		done += n;
		if (n < len)
			break;
	}
	if (!done && ch.writable) {
		virtqueue_unpop(vq);
		return -EAGAIN;
	}
	virtqueue_push(vq, ch.head, (uint32_t)done);
	return 1;
}

bool console_port_run(struct console_port *p, unsigned int queue)
{
	struct virtqueue *vq = virtio_vq(p->dev, queue);
	unsigned int size = virtqueue_size(vq), budget = size;
	size_t turn = TURN_MAX_BYTES;
	int ret = 0;

	if (!budget)
		return false;
	virtqueue_disarm(vq);
	while (budget) {
		ret = queue == p->receiveq ? receive(p) : transmit(p, &turn);
		if (ret == 1)
			budget--;
		else if (ret || !virtqueue_arm(vq))
			break;
	}
	virtio_queue_flush(p->dev, queue);
	if (!budget || ret == -EBUSY)
		virtio_queue_again(p->dev, queue);
	else if (ret == -EPROTO)
		virtio_device_broken(p->dev);
	/* -EAGAIN: the chardev wakes us; kicks would not help until then. */
	return queue == p->transmitq && budget < size;
}
