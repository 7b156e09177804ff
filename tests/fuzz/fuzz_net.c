/* SPDX-License-Identifier: MIT */
/* LINK: error loop guest_mem state virtio/virtqueue virtio/device */
/* LINK: virtio/device_reg virtio/device_state virtio/net virtio/net_backend */
/* LINK: virtio/net_ctrl virtio/net_queue virtio/net_state virtio/net_vhost */
/* LINK: virtio/vhost net/net net/stream */
/*
 * The network device against a driver that puts anything into its rings, and
 * its stream back end against a peer that says anything.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtio/net.h"

#define RAM_BASE	UINT64_C(0x100000)
#define RAM_BYTES	0x40000u
#define RING_BYTES	0x4000u
#define BUFFERS		0x10000u
#define QUEUES		3u
#define SIZE		64u
#define STEP		16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct machine {
	struct loop *loop;
	struct guest_mem *mem;
	uint8_t *ram;
	struct virtio_device *d;
	int peer;
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

/* A chain of up to three descriptors, mostly within the guest's memory. */
static void offer(struct machine *m, const uint8_t *b)
{
	unsigned int queue = b[1] % QUEUES, count = 1 + b[2] % 3;
	struct vring_desc *desc = at(m, queue, 0);
	struct vring_avail *avail = at(m, queue, 1);
	uint16_t head = (uint16_t)(m->avail[queue] * 3u % SIZE);

	for (unsigned int i = 0; i < count; i++) {
		const uint8_t *c = b + 3 + 3 * i;
		uint32_t len = c[0] & 1 ? c[1] * 300u : c[1];

		desc[(head + i) % SIZE] = (struct vring_desc){
			.addr = RAM_BASE + BUFFERS + c[2] * 0x300u,
			.len = c[0] & 0x80 ? ~len : len,
			.flags = (uint16_t)((c[0] >> 1 & 2) |
					    (i + 1 < count) |
					    (c[0] & 0x40 ? 4 : 0)),
			.next = (uint16_t)((head + i + 1) % SIZE),
		};
		/* What a control command or a packet begins with. */
		memcpy(m->ram + BUFFERS + c[2] * 0x300u, b + 12, 4);
	}
	avail->ring[m->avail[queue]++ % SIZE] =
		b[2] & 0x80 ? b[2] : head;
	avail->idx = b[2] & 0x40 && b[3] == 255 ? b[4] : m->avail[queue];
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

static void step(struct machine *m, const uint8_t *b)
{
	static uint8_t scrap[4096];
	uint64_t one = 1;

	switch (b[0] % 8) {
	case 0: case 1: case 2: case 3:
		offer(m, b);
		(void)!write(m->d->queues[b[1] % QUEUES].kick_fd, &one, 8);
		break;
	case 4:		/* a frame, or some bytes, of the peer */
		memset(scrap, b[5], sizeof(scrap));
		memcpy(scrap, (uint8_t[]){ 0, 0, b[1] & 3, b[2] }, 4);
		memcpy(scrap + 4, b + 3, 12);
		(void)!send(m->peer, scrap, b[3] & 7 ? 4 + (b[1] & 3) * 256u +
			    b[2] : b[4], MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 5:
		(void)!recv(m->peer, scrap, sizeof(scrap), MSG_DONTWAIT);
		break;
	case 6:
		virtio_net_set_link(m->d, b[1] & 1);
		break;
	case 7:
		if (b[1] & 1)
			virtio_device_quiesce(m->d);
		if (b[1] & 2)
			virtio_device_resume(m->d);
		if (b[1] == 0xfc)
			bring_up(m, UINT64_MAX);
		break;
	}
	settle(m);
}

static int init(struct machine *m, int fd)
{
	struct virtio_net_params p = { .id = "n", .mac = { 2 } };
	struct error e;

	m->ram = calloc(1, RAM_BYTES);
	if (!m->ram || loop_create(&m->loop) ||
	    loop_timer_init(m->loop, &m->timer, stop, m->loop) ||
	    guest_mem_create(&m->mem) ||
	    guest_mem_add(m->mem, RAM_BASE, RAM_BYTES, m->ram) ||
	    net_stream_create(&p.backend, fd, &e))
		return -1;
	/* So that the control queue has what to say about it. */
	p.backend->offloads = NET_CSUM | NET_TSO4 | NET_USO;
	return virtio_net_create(&m->d, &p, m->mem, m->loop, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine m = { 0 };
	uint64_t wanted;
	int pair[2];

	if (size < sizeof(wanted))
		return 0;
	memcpy(&wanted, data, sizeof(wanted));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ||
	    init(&m, pair[0]))
		abort();
	m.peer = pair[1];
	bring_up(&m, wanted);
	for (data += 8, size -= 8; size >= STEP; data += STEP, size -= STEP)
		step(&m, data);
	virtio_device_destroy(m.d);
	close(m.peer);
	guest_mem_destroy(m.mem);
	loop_timer_deinit(&m.timer);
	loop_destroy(m.loop);
	free(m.ram);
	return 0;
}
