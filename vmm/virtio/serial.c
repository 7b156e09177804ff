/* SPDX-License-Identifier: MIT */
/*
 * The console device with many ports (VIRTIO 1.2, 5.3). Ports come and go on the
 * main thread, by calls to the device's loop, where the rest runs; the chardevs'
 * callbacks, on the main thread, only note what happened and wake it.
 */
#include "virtio/serial.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "virtio/serial_internal.h"

static struct virtio_serial *to_serial(struct virtio_device *d)
{
	return (struct virtio_serial *)d;
}

/* 5.3.2: port 0 has the first two queues, the others follow the control's. */
static unsigned int receiveq_of(unsigned int nr)
{
	return nr ? 2 * nr + 2 : 0;
}

/* ---- the device's loop --------------------------------------------------- */

/* What the driver sends to no port is used up: it may wait for its buffers. */
static void discard(struct virtio_serial *s, unsigned int queue)
{
	struct virtqueue *vq = virtio_vq(&s->dev, queue);
	struct virtq_chain ch = { .iov = s->iov, .iov_max = CONSOLE_IOVS };
	unsigned int budget = virtqueue_size(vq);
	int ret = 0;

	while (budget && (ret = virtqueue_pop(vq, &ch)) == 1) {
		virtqueue_push(vq, ch.head, 0);
		budget--;
	}
	virtio_queue_flush(&s->dev, queue);
	if (ret < 0)
		virtio_device_broken(&s->dev);
	else if (virtqueue_size(vq) && (!budget || virtqueue_arm(vq)))
		virtio_queue_again(&s->dev, queue);
}

/* Input is for a program that has the port open, and for consoles. */
static void run_port(struct serial_port *p, unsigned int queue)
{
	if (queue == p->io.receiveq) {
		if (p->io.cd && p->guest_open)
			console_port_run(&p->io, queue);
	} else if (p->io.cd && p->announced) {
		console_port_run(&p->io, queue);
	} else {
		discard(p->serial, queue);
	}
}

/* A bit for each port. */
static unsigned int guest_open(const struct virtio_serial *s)
{
	unsigned int open = 0;

	for (unsigned int i = 0; i < s->max_ports; i++)
		open |= (unsigned int)s->ports[i].guest_open << i;
	return open;
}

static void run_control(struct virtio_serial *s)
{
	unsigned int before = guest_open(s), opened;

	serial_control_take(s);
	serial_control_tell(s);
	opened = guest_open(s) & ~before;
	for (unsigned int i = 0; i < s->max_ports; i++)
		if (opened >> i & 1)
			run_port(&s->ports[i], s->ports[i].io.receiveq);
	if (guest_open(s) != before)
		s->host.changed(s->host.opaque);
}

static void serial_handle_queue(struct virtio_device *d, unsigned int index)
{
	struct virtio_serial *s = to_serial(d);

	if (s->stopped)
		return;
	if (index == CONTROL_RECEIVEQ || index == CONTROL_TRANSMITQ)
		run_control(s);
	else
		run_port(&s->ports[index < 2 ? 0 : index / 2 - 1], index);
}

static void on_wake(struct loop_watch *w, uint32_t events)
{
	struct virtio_serial *s = w->opaque;
	unsigned int woken;
	uint64_t count;

	(void)events;
	(void)!read(w->fd, &count, sizeof(count));
	woken = atomic_exchange(&s->woken, 0);
	for (unsigned int i = 0; i < s->max_ports; i++) {
		struct serial_port *p = &s->ports[i];

		if (!(woken >> i & 1) || !p->io.cd)
			continue;
		run_port(p, p->io.receiveq);
		run_port(p, p->io.transmitq);
	}
	serial_control_tell(s);
}

static int serial_watch(struct virtio_serial *s)
{
	return loop_add(s->dev.loop, &s->wake, s->wake_fd, EPOLLIN, on_wake, s);
}

static int serial_activate(struct virtio_device *d)
{
	struct virtio_serial *s = to_serial(d);

	serial_control_reset(s);
	/* 5.3.2: without the feature there is port 0, and nobody speaks of it. */
	if (!virtio_has(d, VIRTIO_CONSOLE_F_MULTIPORT)) {
		s->ports[0].announced = true;
		s->ports[0].guest_open = true;
	}
	s->host.changed(s->host.opaque);
	s->stopped = d->quiesced;
	return s->stopped ? 0 : serial_watch(s);
}

static void serial_quiesce(struct virtio_device *d)
{
	to_serial(d)->stopped = true;
	loop_remove(&to_serial(d)->wake);
}

static void serial_resume(struct virtio_device *d)
{
	to_serial(d)->stopped = false;
	if (serial_watch(to_serial(d)))
		virtio_device_broken(d);
}

static void serial_reset(struct virtio_device *d)
{
	serial_quiesce(d);
	serial_control_reset(to_serial(d));
	to_serial(d)->host.changed(to_serial(d)->host.opaque);
}

/* ---- the chardevs' callbacks: main thread -------------------------------- */

static void wake(void *opaque)
{
	struct serial_port *p = opaque;
	uint64_t one = 1;

	atomic_fetch_or(&p->serial->woken, 1u << p->nr);
	(void)!write(p->serial->wake_fd, &one, sizeof(one));
}

