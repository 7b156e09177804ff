/* SPDX-License-Identifier: MIT */
/* The side of a virtio device's driver, for fuzz targets: RAM, rings and a loop. */
#ifndef MOTE_RINGS_H
#define MOTE_RINGS_H

#include "guest_mem.h"
#include "loop.h"
#include "virtio/device.h"

#define RAM_BASE	UINT64_C(0x100000)
#define BUFFERS		0x10000u	/* from here to its end, not rings */
#define RAM_BYTES	0x40000u
#define SIZE		64u		/* of each ring */
#define MAX_QUEUES	3u

struct rings {
	struct loop *loop;
	struct guest_mem *mem;
	uint8_t *ram;
	struct virtio_device *d;	/* the target's to create */
	unsigned int queues;
	struct loop_timer timer;
	uint16_t avail[MAX_QUEUES];
};

/* Aborts when it cannot; everything but the device. */
void rings_init(struct rings *r, unsigned int queues);

/* The device too, first. */
void rings_deinit(struct rings *r);

/* A reset, and all that follows to DRIVER_OK, with empty rings. */
void rings_bring_up(struct rings *r, uint64_t wanted);

/* Area 0: descriptors, 1: available, 2: used. */
void *rings_at(const struct rings *r, unsigned int queue, unsigned int area);

void rings_kick(const struct rings *r, unsigned int queue);

/* A round of the loop: a timer, unlike a call, comes after what is there. */
void rings_settle(struct rings *r);

#endif
