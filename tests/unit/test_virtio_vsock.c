/* SPDX-License-Identifier: MIT */
/* LINK: error loop iothread guest_mem state virtio/virtqueue */
/* LINK: virtio/device% virtio/vsock virtio/device virtio/device_reg virtio/device_state */
/* LINK: virtio/vhost virtio/vhost_vsock char/listener vsock/vsock virtio/vsock_event */
/* LINK: vsock/connection vsock/fill vsock/socket vsock/host vsock/service vsock/vsock */
/* LINK: vsock/buffer vsock/service */
/* WITH: fake_driver */
/* The socket device's queues, well-formed and not; pause, save and reset. */
#include "unit.h"

#include <errno.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "fake_driver.h"
#include "state.h"
#include "virtio/vsock.h"

#define RING(n)		(FAKE_RAM_BASE + 0x10000 * (gpa_t)(n))
#define TX_DATA		(FAKE_RAM_BASE + 0x80000)
#define RX_DATA		(FAKE_RAM_BASE + 0x100000)
#define RX_BYTES	4096u
#define HDR		sizeof(struct virtio_vsock_hdr)
#define NEEDS_RESET	0x40
#define CID		5u

struct fixture {
	struct fake_ram ram;
	struct iothread *thread;
	struct virtio_device *d;
	struct fake_irq irq;
	struct fake_queue q[VSOCK_QUEUES];
	char dir[32], path[64];
	unsigned int rx_next;
	struct virtio_vsock_hdr hdr;	/* the last received */
	uint32_t len;
	const uint8_t *payload;
};

static void create(struct fixture *f)
{
	const struct config_vsock c = { .cid = CID, .path = f->path };
	struct error e;

	assert_int_equal(virtio_vsock_create(&f->d, &c, f->ram.mem,
					     iothread_loop(f->thread), &e), 0);
	fake_irq_init(&f->irq, f->d);
}

static void start(struct fixture *f)
{
	for (unsigned int i = 0; i < VSOCK_QUEUES; i++)
		fake_queue_init(&f->q[i], &f->ram, RING(i),
				i == VSOCK_EVENT ? 16 : 256);
	f->rx_next = 0;
	assert_int_equal(fake_start(f->d, UINT64_MAX, f->q, VSOCK_QUEUES), 15);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/mote-vsock-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/v", f->dir);
	fake_ram_init(&f->ram);
	assert_int_equal(iothread_create(&f->thread, "io"), 0);
	create(f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	virtio_device_destroy(f->d);
	iothread_destroy(f->thread);
	fake_ram_deinit(&f->ram);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* As Linux does: header and payload in descriptors of their own. */
static void offer(struct fixture *f, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		gpa_t at = RX_DATA + RX_BYTES * (gpa_t)(f->rx_next++ % 128);
		struct fake_buffer b[] = {
			{ at, HDR, true }, { at + HDR, RX_BYTES - HDR, true },
		};

		fake_add(&f->q[VSOCK_RX], b, 2);
	}
	fake_kick(f->d, VSOCK_RX);
}

static void send_packet(struct fixture *f, unsigned int op, uint32_t guest_port,
			uint32_t host_port, const void *data, uint32_t len)
{
	struct virtio_vsock_hdr h = {
		.src_cid = CID, .dst_cid = 2, .src_port = guest_port,
		.dst_port = host_port, .len = len, .type = 1,
		.op = (uint16_t)op, .buf_alloc = 262144,
	};
	struct fake_buffer b[] = {
		{ TX_DATA, HDR, false }, { TX_DATA + HDR, len, false },
	};
	uint32_t id, used;

	memcpy(fake_ptr(&f->ram, TX_DATA), &h, HDR);
	memcpy(fake_ptr(&f->ram, TX_DATA + HDR), data, len);
	fake_add(&f->q[VSOCK_TX], b, len ? 2 : 1);
	fake_kick(f->d, VSOCK_TX);
	assert_true(fake_used_wait(&f->q[VSOCK_TX], &f->irq, VSOCK_TX, &id,
				   &used));
	assert_int_equal(used, 0);
}

static void receive(struct fixture *f, unsigned int op)
{
	uint32_t id, used;
	gpa_t at;

	assert_true(fake_used_wait(&f->q[VSOCK_RX], &f->irq, VSOCK_RX, &id,
				   &used));
	at = RX_DATA + RX_BYTES * (gpa_t)(id / 2);
	memcpy(&f->hdr, fake_ptr(&f->ram, at), HDR);
	f->payload = fake_ptr(&f->ram, at + HDR);
	f->len = used - (uint32_t)HDR;
	assert_int_equal(f->hdr.op, op);
	assert_int_equal(f->hdr.len, f->len);
	assert_int_equal(f->hdr.dst_cid, CID);
}

static int host_socket(void)
{
	struct timeval patience = { .tv_sec = 5 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
				    sizeof(patience)), 0);
	return fd;
}

