/* SPDX-License-Identifier: MIT */
/* LINK: error loop guest_mem state virtio/virtqueue virtio/device% */
/* LINK: virtio/blk virtio/blk_count virtio/blk_queue virtio/blk_request */
/* LINK: block/file block/probe block/vhd block/engine block/bounce */
/* LINK: block/uring block/threads */
/* WITH: rings */
/*
 * The disk against a driver that puts anything into its rings: over both
 * engines, writable or not, across pauses, resets, and images that come and go.
 * An image never changes its size, nor a read-only one its content.
 */
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rings.h"
#include "virtio/blk.h"

#define QUEUES		2u
#define STEP		16u
#define SECTORS		64u
#define FILL		0x5a

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct machine {
	struct rings r;
	struct config_disk disk;
	char path[32];
	int fd;
};

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

	memcpy(m->r.ram + offset, &header, sizeof(header));
	memcpy(m->r.ram + offset + sizeof(header), &range, sizeof(range));
	return offset;
}

/* The usual three descriptors, in the ring or in a table, bent by the input. */
static void offer(struct machine *m, const uint8_t *b)
{
	unsigned int queue = b[1] % QUEUES;
	struct vring_desc *ring = rings_at(&m->r, queue, 0), *desc = ring;
	struct vring_avail *avail = rings_at(&m->r, queue, 1);
	uint16_t head = (uint16_t)(m->r.avail[queue] * 3u % SIZE);
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
		desc = (struct vring_desc *)(m->r.ram + table);
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
	avail->ring[m->r.avail[queue]++ % SIZE] = b[2] & 0x80 ? b[15] : head;
	avail->idx = b[2] & 0x40 && b[14] == 254 ? b[15] : m->r.avail[queue];
}

static void change(struct machine *m, const uint8_t *b)
{
	struct error e;

	if (b[1] & 1)
		virtio_device_quiesce(m->r.d);
	if (b[1] & 2)
		virtio_device_resume(m->r.d);
	if (b[1] & 4)
		virtio_blk_replace(m->r.d, &m->disk, &e);
	if (b[1] == 0xf8)
		rings_bring_up(&m->r, UINT64_MAX);
}

static void step(struct machine *m, const uint8_t *b)
{
	if (b[0] % 8 == 7) {
		change(m, b);
	} else {
		offer(m, b);
		rings_kick(&m->r, b[1] % QUEUES);
	}
	if (b[0] & 0x80)
		rings_settle(&m->r);
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
	rings_init(&m->r, QUEUES);
	for (unsigned int i = 0; i < QUEUES; i++)
		loops[i] = m->r.loop;
	if (virtio_blk_create(&m->r.d, &m->disk, m->r.mem, loops, &e))
		abort();
	if (options & 4)
		virtio_blk_set_engine(m->r.d, BLOCK_ENGINE_THREADS);
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
	rings_bring_up(&m.r, wanted);
	for (data += 9, size -= 9; size >= STEP; data += STEP, size -= STEP)
		step(&m, data);
	rings_deinit(&m.r);
	check_image(&m);
	close(m.fd);
	return 0;
}