void serial_look_again(struct virtio_serial *s)
{
	for (unsigned int i = 0; i < s->max_ports; i++)
		if (s->ports[i].io.cd)
			wake(&s->ports[i]);
}

static void note_connection(void *opaque)
{
	struct serial_port *p = opaque;

	if (p->ready)
		p->pending |= 1u << SERIAL_OPEN;
}

static void connected(void *opaque, bool on)
{
	struct serial_port *p = opaque;

	(void)on;	/* it is looked at when it is told */
	if (p->console)
		return;
	loop_call(p->serial->dev.loop, note_connection, p);
	wake(p);
}

static const struct chardev_client client = {
	.input_ready = wake,
	.output_ready = wake,
	.connected = connected,
};

/* ---- ports: main thread -------------------------------------------------- */

struct change {
	struct serial_port *port;
	char *name;
	bool console;
	struct chardev *cd;
};

static void install(void *opaque)
{
	const struct change *c = opaque;
	struct serial_port *p = c->port;

	p->name = c->name;
	p->console = c->console;
	p->io.cd = c->cd;
	p->io.sent = 0;
	serial_control_added(p);
}

int virtio_serial_add(struct virtio_device *d, unsigned int nr,
		      const char *name, bool console, struct chardev *cd)
{
	struct serial_port *p = &to_serial(d)->ports[nr];
	struct change c = { .port = p, .console = console, .cd = cd };

	c.name = name ? strdup(name) : NULL;
	if (name && !c.name)
		return -ENOMEM;
	chardev_set_lossless(cd, !console);
	loop_call(d->loop, install, &c);
	chardev_set_client(cd, &client, p);
	wake(p);
	return 0;
}

static void uninstall(void *opaque)
{
	struct serial_port *p = opaque;

	p->io.cd = NULL;
	free(p->name);
	p->name = NULL;
	serial_control_removed(p);
	if (!p->serial->stopped)
		discard(p->serial, p->io.transmitq);
}

void virtio_serial_remove(struct virtio_device *d, unsigned int nr)
{
	struct serial_port *p = &to_serial(d)->ports[nr];
	struct chardev *cd = p->io.cd;

	chardev_set_client(cd, NULL, NULL);
	loop_call(d->loop, uninstall, p);
	chardev_set_lossless(cd, false);
	wake(p);
}

bool virtio_serial_guest_open(struct virtio_device *d, unsigned int nr)
{
	return atomic_load(&to_serial(d)->ports[nr].guest_open);
}

/* ---- machine lock -------------------------------------------------------- */

static void serial_config_read(struct virtio_device *d, uint32_t offset,
			       uint8_t *data, uint32_t len)
{
	struct virtio_console_config config = {
		.max_nr_ports = htole32(to_serial(d)->max_ports),
	};

	memcpy(data, (const uint8_t *)&config + offset, len);
}

/* ---- life: main thread --------------------------------------------------- */

static void serial_free(struct virtio_serial *s)
{
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	free(s);
}

static void serial_destroy(struct virtio_device *d)
{
	struct virtio_serial *s = to_serial(d);

	for (unsigned int i = 0; i < s->max_ports; i++)
		if (s->ports[i].io.cd)
			virtio_serial_remove(d, i);
	virtio_device_deinit(d);
	serial_free(s);
}

static const struct virtio_device_ops serial_ops = {
	.config_read = serial_config_read,
	.activate = serial_activate,
	.handle_queue = serial_handle_queue,
	.quiesce = serial_quiesce,
	.resume = serial_resume,
	.reset = serial_reset,
	.save = serial_state_save,
	.load = serial_state_load,
	.destroy = serial_destroy,
};

static const struct virtio_device_info serial_info = {
	.name = "virtio-serial",
	.type_id = VIRTIO_ID_CONSOLE,
	.pci_class = 0x078000,		/* communication, other */
	.vectors = 2,			/* as many as queues would be a waste */
	.ops = &serial_ops,
};

int virtio_serial_create(struct virtio_device **out, unsigned int max_ports,
			 const struct serial_host *host, struct guest_mem *mem, struct loop *loop,
			 struct error *e)
{
	struct virtio_serial *s = calloc(1, sizeof(*s));
	uint16_t sizes[VIRTIO_MAX_QUEUES];
	int ret;

	if (!s)
		return error_errno(e, -ENOMEM, "virtio-serial");
	s->host = *host;
	s->max_ports = max_ports;
	s->stopped = true;
	s->wake.fd = -1;
	for (unsigned int i = 0; i < VIRTIO_MAX_QUEUES; i++)
		sizes[i] = CONSOLE_QUEUE_SIZE;
	for (unsigned int i = 0; i < max_ports; i++) {
		struct serial_port *p = &s->ports[i];

		p->serial = s;
		p->nr = i;
		p->io = (struct console_port){
			.dev = &s->dev, .iov = s->iov,
			.receiveq = receiveq_of(i),
			.transmitq = receiveq_of(i) + 1,
		};
	}
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake_fd < 0)
		ret = error_errno(e, -errno, "virtio-serial");
	else
		ret = virtio_device_init(&s->dev, &serial_info, mem, loop,
					 UINT64_C(1) << VIRTIO_CONSOLE_F_MULTIPORT,
					 sizeof(struct virtio_console_config),
					 sizes, 2 * max_ports + 2, e);
	if (ret)
		serial_free(s);
	else
		*out = &s->dev;
	return ret;
}
