/* SPDX-License-Identifier: MIT */
/*
 * The console device with many ports that come and go (VIRTIO 1.2, 5.3 with
 * VIRTIO_CONSOLE_F_MULTIPORT), each tied to a chardev. Created, changed and
 * destroyed by the main thread.
 *
 * A port is a console (hvcN in Linux) or a named stream between programs
 * (/dev/vportNpM). A console's output is taken whether anybody is there or not;
 * the driver is told whether somebody is at the other end of a stream, and its
 * writers wait when he does not read (chardev_set_lossless()).
 */
#ifndef MOTE_VIRTIO_SERIAL_H
#define MOTE_VIRTIO_SERIAL_H

#include "char/chardev.h"
#include "error.h"
#include "guest_mem.h"
#include "loop.h"
#include "virtio/device.h"

/* Two queues each, and two for control: VIRTIO_MAX_QUEUES. */
#define SERIAL_MAX_PORTS 31

struct serial_host {
	/* virtio_serial_guest_open() of some port has changed. The device's
	 * loop; when it is loaded, the main thread. */
	void (*changed)(void *opaque);
	void *opaque;
};

/* max_ports: 1 to SERIAL_MAX_PORTS. */
int virtio_serial_create(struct virtio_device **out, unsigned int max_ports,
			 const struct serial_host *host, struct guest_mem *mem, struct loop *loop,
			 struct error *e);

/*
 * Becomes cd's client, until the port is removed or the device destroyed; cd
 * outlives that. nr: below max_ports, and there is none. name: copied, NULL is
 * none. -ENOMEM.
 */
int virtio_serial_add(struct virtio_device *d, unsigned int nr,
		      const char *name, bool console, struct chardev *cd);
/* The driver hears of it, but is not asked. */
void virtio_serial_remove(struct virtio_device *d, unsigned int nr);
/* A program of the guest has it open. Any thread. */
bool virtio_serial_guest_open(struct virtio_device *d, unsigned int nr);

#endif
