/* SPDX-License-Identifier: MIT */
#include "rings.h"

#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AREA_BYTES	0x1000u
#define RING_BYTES	0x4000u

static void stop(void *opaque)
{
	loop_stop(opaque);
}

void rings_init(struct rings *r, unsigned int queues)
{
	r->queues = queues;
	r->ram = calloc(1, RAM_BYTES);
	if (queues > MAX_QUEUES || !r->ram || loop_create(&r->loop) ||
	    loop_timer_init(r->loop, &r->timer, stop, r->loop) ||
	    guest_mem_create(&r->mem) ||
	    guest_mem_add(r->mem, RAM_BASE, RAM_BYTES, r->ram))
		abort();
}

void rings_deinit(struct rings *r)
{
	virtio_device_destroy(r->d);
	guest_mem_destroy(r->mem);
	loop_timer_deinit(&r->timer);
	loop_destroy(r->loop);
	free(r->ram);
}

void rings_bring_up(struct rings *r, uint64_t wanted)
{
	struct virtio_device *d = r->d;
	uint64_t features = d->offered & (wanted |
					  UINT64_C(1) << VIRTIO_F_VERSION_1);

	virtio_reg_status_write(d, 0);
	virtio_reg_status_write(d, 3);
	virtio_reg_driver_features(d, 0, (uint32_t)features);
	virtio_reg_driver_features(d, 1, (uint32_t)(features >> 32));
	virtio_reg_status_write(d, 11);
	memset(r->ram, 0, r->queues * RING_BYTES);
	memset(r->avail, 0, sizeof(r->avail));
	for (unsigned int i = 0; i < r->queues; i++) {
		uint64_t base = RAM_BASE + i * RING_BYTES;

		d->queues[i].config = (struct virtqueue_config){
			.size = SIZE, .desc = base, .avail = base + AREA_BYTES,
			.used = base + 2 * AREA_BYTES,
		};
		d->queues[i].enabled = true;
	}
	virtio_reg_status_write(d, 15);
}

void *rings_at(const struct rings *r, unsigned int queue, unsigned int area)
{
	return r->ram + queue * RING_BYTES + area * AREA_BYTES;
}

void rings_kick(const struct rings *r, unsigned int queue)
{
	uint64_t one = 1;

	(void)!write(r->d->queues[queue].kick_fd, &one, sizeof(one));
}

void rings_settle(struct rings *r)
{
	loop_timer_set(&r->timer, 1, 0);
	loop_run(r->loop);
}
