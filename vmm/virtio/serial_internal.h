/* SPDX-License-Identifier: MIT */
/*
 * The parts of the console device with many ports: serial.c is the device and
 * its data, serial_control.c the control queues, serial_state.c what is saved. What
 * is not atomic is touched on the device's loop only, but while it is quiesced.
 */
#ifndef MOTE_VIRTIO_SERIAL_INTERNAL_H
#define MOTE_VIRTIO_SERIAL_INTERNAL_H

#include <stdatomic.h>

#include "virtio/console_port.h"
#include "virtio/serial.h"

#define CONTROL_RECEIVEQ	2
#define CONTROL_TRANSMITQ	3

/* What the driver is still to be told of a port, in this order: it is a set, so
 * that a driver that asks for ever makes nothing grow. */
enum serial_message {
	SERIAL_REMOVE,
	SERIAL_ADD,
	SERIAL_CONSOLE,
	SERIAL_NAME,
	SERIAL_OPEN,
	SERIAL_MESSAGES,
};

struct virtio_serial;

struct serial_port {
	struct console_port io;		/* io.cd NULL: there is no such port */
	struct virtio_serial *serial;
	unsigned int nr;
	char *name;			/* NULL: none */
	bool console;
	unsigned int pending;		/* 1 << enum serial_message */
	bool announced;			/* the driver knows of it */
	bool ready;			/* and has said so */
	atomic_bool guest_open;		/* a program has it open */
};

struct virtio_serial {
	struct virtio_device dev;
	struct serial_host host;
	unsigned int max_ports;
	bool stopped;
	bool driver_ready;
	struct loop_watch wake;		/* on wake_fd, while active */
	int wake_fd;			/* eventfd */
	atomic_uint woken;		/* ports with news from their chardevs */
	struct serial_port ports[SERIAL_MAX_PORTS];
	struct iovec iov[CONSOLE_IOVS];
};

/* serial.c: all ports have news, for when it runs. Main thread. */
void serial_look_again(struct virtio_serial *s);
/* serial_state.c: of struct virtio_device_ops. */
void serial_state_save(struct virtio_device *d, struct state_writer *w);
int serial_state_load(struct virtio_device *d, struct state_reader *r,
		      struct error *e);

/* Takes what the driver says. The caller runs ports that have become open. */
void serial_control_take(struct virtio_serial *s);
/* Tells it what there is room for; the rest when there is more. */
void serial_control_tell(struct virtio_serial *s);
/* The port is there, for a driver that has not heard of it. */
void serial_control_added(struct serial_port *p);
void serial_control_removed(struct serial_port *p);
/* Nobody knows of anything: a reset. */
void serial_control_reset(struct virtio_serial *s);

#endif
