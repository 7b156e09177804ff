/* SPDX-License-Identifier: MIT */
/*
 * The two data queues of one port of a console device (VIRTIO 1.2, 5.3.6)
 * between a driver and a chardev. Everything runs on the device's loop.
 */
#ifndef MOTE_VIRTIO_CONSOLE_PORT_H
#define MOTE_VIRTIO_CONSOLE_PORT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "char/chardev.h"
#include "virtio/device.h"

#define CONSOLE_QUEUE_SIZE	64
#define CONSOLE_IOVS		(CONSOLE_QUEUE_SIZE + VIRTQ_IOV_SLACK)

struct console_port {
	struct virtio_device *dev;
	struct chardev *cd;
	unsigned int receiveq, transmitq;	/* indices of its queues */
	struct iovec *iov;	/* CONSOLE_IOVS of them, for the time of a call */
	/*
	 * Bytes already written of the chain that is next in the transmitq: a
	 * chain that did not fit stays in the ring.
	 */
	uint64_t sent;
};

/*
 * Moves what can be moved now in that queue of the port's two, and publishes it;
 * for the rest the queue is kicked again, or the chardev's callbacks tell. A
 * malformed ring breaks the device. True: the driver's output came through.
 */
bool console_port_run(struct console_port *p, unsigned int queue);

#endif
