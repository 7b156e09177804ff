/* SPDX-License-Identifier: MIT */
/* LINK: vsock/buffer vsock/connection vsock/fill vsock/host vsock/service */
/* LINK: vsock/socket vsock/vsock char/listener error loop */
/* The vsock against a guest that sends any packets, and host programs that answer. */
#include <endian.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vsock/vsock.h"

#define CID		3u
#define HEADER		12u
#define LISTENERS	3
#define CLIENTS		4
#define ROOM		512u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/mote-fuzz-vsock.XXXXXX", path[sizeof(dir) + 4];
static struct loop *loop;
static struct loop_timer timer;
static int listeners[LISTENERS];

static void on_packets(void *opaque)
{
	(void)opaque;
}

static void clean(void)
{
	for (int i = 0; i < LISTENERS; i++) {
		char name[sizeof(path) + 4];

		snprintf(name, sizeof(name), "%s_%d", path, i + 1);
		unlink(name);
	}
	rmdir(dir);
}

static int bound(const char *name, int type)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(a.sun_path, name);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 64))
		abort();
	return fd;
}

static void stop(void *opaque)
{
	loop_stop(opaque);
}

static void init(void)
{
	if (!mkdtemp(dir) || loop_create(&loop) ||
	    loop_timer_init(loop, &timer, stop, loop))
		abort();
	snprintf(path, sizeof(path), "%s/v", dir);
	for (int i = 0; i < LISTENERS; i++) {
		char name[sizeof(path) + 4];

		snprintf(name, sizeof(name), "%s_%d", path, i + 1);
		listeners[i] = bound(name, i == 2 ? SOCK_SEQPACKET :
						    SOCK_STREAM);
	}
	atexit(clean);
}

/* What has happened to the sockets is looked at: a timer, unlike a call, comes
 * after it. */
static void settle(void)
{
	loop_timer_set(&timer, 1, 0);
	loop_run(loop);
}

/* A host program: connects, takes what there is, says something, ends. */
static void act(int *clients, uint8_t what)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int *fd = &clients[what % CLIENTS];
	char buf[4096];

	switch (what / CLIENTS % 5) {
	case 0:
		if (*fd >= 0)
			close(*fd);
		*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK |
			     SOCK_CLOEXEC, 0);
		strcpy(a.sun_path, path);
		if (!connect(*fd, (struct sockaddr *)&a, sizeof(a)))
			(void)!send(*fd, "CONNECT 5\nmore", 14, MSG_NOSIGNAL);
		break;
	case 1:
		if (*fd >= 0)
			close(*fd);
		*fd = accept4(listeners[what % LISTENERS], NULL, NULL,
			      SOCK_NONBLOCK | SOCK_CLOEXEC);
		break;
	case 2:
		(void)!recv(*fd, buf, sizeof(buf), 0);
		break;
	case 3:
		memset(buf, what, sizeof(buf));
		(void)!send(*fd, buf, 1 + what * 16u, MSG_NOSIGNAL);
		break;
	case 4:
		shutdown(*fd, what & 1 ? SHUT_WR : SHUT_RDWR);
		break;
	}
}

/* All that the guest is sent fits what it gave room for. */
static void fetch(struct vsock *v, unsigned int count)
{
	static uint8_t room[4][ROOM];
	struct iovec iov[4];
	struct vsock_slot slots[4], *pointers[4];

	count = 1 + count % 4;
	for (unsigned int i = 0; i < count; i++) {
		iov[i] = (struct iovec){ room[i], ROOM };
		slots[i] = (struct vsock_slot){
			.iov = &iov[i], .count = 1, .room_bytes = ROOM,
		};
		pointers[i] = &slots[i];
	}
	count = vsock_fill(v, pointers, count);
	for (unsigned int i = 0; i < count; i++)
		if (slots[i].len_bytes > ROOM ||
		    le32toh(slots[i].hdr.len) != slots[i].len_bytes ||
		    le64toh(slots[i].hdr.dst_cid) != CID)
			abort();
}

/*
 * A packet: its small numbers from 12 bytes, so that many are nearly right, and
 * as much behind it as it says, or a little more or less.
 */
static void packet(struct vsock *v, const uint8_t *b)
{
	static uint8_t payload[70000];
	uint32_t host = b[3] & 0x80 ? 0x40000000u + (b[3] & 15) : b[3] % 5;
	uint32_t len = b[4] * (b[5] & 1 ? 256u : 1u);
	struct virtio_vsock_hdr h = {
		.src_cid = htole64(b[0] == 255 ? 9 : CID),
		.dst_cid = htole64(b[0] == 254 ? 9 : VSOCK_HOST_CID),
		.src_port = htole32(b[2] % 8), .dst_port = htole32(host),
		.len = htole32(b[5] & 0x80 ? ~len : len),
		.type = htole16(b[1] & 0x40 ? b[1] & 3 : 1),
		.op = htole16(b[1] & 15), .flags = htole32(b[6] & 7),
		.buf_alloc = htole32(b[7] * 1024u),
		.fwd_cnt = htole32(b[8] * (b[9] & 1 ? 0x1000000u : 64u)),
	};
	struct iovec iov[2] = {
		{ payload, len / 3 },
		{ payload + len / 3, len - len / 3 },
	};

	if (b[10] == 255)
		iov[1].iov_len /= 2;
	vsock_receive(v, &h, iov, 2);
}

/* Nothing of a run is left for the next one. */
static void drain(void)
{
	int fd;

	for (int i = 0; i < LISTENERS; i++)
		while ((fd = accept(listeners[i], NULL, NULL)) >= 0)
			close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vsock_params p = { .guest_cid = CID, .path = path,
				  .packets = on_packets };
	int clients[CLIENTS] = { -1, -1, -1, -1 };
	struct vsock *v;
	struct error e;

	if (!loop)
		init();
	p.loop = loop;
	if (vsock_create(&v, &p, &e))
		abort();
	vsock_start(v, true);
	for (; size >= HEADER; data += HEADER, size -= HEADER) {
		uint8_t what = data[HEADER - 1];

		if (vsock_can_receive(v))
			packet(v, data);
		if (what & 1)
			act(clients, what >> 1);
		if (what & 1 || data[10] & 1)
			settle();
		if (what & 2)
			fetch(v, what >> 2);
	}
	vsock_destroy(v);
	for (int i = 0; i < CLIENTS; i++)
		if (clients[i] >= 0)
			close(clients[i]);
	drain();
	return 0;
}
