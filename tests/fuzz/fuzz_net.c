/* SPDX-License-Identifier: MIT */
/* LINK: error loop guest_mem state virtio/virtqueue virtio/device% */
/* LINK: virtio/net virtio/net_backend */
/* LINK: virtio/net_ctrl virtio/net_queue virtio/net_receive virtio/net_state */
/* LINK: virtio/net_vhost virtio/vhost net/net net/stream */
/* WITH: rings */
/*
 * The network device against a driver that puts anything into its rings, and
 * its stream back end against a peer that says anything.
 */
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rings.h"
#include "virtio/net.h"

#define QUEUES		3u
#define STEP		16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct machine {
	struct rings r;
	int peer;
};

/* A chain of up to three descriptors, mostly within the guest's memory. */
static void offer(struct machine *m, const uint8_t *b)
{
	unsigned int queue = b[1] % QUEUES, count = 1 + b[2] % 3;
	struct vring_desc *desc = rings_at(&m->r, queue, 0);
	struct vring_avail *avail = rings_at(&m->r, queue, 1);
	uint16_t head = (uint16_t)(m->r.avail[queue] * 3u % SIZE);

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
		memcpy(m->r.ram + BUFFERS + c[2] * 0x300u, b + 12, 4);
	}
	avail->ring[m->r.avail[queue]++ % SIZE] =
		b[2] & 0x80 ? b[2] : head;
	avail->idx = b[2] & 0x40 && b[3] == 255 ? b[4] : m->r.avail[queue];
}

static void step(struct machine *m, const uint8_t *b)
{
	static uint8_t scrap[4096];

	switch (b[0] % 8) {
	case 0: case 1: case 2: case 3:
		offer(m, b);
		rings_kick(&m->r, b[1] % QUEUES);
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
		virtio_net_set_link(m->r.d, b[1] & 1);
		break;
	case 7:
		if (b[1] & 1)
			virtio_device_quiesce(m->r.d);
		if (b[1] & 2)
			virtio_device_resume(m->r.d);
		if (b[1] == 0xfc)
			rings_bring_up(&m->r, UINT64_MAX);
		break;
	}
	rings_settle(&m->r);
}

static int init(struct machine *m, int fd)
{
	struct virtio_net_params p = { .id = "n", .mac = { 2 } };
	struct error e;

	rings_init(&m->r, QUEUES);
	if (net_stream_create(&p.backend, fd, &e))
		return -1;
	/* So that the control queue has what to say about it. */
	p.backend->offloads = NET_CSUM | NET_TSO4 | NET_USO;
	return virtio_net_create(&m->r.d, &p, m->r.mem, m->r.loop, &e);
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
	rings_bring_up(&m.r, wanted);
	for (data += 8, size -= 8; size >= STEP; data += STEP, size -= STEP)
		step(&m, data);
	rings_deinit(&m.r);
	close(m.peer);
	return 0;
}
