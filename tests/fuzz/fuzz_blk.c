/* SPDX-License-Identifier: MIT */
/* LINK: error loop guest_mem state virtio/virtqueue virtio/device */
/* LINK: virtio/device_reg virtio/device_state */
/* LINK: virtio/blk virtio/blk_count virtio/blk_queue virtio/blk_request */
/* LINK: block/file block/probe block/vhd block/engine block/bounce */
/* LINK: block/uring block/threads */
/*
 * The disk against a driver that puts anything into its rings: over both
 * engines, writable or not, across pauses, resets, and images that come and go.
 * An image never changes its size, nor a read-only one its content.
 */
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtio/blk.h"

#define RAM_BASE	UINT64_C(0x100000)
#define RAM_BYTES	0x40000u
#define RING_BYTES	0x4000u
#define BUFFERS		0x10000u
#define QUEUES		2u
#define SIZE		64u
#define STEP		16u
#define SECTORS		64u
#define FILL		0x5a

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct machine {
	struct loop *loop;
	struct guest_mem *mem;
	uint8_t *ram;
	struct virtio_device *d;
	struct config_disk disk;
	char path[32];
	int fd;
	struct loop_timer timer;
	uint16_t avail[QUEUES];
};

static void *at(const struct machine *m, unsigned int queue, unsigned int area)
{
	return m->ram + queue * RING_BYTES + area * 0x1000;
}

static void bring_up(struct machine *m, uint64_t wanted)
{
	struct virtio_device *d = m->d;
	uint64_t features = d->offered & (wanted |
					  UINT64_C(1) << VIRTIO_F_VERSION_1);

	virtio_reg_status_write(d, 0);
	virtio_reg_status_write(d, 3);
	virtio_reg_driver_features(d, 0, (uint32_t)features);
	virtio_reg_driver_features(d, 1, (uint32_t)(features >> 32));
	virtio_reg_status_write(d, 11);
	memset(m->ram, 0, QUEUES * RING_BYTES);
	memset(m->avail, 0, sizeof(m->avail));
	for (unsigned int i = 0; i < QUEUES; i++) {
		uint64_t base = RAM_BASE + i * RING_BYTES;

		d->queues[i].config = (struct virtqueue_config){
			.size = SIZE, .desc = base, .avail = base + 0x1000,
			.used = base + 0x2000,
		};
		d->queues[i].enabled = true;
	}
	virtio_reg_status_write(d, 15);
}

/* A header, and a discard's segment behind it, where chains may begin. */
static uint32_t put_request(struct machine *m, const uint8_t *b)
{
	uint32_t offset = BUFFERS + b[3] * 0x300u;
	struct virtio_blk_outhdr header = {
		.type = b[4] & 0x80 ? b[4] : b[4] % 14,
		.sector = b[5] == 255 ? UINT64_MAX - b[6] : b[5],
	};
	struct virtio_blk_discard_write_zeroes range = {
		.sector = b[6] == 255 ? UINT64_MAX : b[6],
		.num_sectors = b[7] == 255 ? UINT32_MAX : b[7],
		.flags = b[8] & 3,
	};

	memcpy(m->ram + offset, &header, sizeof(header));
	memcpy(m->ram + offset + sizeof(header), &range, sizeof(range));
	return offset;
}

/* The usual three descriptors, in the ring or in a table, bent by the input. */
static void offer(struct machine *m, const uint8_t *b)
{
	unsigned int queue = b[1] % QUEUES;
	struct vring_desc *ring = at(m, queue, 0), *desc = ring;
	struct vring_avail *avail = at(m, queue, 1);
	uint16_t head = (uint16_t)(m->avail[queue] * 3u % SIZE);
	uint32_t header = put_request(m, b), table = BUFFERS + 0x20000u;
	uint32_t lens[3] = { b[9] & 1 ? b[10] : 16,
			     b[9] & 2 ? b[10] : b[10] * 512u,
			     b[9] & 4 ? b[10] : 1 };
	uint64_t addresses[3] = { header, b[9] & 8 ? header + 16 :
					  BUFFERS + b[11] * 0x200u,
				  BUFFERS + 0x28000u + b[12] };
	bool indirect = b[2] & 1;
	uint16_t first = indirect ? 0 : head;

	if (indirect) {
		desc = (struct vring_desc *)(m->ram + table);
		ring[head] = (struct vring_desc){
			.addr = RAM_BASE + table + (b[9] & 16 ? b[12] : 0),
			.len = b[9] & 32 ? b[10] : 48,
			.flags = VRING_DESC_F_INDIRECT | (b[9] >> 6 & 1),
		};
	}
	for (unsigned int i = 0; i < 3; i++)
		desc[(first + i) % SIZE] = (struct vring_desc){
			.addr = RAM_BASE + addresses[i],
			.len = b[13] == 255 ? ~lens[i] : lens[i],
			.flags = (uint16_t)((b[2] >> (1 + i) & 1 ?
					     VRING_DESC_F_WRITE : 0) |
					    (i < 2 && !(b[13] >> i & 1)) |
					    (b[13] == 77 ?
					     VRING_DESC_F_INDIRECT : 0)),
			.next = (uint16_t)(b[14] == 255 ? b[15] :
					   (first + i + 1) % SIZE),
		};
	avail->ring[m->avail[queue]++ % SIZE] = b[2] & 0x80 ? b[15] : head;
	avail->idx = b[2] & 0x40 && b[14] == 254 ? b[15] : m->avail[queue];
}

