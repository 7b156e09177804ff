/* SPDX-License-Identifier: MIT */
/* LINK: error loop guest_mem state virtio/virtqueue virtio/device% */
/* LINK: virtio/net virtio/net_backend */
/* LINK: virtio/net_ctrl virtio/net_queue virtio/net_receive virtio/net_state */
/* LINK: virtio/net_vhost virtio/vhost virtio/vhost_vsock virtio/vsock vsock/% */
/* LINK: net/net net/stream virtio/balloon virtio/mem virtio/rng virtio/console */
/* LINK: virtio/console_port virtio/serial% char/% */
/* WITH: rings */
/*
 * Devices that are saved while they run, what was saved changed by somebody who gets
 * the checksums right, loaded, and used by a driver that is no better.
 */
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "char/chardev.h"
#include "config/config.h"
#include "log.h"
#include "rings.h"
#include "state.h"
#include "virtio/balloon.h"
#include "virtio/console.h"
#include "virtio/mem.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/serial.h"
#include "virtio/vsock.h"

#define CHANGE	4u	/* bytes of the input for each byte that is changed */
#define STEP	12u
#define HEAD	4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct machine {
	struct rings r;
	struct chardev *cd, *other;
	int peer;
};

void log_write(enum log_level level, const char *fmt, ...)
{
	(void)level;
	(void)fmt;
}

static void nothing(void *opaque)
{
	(void)opaque;
}

static void drop(void *opaque, void *host, uint64_t len)
{
	(void)opaque;
	memset(host, 0, len);
}

static void clear(void *opaque, uint64_t offset, uint64_t len)
{
	(void)opaque;
	if (offset + len > 64ull << 20)
		abort();
}

static int make_net(struct machine *m, struct error *e)
{
	struct virtio_net_params p = { .id = "n", .mac = { 2 } };
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ||
	    net_stream_create(&p.backend, pair[0], e))
		return -1;
	m->peer = pair[1];
	p.backend->offloads = NET_CSUM | NET_TSO4 | NET_USO;
	return virtio_net_create(&m->r.d, &p, m->r.mem, m->r.loop, e);
}

static int make_console(struct machine *m, struct error *e)
{
	const struct config_char c = { .kind = CHAR_NULL };

	if (chardev_create(&m->cd, &c, m->r.loop, NULL, NULL, e))
		return -1;
	return virtio_console_create(&m->r.d, m->cd, m->r.mem, m->r.loop, e);
}

/* A console and a named port. */
static int make_serial(struct machine *m, struct error *e)
{
	const struct config_char c = { .kind = CHAR_NULL };
	const struct serial_host host = { nothing, NULL };

	if (chardev_create(&m->cd, &c, m->r.loop, NULL, NULL, e) ||
	    chardev_create(&m->other, &c, m->r.loop, NULL, NULL, e) ||
	    virtio_serial_create(&m->r.d, 4, &host, m->r.mem, m->r.loop, e))
		return -1;
	return virtio_serial_add(m->r.d, 0, NULL, true, m->cd) ||
	       virtio_serial_add(m->r.d, 2, "name", false, m->other);
}

static void make(struct machine *m, unsigned int kind)
{
	const struct balloon_params balloon = { true, kind & 8 };
	const struct balloon_host balloon_host = { drop, nothing, NULL };
	const struct mem_host mem_host = { clear, nothing, NULL };
	const struct config_vsock vsock = { .cid = 3 };
	struct error e;
	int ret;

	m->peer = -1;
	switch (kind % 7) {
	case 0:
		ret = make_net(m, &e);
		break;
	case 1:
		ret = virtio_vsock_create(&m->r.d, &vsock, m->r.mem, m->r.loop,
					  &e);
		break;
	case 2:
		ret = virtio_balloon_create(&m->r.d, &balloon, &balloon_host,
					    m->r.mem, m->r.loop, &e);
		break;
	case 3:
		ret = virtio_mem_create(&m->r.d, 4ull << 30, 64u << 20,
					&mem_host, m->r.mem, m->r.loop, &e);
		break;
	case 4:
		ret = make_console(m, &e);
		break;
	case 5:
		ret = make_serial(m, &e);
		break;
	default:
		ret = virtio_rng_create(&m->r.d, "/dev/zero", m->r.mem,
					m->r.loop, &e);
	}
	if (ret)
		abort();
	m->r.queues = m->r.d->queue_count < MAX_QUEUES ?
			      m->r.d->queue_count : MAX_QUEUES;
}

