/* SPDX-License-Identifier: MIT */
/* A vsock, its host programs and its guest. The test's thread. */
#include "vsock_fixture.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void on_packets(void *opaque)
{
	((struct vf *)opaque)->told++;
}

int vf_setup(void **state)
{
	struct vf *f = calloc(1, sizeof(*f));
	struct vsock_params p = { .guest_cid = GUEST_CID, .opaque = f,
				  .packets = on_packets };
	struct error e;

	assert_non_null(f);
	strcpy(f->dir, "/tmp/mote-vsock-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/v", f->dir);
	assert_int_equal(loop_create(&f->loop), 0);
	p.loop = f->loop;
	p.path = f->path;
	assert_int_equal(vsock_create(&f->v, &p, &e), 0);
	f->my_buf_alloc = 65536;
	f->my_type = VIRTIO_VSOCK_TYPE_STREAM;
	vsock_start(f->v, true);
	*state = f;
	return 0;
}

int vf_teardown(void **state)
{
	struct vf *f = *state;
	char command[64];

	vsock_destroy(f->v);
	assert_int_equal(access(f->path, F_OK), -1);
	loop_destroy(f->loop);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static void on_time(void *opaque)
{
	loop_stop(opaque);
}

/* How often this thread had nothing to do. */
static long sleeps(void)
{
	struct rusage r;

	assert_int_equal(getrusage(RUSAGE_THREAD, &r), 0);
	return r.ru_nvcsw;
}

void vf_settle(struct vf *f)
{
	struct loop_timer t;
	long before;

	assert_int_equal(loop_timer_init(f->loop, &t, on_time, f->loop), 0);
	/* Where others want the processor this may be no time at all. */
	do {
		before = sleeps();
		loop_timer_set(&t, 10000000, 0);
		loop_run(f->loop);
	} while (sleeps() == before);
	loop_timer_deinit(&t);
}

void vf_send(struct vf *f, unsigned int op, uint32_t guest_port,
	     uint32_t host_port, uint32_t flags, const void *data,
	     uint32_t len)
{
	struct virtio_vsock_hdr h = {
		.src_cid = htole64(GUEST_CID),
		.dst_cid = htole64(VSOCK_HOST_CID),
		.src_port = htole32(guest_port),
		.dst_port = htole32(host_port),
		.len = htole32(len), .type = htole16(f->my_type),
		.op = htole16((uint16_t)op), .flags = htole32(flags),
		.buf_alloc = htole32(f->my_buf_alloc),
		.fwd_cnt = htole32(f->my_fwd_cnt),
	};
	struct iovec iov[2] = {
		{ (void *)data, len / 3 },
		{ (uint8_t *)data + len / 3, len - len / 3 },
	};

	vsock_receive(f->v, &h, iov, len ? 2 : 0);
}

static void refill(struct vf *f)
{
	struct vsock_slot *slots[VF_SLOTS];

	for (unsigned int i = 0; i < VF_SLOTS; i++) {
		f->iov[i][0] = (struct iovec){ f->room[i], 100 };
		f->iov[i][1] = (struct iovec){ f->room[i] + 100,
					       VF_ROOM - 100 };
		f->slots[i] = (struct vsock_slot){
			.iov = f->iov[i], .count = 2, .room_bytes = VF_ROOM,
		};
		slots[i] = &f->slots[i];
	}
	f->slot_next = 0;
	f->slot_count = vsock_fill(f->v, slots, VF_SLOTS);
}

bool vf_fetch(struct vf *f)
{
	const struct vsock_slot *s;

	if (f->slot_next == f->slot_count)
		refill(f);
	if (!f->slot_count)
		return false;
	s = &f->slots[f->slot_next];
	assert_int_equal(le64toh(s->hdr.src_cid), VSOCK_HOST_CID);
	assert_int_equal(le64toh(s->hdr.dst_cid), GUEST_CID);
	assert_int_equal(le32toh(s->hdr.len), s->len_bytes);
	assert_true(s->len_bytes <= VF_ROOM);
	f->op = le16toh(s->hdr.op);
	f->type = le16toh(s->hdr.type);
	f->guest_port = le32toh(s->hdr.dst_port);
	f->host_port = le32toh(s->hdr.src_port);
	f->len = s->len_bytes;
	f->flags = le32toh(s->hdr.flags);
	f->buf_alloc = le32toh(s->hdr.buf_alloc);
	f->fwd_cnt = le32toh(s->hdr.fwd_cnt);
	memcpy(f->data, f->room[f->slot_next], f->len);
	f->slot_next++;
	return true;
}

void vf_expect(struct vf *f, unsigned int op)
{
	bool there = vf_fetch(f);

	/* On a busy machine what the host's end did takes its time. */
	for (int i = 0; i < 500 && !there; i++) {
		vf_settle(f);
		there = vf_fetch(f);
	}
	assert_true(there);
	assert_int_equal(f->op, op);
}

void vf_expect_nothing(struct vf *f)
{
	if (vf_fetch(f))
		fail_msg("packet with op %u, %u bytes", f->op, f->len);
	assert_false(vsock_has_packets(f->v));
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	strcpy(addr.sun_path, path);
	return addr;
}

int vf_client(struct vf *f, const char *text)
{
	struct sockaddr_un addr = address(f->path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)),
			 0);
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL),
			 strlen(text));
	vf_settle(f);
	return fd;
}

int vf_stream(struct vf *f, uint32_t guest_port)
{
	char text[32];
	int fd;

	snprintf(text, sizeof(text), "CONNECT %u\n", guest_port);
	fd = vf_client(f, text);
	vf_expect(f, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(f->guest_port, guest_port);
	vf_send(f, VIRTIO_VSOCK_OP_RESPONSE, guest_port, f->host_port, 0, NULL,
		0);
	snprintf(text, sizeof(text), "OK %u\n", f->host_port);
	vf_expect_host(fd, text);
	vf_expect_nothing(f);
	return fd;
}

int vf_listen(struct vf *f, uint32_t port, int type)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr;
	char path[96];

	snprintf(path, sizeof(path), "%s_%u", f->path, port);
	addr = address(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 2000), 0);
	return fd;
}

int vf_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

void vf_expect_host(int fd, const char *text)
{
	char buf[256];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	assert_int_equal(n, strlen(text));
	assert_memory_equal(buf, text, strlen(text));
}

void vf_expect_host_quiet(int fd)
{
	char byte;

	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}
