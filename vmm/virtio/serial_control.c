/* SPDX-License-Identifier: MIT */
/* The control queues of the console device (VIRTIO 1.2, 5.3.6.2). The device's
 * loop. */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_console.h>
#include <string.h>

#include "virtio/serial_internal.h"

void serial_control_added(struct serial_port *p)
{
	if (p->serial->driver_ready)
		p->pending |= 1u << SERIAL_ADD;
}

/* A removal that the driver has not heard of yet is owed to it all the same,
 * also when another port is there by then. */
void serial_control_removed(struct serial_port *p)
{
	p->pending &= 1u << SERIAL_REMOVE;
	if (p->announced)
		p->pending |= 1u << SERIAL_REMOVE;
	p->announced = p->ready = false;
	p->guest_open = false;
}

void serial_control_reset(struct virtio_serial *s)
{
	s->driver_ready = false;
	for (unsigned int i = 0; i < s->max_ports; i++) {
		struct serial_port *p = &s->ports[i];

		p->pending = 0;
		p->announced = p->ready = false;
		p->guest_open = false;
		p->io.sent = 0;
	}
}

/* ---- what the driver says ------------------------------------------------ */

static void port_ready(struct serial_port *p, bool ready)
{
	p->ready = ready && p->announced;
	if (!p->ready)
		return;
	p->pending |= 1u << SERIAL_OPEN;
	if (p->console)
		p->pending |= 1u << SERIAL_CONSOLE;
	if (p->name)
		p->pending |= 1u << SERIAL_NAME;
}

static void take(struct virtio_serial *s,
		 const struct virtio_console_control *c)
{
	uint32_t id = le32toh(c->id);
	bool on = c->value;
	struct serial_port *p = NULL;

	if (id < s->max_ports && s->ports[id].io.cd)
		p = &s->ports[id];
	switch (le16toh(c->event)) {
	case VIRTIO_CONSOLE_DEVICE_READY:
		s->driver_ready = on;
		for (unsigned int i = 0; i < s->max_ports; i++)
			if (s->ports[i].io.cd)
				serial_control_added(&s->ports[i]);
		break;
	case VIRTIO_CONSOLE_PORT_READY:
		if (p)
			port_ready(p, on);
		break;
	case VIRTIO_CONSOLE_PORT_OPEN:
		if (p)
			p->guest_open = on && p->announced;
		break;
	default:
		break;
	}
}

/* One chain: 1, 0 none there, -EPROTO. What is too short says nothing. */
static int take_one(struct virtio_device *d, unsigned int index)
{
	struct virtio_serial *s = (struct virtio_serial *)d;
	struct virtqueue *vq = virtio_vq(d, index);
	struct virtq_chain ch = { .iov = s->iov, .iov_max = CONSOLE_IOVS };
	struct virtio_console_control c;
	int ret = virtqueue_pop(vq, &ch);

	if (ret <= 0)
		return ret;
	if (ch.writable)
		return -EPROTO;
	if (iov_read(ch.iov, ch.readable, 0, &c, sizeof(c)) == sizeof(c))
		take(s, &c);
	virtqueue_push(vq, ch.head, 0);
	return 1;
}

void serial_control_take(struct virtio_serial *s)
{
	virtio_queue_drain(&s->dev, CONTROL_TRANSMITQ, CONSOLE_QUEUE_SIZE,
			   take_one);
}

/* ---- what it is told ----------------------------------------------------- */

static struct serial_port *next_pending(struct virtio_serial *s,
					enum serial_message *m)
{
	for (unsigned int i = 0; s->driver_ready && i < s->max_ports; i++) {
		struct serial_port *p = &s->ports[i];

		if (!p->pending)
			continue;
		*m = (enum serial_message)__builtin_ctz(p->pending);
		return p;
	}
	return NULL;
}

/*
 * 5.3.6.2: the message into the chain's buffers. One that is too long for them
 * is cut off: the rest of a name at most. The bytes written.
 */
static size_t put_message(struct serial_port *p, enum serial_message m,
			  const struct virtq_chain *ch)
{
	static const uint16_t events[SERIAL_MESSAGES] = {
		[SERIAL_REMOVE] = VIRTIO_CONSOLE_PORT_REMOVE,
		[SERIAL_ADD] = VIRTIO_CONSOLE_PORT_ADD,
		[SERIAL_CONSOLE] = VIRTIO_CONSOLE_CONSOLE_PORT,
		[SERIAL_NAME] = VIRTIO_CONSOLE_PORT_NAME,
		[SERIAL_OPEN] = VIRTIO_CONSOLE_PORT_OPEN,
	};
	const struct iovec *iov = ch->iov + ch->readable;
	/* For a console nothing waits until somebody is there. */
	bool value = m != SERIAL_OPEN || p->console ||
		     chardev_is_open(p->io.cd);
	const struct virtio_console_control c = {
		.id = htole32(p->nr),
		.event = htole16(events[m]),
		.value = htole16(value),
	};
	size_t n = iov_write(iov, ch->writable, 0, &c, sizeof(c));

	if (m == SERIAL_NAME && n == sizeof(c))
		n += iov_write(iov, ch->writable, n, p->name, strlen(p->name));
	return n;
}

/* 1, 0 no buffer or nothing to say, -EPROTO. */
static int tell_one(struct virtio_serial *s)
{
	struct virtqueue *vq = virtio_vq(&s->dev, CONTROL_RECEIVEQ);
	struct virtq_chain ch = { .iov = s->iov, .iov_max = CONSOLE_IOVS };
	enum serial_message m;
	struct serial_port *p = next_pending(s, &m);
	int ret = p ? virtqueue_pop(vq, &ch) : 0;

	if (ret <= 0)
		return ret;
	if (ch.readable)
		return -EPROTO;
	virtqueue_push(vq, ch.head, (uint32_t)put_message(p, m, &ch));
	p->pending &= ~(1u << m);
	if (m == SERIAL_ADD)
		p->announced = true;
	return 1;
}

void serial_control_tell(struct virtio_serial *s)
{
	struct virtqueue *vq = virtio_vq(&s->dev, CONTROL_RECEIVEQ);
	enum serial_message m;
	int ret = 0;

	if (!virtqueue_size(vq))
		return;
	/* Ends: each turn takes one from a finite set. */
	do {
		ret = tell_one(s);
	} while (ret == 1 || (!ret && next_pending(s, &m) && virtqueue_arm(vq)));
	virtio_queue_flush(&s->dev, CONTROL_RECEIVEQ);
	if (ret < 0)
		virtio_device_broken(&s->dev);
}