static void stop(void *opaque)
{
	loop_stop(opaque);
}

/* A round of the loop: a timer, unlike a call, comes after what is there. */
static void settle(struct machine *m)
{
	loop_timer_set(&m->timer, 1, 0);
	loop_run(m->loop);
}

static void change(struct machine *m, const uint8_t *b)
{
	struct error e;

	if (b[1] & 1)
		virtio_device_quiesce(m->d);
	if (b[1] & 2)
		virtio_device_resume(m->d);
	if (b[1] & 4)
		virtio_blk_replace(m->d, &m->disk, &e);
	if (b[1] == 0xf8)
		bring_up(m, UINT64_MAX);
}

static void step(struct machine *m, const uint8_t *b)
{
	uint64_t one = 1;

	if (b[0] % 8 == 7) {
		change(m, b);
	} else {
		offer(m, b);
		(void)!write(m->d->queues[b[1] % QUEUES].kick_fd, &one, 8);
	}
	if (b[0] & 0x80)
		settle(m);
}

static void init(struct machine *m, uint8_t options)
{
	struct loop *loops[QUEUES];
	uint8_t sector[512];
	struct error e;

	memset(sector, FILL, sizeof(sector));
	m->fd = memfd_create("image", MFD_CLOEXEC);
	for (unsigned int i = 0; i < SECTORS; i++)
		(void)!write(m->fd, sector, sizeof(sector));
	snprintf(m->path, sizeof(m->path), "/proc/self/fd/%d", m->fd);
	m->disk = (struct config_disk){
		.path = m->path, .id = "d", .queues = QUEUES,
		.readonly = options & 1, .no_flush = options & 2,
	};
	m->ram = calloc(1, RAM_BYTES);
	if (!m->ram || loop_create(&m->loop) ||
	    loop_timer_init(m->loop, &m->timer, stop, m->loop) ||
	    guest_mem_create(&m->mem) ||
	    guest_mem_add(m->mem, RAM_BASE, RAM_BYTES, m->ram))
		abort();
	for (unsigned int i = 0; i < QUEUES; i++)
		loops[i] = m->loop;
	if (virtio_blk_create(&m->d, &m->disk, m->mem, loops, &e))
		abort();
	if (options & 4)
		virtio_blk_set_engine(m->d, BLOCK_ENGINE_THREADS);
}

static void check_image(const struct machine *m)
{
	uint8_t sector[512];
	struct stat st;

	if (fstat(m->fd, &st) || st.st_size != SECTORS * 512)
		abort();
	for (unsigned int i = 0; m->disk.readonly && i < SECTORS; i++) {
		if (pread(m->fd, sector, 512, i * 512) != 512)
			abort();
		for (unsigned int j = 0; j < sizeof(sector); j++)
			if (sector[j] != FILL)
				abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine m = { 0 };
	uint64_t wanted;

	if (size <= sizeof(wanted))
		return 0;
	memcpy(&wanted, data, sizeof(wanted));
	init(&m, data[8]);
	bring_up(&m, wanted);
	for (data += 9, size -= 9; size >= STEP; data += STEP, size -= STEP)
		step(&m, data);
	virtio_device_destroy(m.d);
	check_image(&m);
	close(m.fd);
	guest_mem_destroy(m.mem);
	loop_timer_deinit(&m.timer);
	loop_destroy(m.loop);
	free(m.ram);
	return 0;
}