static void end(struct machine *m)
{
	virtio_device_destroy(m->r.d);
	m->r.d = NULL;
	chardev_destroy(m->cd);
	chardev_destroy(m->other);
	m->cd = m->other = NULL;
	if (m->peer >= 0)
		close(m->peer);
}

/* A chain of two descriptors, mostly within the guest's memory. */
static void step(struct machine *m, const uint8_t *b)
{
	unsigned int queue = b[0] % m->r.queues;
	struct vring_desc *desc = rings_at(&m->r, queue, 0);
	struct vring_avail *avail = rings_at(&m->r, queue, 1);
	uint16_t head = (uint16_t)(m->r.avail[queue] * 2u % SIZE);

	for (unsigned int i = 0; i < 2; i++) {
		const uint8_t *c = b + 1 + 3 * i;

		desc[head + i] = (struct vring_desc){
			.addr = RAM_BASE + BUFFERS + c[2] * 0x200u,
			.len = c[0] & 1 ? c[1] * 300u : c[1],
			.flags = (uint16_t)((c[0] >> 1 & 2) | !i),
			.next = (uint16_t)(head + 1),
		};
		memcpy(m->r.ram + BUFFERS + c[2] * 0x200u, b + 7, 5);
	}
	avail->ring[m->r.avail[queue]++ % SIZE] = head;
	avail->idx = m->r.avail[queue];
	/* A frame. */
	if (m->peer >= 0)
		(void)!send(m->peer, (uint8_t[64]){ 0, 0, 0, 60 }, 64,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
	rings_kick(&m->r, queue);
	rings_settle(&m->r);
}

static void change(struct state_writer *w, const uint8_t *b)
{
	size_t at = b[0] | (size_t)b[1] << 8;

	if (b[3] & 1)
		at %= 160;	/* what all have, and its queues */
	if (at < w->len_bytes)
		w->data[at] = b[2];
	if (b[3] == 0xfe && at < w->len_bytes)
		w->len_bytes = at;
}

static int load(struct machine *m, const struct state_writer *w)
{
	struct state_reader r;
	struct error e = { .text = "" };
	int ret;

	state_reader_init(&r, w->data, w->len_bytes);
	ret = virtio_device_load(m->r.d, &r, &e);
	if (ret && !e.text[0])
		abort();
	return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state_writer w = STATE_WRITER_INIT;
	struct machine m = { 0 };
	unsigned int changes, before;
	uint8_t kind;

	if (size < HEAD)
		return 0;
	kind = data[0];
	rings_init(&m.r, MAX_QUEUES);
	make(&m, kind);
	rings_bring_up(&m.r, data[1] & 1 ? UINT64_MAX : 0);
	changes = data[2] % 16;
	before = data[3] % 8;
	data += HEAD;
	size -= HEAD;
	for (; before && size >= STEP; before--, data += STEP, size -= STEP)
		step(&m, data);
	virtio_device_quiesce(m.r.d);
	virtio_device_save(m.r.d, &w);
	for (; changes && size >= CHANGE; changes--, data += CHANGE,
					  size -= CHANGE)
		change(&w, data);
	end(&m);
	make(&m, kind);
	if (load(&m, &w))
		rings_bring_up(&m.r, UINT64_MAX);
	virtio_device_resume(m.r.d);
	for (; size >= STEP; data += STEP, size -= STEP)
		step(&m, data);
	virtio_device_quiesce(m.r.d);
	end(&m);
	state_writer_deinit(&w);
	rings_deinit(&m.r);
	return 0;
}