static int client(struct fixture *f, const char *line)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = host_socket();

	strcpy(addr.sun_path, f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)),
			 0);
	assert_int_equal(send(fd, line, strlen(line), MSG_NOSIGNAL),
			 strlen(line));
	return fd;
}

/* A stream to the guest's port 7. */
static int stream(struct fixture *f)
{
	int fd = client(f, "CONNECT 7\n");
	char line[32];

	receive(f, VIRTIO_VSOCK_OP_REQUEST);
	send_packet(f, VIRTIO_VSOCK_OP_RESPONSE, 7, f->hdr.src_port, "", 0);
	assert_true(recv(fd, line, sizeof(line), 0) > 4);
	assert_memory_equal(line, "OK ", 3);
	return fd;
}

static void test_vsock_config_is_the_cid(void **state)
{
	struct fixture *f = *state;
	uint8_t cid[8];

	virtio_reg_config_read(f->d, 0, cid, 8);
	assert_memory_equal(cid, "\5\0\0\0\0\0\0\0", 8);
}

static void test_vsock_bytes_go_both_ways(void **state)
{
	struct fixture *f = *state;
	char buf[16];
	int fd;

	start(f);
	offer(f, 32);
	fd = stream(f);
	send_packet(f, VIRTIO_VSOCK_OP_RW, 7, f->hdr.src_port, "to the host",
		    11);
	assert_int_equal(recv(fd, buf, sizeof(buf), 0), 11);
	assert_memory_equal(buf, "to the host", 11);
	assert_int_equal(send(fd, "to the guest", 12, 0), 12);
	receive(f, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(f->len, 12);
	assert_memory_equal(f->payload, "to the guest", 12);
	close(fd);
	receive(f, VIRTIO_VSOCK_OP_SHUTDOWN);
}

static void test_vsock_much_fills_many_buffers_in_order(void **state)
{
	enum { TOTAL = 150000 };
	struct fixture *f = *state;
	uint8_t *data = malloc(TOTAL);
	uint32_t got = 0;
	int fd;

	for (uint32_t i = 0; i < TOTAL; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 24);
	start(f);
	offer(f, 8);
	fd = stream(f);
	assert_int_equal(send(fd, data, TOTAL, 0), TOTAL);
	while (got < TOTAL) {
		receive(f, VIRTIO_VSOCK_OP_RW);
		assert_memory_equal(f->payload, data + got, f->len);
		got += f->len;
		offer(f, 1);
	}
	assert_int_equal(got, TOTAL);
	close(fd);
	free(data);
}

static void test_vsock_reset_ends_streams(void **state)
{
	struct fixture *f = *state;
	char byte;
	int fd;

	start(f);
	offer(f, 32);
	fd = stream(f);
	virtio_reg_status_write(f->d, 0);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close(fd);
	fd = client(f, "CONNECT 7\n");
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close(fd);
	start(f);
	offer(f, 32);
	close(stream(f));
}

static void test_vsock_pause_touches_no_memory_and_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct virtqueue_state s;
	uint32_t id, len;
	int fd;

	start(f);
	offer(f, 40);
	fd = stream(f);
	virtio_device_quiesce(f->d);
	/* Buffers that were held ready are the driver's again. */
	virtqueue_save(virtio_vq(f->d, VSOCK_RX), &s);
	assert_int_equal(s.next_avail, s.next_used);
	assert_int_equal(send(fd, "later", 5, 0), 5);
	usleep(50000);
	assert_false(fake_used(&f->q[VSOCK_RX], &id, &len));
	virtio_device_resume(f->d);
	receive(f, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(f->len, 5);
	close(fd);
}

/* Another device takes over, at rest. */
static void restore(struct fixture *f)
{
	struct state_writer w = STATE_WRITER_INIT;
	struct state_reader r;
	struct error e;

	virtio_device_quiesce(f->d);
	virtio_device_save(f->d, &w);
	virtio_device_destroy(f->d);
	create(f);
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(virtio_device_load(f->d, &r, &e), 0);
	assert_int_equal(state_reader_finish(&r), 0);
	state_writer_deinit(&w);
}

static void test_vsock_restored_driver_hears_of_a_reset(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { TX_DATA, 4, true };
	uint32_t id, len, event = 99;

	start(f);
	offer(f, 40);
	close(stream(f));
	restore(f);
	virtio_device_resume(f->d);
	/* The buffer comes late. */
	memcpy(fake_ptr(&f->ram, TX_DATA), &event, 4);
	fake_add(&f->q[VSOCK_EVENT], &b, 1);
	fake_kick(f->d, VSOCK_EVENT);
	assert_true(fake_used_wait(&f->q[VSOCK_EVENT], &f->irq, VSOCK_EVENT,
				   &id, &len));
	assert_int_equal(len, 4);
	memcpy(&event, fake_ptr(&f->ram, TX_DATA), 4);
	assert_int_equal(event, VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	/* Once; and who was connected is unknown now. */
	fake_add(&f->q[VSOCK_EVENT], &b, 1);
	fake_kick(f->d, VSOCK_EVENT);
	send_packet(f, VIRTIO_VSOCK_OP_RW, 7, 1u << 30, "x", 1);
	do {
		assert_true(fake_used_wait(&f->q[VSOCK_RX], &f->irq, VSOCK_RX,
					   &id, &len));
		memcpy(&f->hdr, fake_ptr(&f->ram, RX_DATA + RX_BYTES *
					 (gpa_t)(id / 2)), HDR);
	} while (f->hdr.op != VIRTIO_VSOCK_OP_RST);
	assert_false(fake_used(&f->q[VSOCK_EVENT], &id, &len));
	/* Listeners work at once. */
	close(stream(f));
}

/* When it hears of the end it ends what is there: nothing new may be. */
static void test_vsock_restored_driver_gets_new_streams_afterwards(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { TX_DATA, 4, true };
	uint32_t id, len;
	int fd;

	start(f);
	offer(f, 40);
	fake_add(&f->q[VSOCK_EVENT], &b, 1);
	fake_add(&f->q[VSOCK_EVENT], &b, 1);
	for (int looks = 1; looks >= 0; looks--) {
		restore(f);
		fd = client(f, "CONNECT 7\n");
		virtio_device_resume(f->d);
		assert_true(fake_used_wait(&f->q[VSOCK_EVENT], &f->irq,
					   VSOCK_EVENT, &id, &len));
		fake_kick(f->d, VSOCK_RX);
		usleep(50000);
		assert_false(fake_used(&f->q[VSOCK_RX], &id, &len));
		if (looks) {
			fake_add(&f->q[VSOCK_EVENT], &b, 1);
			fake_kick(f->d, VSOCK_EVENT);
		}
		/* A driver that keeps the buffer is not waited for long. */
		receive(f, VIRTIO_VSOCK_OP_REQUEST);
		close(fd);
		receive(f, VIRTIO_VSOCK_OP_RST);
	}
}

static void test_vsock_flood_of_nonsense_waits_for_receive_buffers(void **state)
{
	struct virtio_vsock_hdr h = {
		.src_cid = CID, .dst_cid = 2, .type = 1,
		.op = VIRTIO_VSOCK_OP_RW,
	};
	struct fake_buffer b = { TX_DATA, HDR, false };
	struct fixture *f = *state;
	unsigned int sent = 0, used = 0, resets = 0;
	uint32_t id, len;

	start(f);
	memcpy(fake_ptr(&f->ram, TX_DATA), &h, HDR);
	for (unsigned int round = 0; round < 4; round++) {
		while (sent - used < 256) {
			fake_add(&f->q[VSOCK_TX], &b, 1);
			sent++;
		}
		fake_kick(f->d, VSOCK_TX);
		usleep(20000);
		while (fake_used(&f->q[VSOCK_TX], &id, &len))
			used++;
	}
	/* No more than there is room for answers. */
	assert_true(used >= 256 && used < sent);
	while (resets < sent) {
		offer(f, 16);
		for (unsigned int i = 0; i < 16; i++, resets++)
			receive(f, VIRTIO_VSOCK_OP_RST);
	}
	usleep(20000);
	while (fake_used(&f->q[VSOCK_TX], &id, &len))
		used++;
	assert_int_equal(used, sent);
}

static void test_vsock_malformed_chains_break_the_device(void **state)
{
	static const struct {
		unsigned int queue, count;
		struct fake_buffer b[2];
	} cases[] = {
		{ VSOCK_TX, 1, { { TX_DATA, HDR - 1, false } } },
		{ VSOCK_TX, 2, { { TX_DATA, HDR, false },
				 { TX_DATA + 64, 8, true } } },
		{ VSOCK_TX, 1, { { TX_DATA, 0, false } } },
		{ VSOCK_TX, 1, { { 1, HDR, false } } },
		{ VSOCK_RX, 1, { { RX_DATA, HDR, true } } },
		{ VSOCK_RX, 1, { { RX_DATA, 4096, false } } },
		{ VSOCK_RX, 2, { { RX_DATA, 64, false },
				 { RX_DATA + 64, 4096, true } } },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int fd = -1;

		start(f);
		fake_add(&f->q[cases[i].queue], cases[i].b, cases[i].count);
		fake_kick(f->d, cases[i].queue);
		/* Receive buffers are looked at when there is a packet. */
		if (cases[i].queue == VSOCK_RX)
			fd = client(f, "CONNECT 1\n");
		assert_true(fake_irq_wait(&f->irq.config));
		assert_true(virtio_reg_status(f->d) & NEEDS_RESET);
		if (fd >= 0)
			close(fd);
		virtio_reg_status_write(f->d, 0);
	}
	start(f);
	offer(f, 32);
	close(stream(f));
}

static void test_vsock_oddly_cut_packet_is_read_whole(void **state)
{
	struct virtio_vsock_hdr h = {
		.src_cid = CID, .dst_cid = 2, .src_port = 7, .len = 5,
		.type = 1, .op = VIRTIO_VSOCK_OP_RW, .buf_alloc = 4096,
	};
	struct fake_buffer b[] = {
		{ TX_DATA, 10, false }, { TX_DATA + 10, 0, false },
		{ TX_DATA + 10, HDR - 8, false }, { TX_DATA + HDR + 2, 3, false },
	};
	struct fixture *f = *state;
	char buf[16];
	int fd;

	start(f);
	offer(f, 32);
	fd = stream(f);
	h.dst_port = f->hdr.src_port;
	memcpy(fake_ptr(&f->ram, TX_DATA), &h, HDR);
	memcpy(fake_ptr(&f->ram, TX_DATA + HDR), "bytes", 5);
	fake_add(&f->q[VSOCK_TX], b, 4);
	fake_kick(f->d, VSOCK_TX);
	assert_int_equal(recv(fd, buf, sizeof(buf), 0), 5);
	assert_memory_equal(buf, "bytes", 5);
	close(fd);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_vsock_config_is_the_cid),
		CASE(test_vsock_bytes_go_both_ways),
		CASE(test_vsock_much_fills_many_buffers_in_order),
		CASE(test_vsock_reset_ends_streams),
		CASE(test_vsock_pause_touches_no_memory_and_loses_nothing),
		CASE(test_vsock_restored_driver_hears_of_a_reset),
		CASE(test_vsock_restored_driver_gets_new_streams_afterwards),
		CASE(test_vsock_flood_of_nonsense_waits_for_receive_buffers),
		CASE(test_vsock_malformed_chains_break_the_device),
		CASE(test_vsock_oddly_cut_packet_is_read_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
