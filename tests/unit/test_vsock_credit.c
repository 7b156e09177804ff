/* SPDX-License-Identifier: MIT */
/* LINK: vsock/vsock vsock/connection vsock/fill vsock/socket vsock/host */
/* LINK: vsock/service vsock/buffer char/listener loop error */
/* WITH: vsock_fixture */
/* Credit, messages, and guests that lie. */
#include "vsock_fixture.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CHUNK 32768u

static uint8_t bytes[CHUNK];

static void pattern(uint32_t from)
{
	for (uint32_t i = 0; i < CHUNK; i++)
		bytes[i] = (uint8_t)((from + i) * 2654435761u >> 24);
}

static int guest_stream(struct vf *f, uint32_t guest_port, uint32_t host_port,
			int type)
{
	int listener = vf_listen(f, host_port, type), fd;

	vf_send(f, VIRTIO_VSOCK_OP_REQUEST, guest_port, host_port, 0, NULL, 0);
	vf_expect(f, VIRTIO_VSOCK_OP_RESPONSE);
	fd = vf_accept(listener);
	close(listener);
	return fd;
}

/* All the room that the guest was told of is filled; returns the bytes. */
static uint32_t fill_up(struct vf *f, uint32_t guest_port, uint32_t host_port)
{
	uint32_t sent = 0, fwd = 0, window = f->buf_alloc;

	while (window - (sent - fwd) >= CHUNK) {
		pattern(sent);
		vf_send(f, VIRTIO_VSOCK_OP_RW, guest_port, host_port, 0, bytes,
			CHUNK);
		sent += CHUNK;
		while (vf_fetch(f)) {
			assert_int_equal(f->op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
			fwd = f->fwd_cnt;
		}
	}
	return sent;
}

static void test_credit_stalled_reader_blocks_only_itself(void **state)
{
	struct vf *f = *state;
	int slow = guest_stream(f, 1, 7, SOCK_STREAM), fast;
	uint32_t sent = fill_up(f, 1, 7), got = 0;
	uint8_t buf[CHUNK];
	ssize_t n;

	assert_true(sent > f->buf_alloc);
	fast = guest_stream(f, 2, 8, SOCK_STREAM);
	vf_send(f, VIRTIO_VSOCK_OP_RW, 2, 8, 0, "through", 7);
	vf_expect_host(fast, "through");
	/* The reader wakes up: all arrives in order, and room is told. */
	while (got < sent) {
		n = recv(slow, buf, sizeof(buf), MSG_DONTWAIT);
		if (n < 0) {
			vf_settle(f);
			continue;
		}
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(buf[i], (uint8_t)((got + (uint32_t)i) *
						 2654435761u >> 24));
		got += (uint32_t)n;
	}
	vf_settle(f);
	vf_expect(f, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(f->guest_port, 1);
	while (vf_fetch(f))
		;
	assert_int_equal(f->fwd_cnt, sent);
	close(slow);
	close(fast);
}

static void test_credit_overdrawn_by_guest_is_reset(void **state)
{
	struct vf *f = *state;
	int fd = guest_stream(f, 1, 7, SOCK_STREAM);

	fill_up(f, 1, 7);
	/* What it was not told of is there for it all the same. */
	for (uint32_t more = 0; !vsock_has_packets(f->v); more += CHUNK) {
		assert_true(more <= f->buf_alloc);
		vf_send(f, VIRTIO_VSOCK_OP_RW, 1, 7, 0, bytes, CHUNK);
	}
	vf_expect(f, VIRTIO_VSOCK_OP_RST);
	vf_expect_nothing(f);
	vf_send(f, VIRTIO_VSOCK_OP_RW, 1, 7, 0, bytes, 1);
	vf_expect(f, VIRTIO_VSOCK_OP_RST);
	close(fd);
}

static void test_credit_drained_stream_survives_its_guest(void **state)
{
	struct vf *f = *state;
	int fd = guest_stream(f, 1, 7, SOCK_STREAM);
	uint32_t sent = fill_up(f, 1, 7), got = 0;
	uint8_t buf[CHUNK];
	ssize_t n;

	vf_send(f, VIRTIO_VSOCK_OP_SHUTDOWN, 1, 7,
		VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND, NULL,
		0);
	vf_expect(f, VIRTIO_VSOCK_OP_RST);
	/* Nobody reads what it sends any more. */
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) != 0) {
		if (n < 0)
			vf_settle(f);
		else
			got += (uint32_t)n;
	}
	assert_int_equal(got, sent);
	close(fd);
}

static void test_credit_of_the_guest_is_kept_to(void **state)
{
	struct vf *f = *state;
	uint32_t port, sum = 0;
	int fd;

	f->my_buf_alloc = 6000;
	fd = vf_stream(f, 1);
	port = f->host_port;
	assert_int_equal(send(fd, bytes, CHUNK, 0), CHUNK);
	vf_settle(f);
	while (vf_fetch(f)) {
		assert_int_equal(f->op, VIRTIO_VSOCK_OP_RW);
		sum += f->len;
	}
	assert_int_equal(sum, 6000);
	/* It claims to have read what it never got: no credit from that. */
	f->my_fwd_cnt = 100000;
	vf_send(f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 1, port, 0, NULL, 0);
	vf_expect_nothing(f);
	f->my_fwd_cnt = 1000;
	vf_send(f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 1, port, 0, NULL, 0);
	vf_expect(f, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(f->len, 1000);
	/* It takes room back: that is its right, and ends nothing. */
	f->my_buf_alloc = 10;
	f->my_fwd_cnt = 2000;
	vf_send(f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 1, port, 0, NULL, 0);
	vf_expect_nothing(f);
	close(fd);
}

static void test_credit_request_is_answered(void **state)
{
	struct vf *f = *state;
	int fd = guest_stream(f, 1, 7, SOCK_STREAM);

	vf_send(f, VIRTIO_VSOCK_OP_RW, 1, 7, 0, "abc", 3);
	vf_expect_nothing(f);
	vf_send(f, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 1, 7, 0, NULL, 0);
	vf_expect(f, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(f->fwd_cnt, 3);
	close(fd);
}

/* An update interrupts the guest, which can go on for long without one. */
static void test_credit_is_told_when_most_of_it_is_used(void **state)
{
	struct vf *f = *state;
	int fd = guest_stream(f, 1, 7, SOCK_STREAM);
	uint32_t most = f->buf_alloc / 4 * 3, sent = 0;
	uint8_t buf[CHUNK];

	assert_int_equal(most % CHUNK, 0);
	for (int updates = 0; updates < 3; updates++) {
		do {
			vf_expect_nothing(f);
			vf_send(f, VIRTIO_VSOCK_OP_RW, 1, 7, 0, bytes, CHUNK);
			assert_int_equal(recv(fd, buf, CHUNK, 0), CHUNK);
			sent += CHUNK;
		} while (sent % most);
		vf_expect(f, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
		assert_int_equal(f->fwd_cnt, sent);
	}
	close(fd);
}

/* All that the guest may send reaches the host's socket, read or not. */
static void window_fits(struct vf *f, int fd, uint32_t host_port)
{
	uint32_t window = f->buf_alloc;
	int there = -1;

	for (uint32_t sent = 0, len; sent < window; sent += len) {
		len = window - sent < CHUNK ? window - sent : CHUNK;
		vf_send(f, VIRTIO_VSOCK_OP_RW, 1, host_port, 0, bytes, len);
	}
	assert_int_equal(ioctl(fd, FIONREAD, &there), 0);
	assert_int_equal(there, window);
	close(fd);
	vf_settle(f);
	while (vf_fetch(f))
		;
}

static void test_credit_window_fits_the_socket(void **state)
{
	struct vf *f = *state;
	int fd = guest_stream(f, 1, 7, SOCK_STREAM);

	window_fits(f, fd, 7);
	fd = vf_stream(f, 1);
	window_fits(f, fd, f->host_port);
}

static void test_credit_counts_what_a_gone_host_did_not_take(void **state)
{
	struct vf *f = *state;
	int fd = guest_stream(f, 1, 7, SOCK_STREAM);

	shutdown(fd, SHUT_RD);
	vf_send(f, VIRTIO_VSOCK_OP_RW, 1, 7, 0, bytes, 100);
	vf_expect(f, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(f->flags, VIRTIO_VSOCK_SHUTDOWN_RCV);
	assert_int_equal(f->fwd_cnt, 100);
	assert_int_equal(send(fd, "back", 4, 0), 4);
	vf_settle(f);
	vf_expect(f, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(f->len, 4);
	close(fd);
}

static void test_seqpacket_keeps_messages_apart(void **state)
{
	struct vf *f = *state;
	int fd;

	f->my_type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	fd = guest_stream(f, 1, 7, SOCK_SEQPACKET);
	assert_int_equal(f->type, VIRTIO_VSOCK_TYPE_SEQPACKET);
	vf_send(f, VIRTIO_VSOCK_OP_RW, 1, 7, VIRTIO_VSOCK_SEQ_EOM, "one", 3);
	vf_send(f, VIRTIO_VSOCK_OP_RW, 1, 7, 0, "tw", 2);
	vf_expect_host(fd, "one");
	vf_expect_host_quiet(fd);
	vf_send(f, VIRTIO_VSOCK_OP_RW, 1, 7, VIRTIO_VSOCK_SEQ_EOM, "o", 1);
	vf_expect_host(fd, "two");
	while (vf_fetch(f))
		assert_int_equal(f->op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(f->fwd_cnt, 6);
	assert_int_equal(send(fd, "three", 5, 0), 5);
	assert_int_equal(send(fd, bytes, 10000, 0), 10000);
	vf_settle(f);
	vf_expect(f, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(f->len, 5);
	assert_int_equal(f->flags, VIRTIO_VSOCK_SEQ_EOM);
	vf_expect(f, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(f->len, VF_ROOM);
	assert_int_equal(f->flags, 0);
	vf_expect(f, VIRTIO_VSOCK_OP_RW);
	vf_expect(f, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(f->len, 10000 - 2 * VF_ROOM);
	assert_int_equal(f->flags, VIRTIO_VSOCK_SEQ_EOM);
	close(fd);
	vf_settle(f);
	vf_expect(f, VIRTIO_VSOCK_OP_SHUTDOWN);
}

/* A guest that takes a byte of each: what is held of all has the pool's bound. */
static void test_seqpacket_messages_are_bounded(void **state)
{
	static uint8_t message[100000];
	struct vf *f = *state;
	int listener = vf_listen(f, 7, SOCK_SEQPACKET);
	static int fds[VSOCK_MAX_CONNECTIONS];
	unsigned int made = 0, held = 0;

	f->my_type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	f->my_buf_alloc = sizeof(message);
	f->my_fwd_cnt = 1 - (uint32_t)sizeof(message);
	for (uint32_t i = 0; i < VSOCK_MAX_CONNECTIONS; i++) {
		vf_send(f, VIRTIO_VSOCK_OP_REQUEST, i, 7, 0, NULL, 0);
		assert_true(vf_fetch(f));
		if (f->op != VIRTIO_VSOCK_OP_RESPONSE)
			break;
		fds[made] = vf_accept(listener);
		assert_int_equal(send(fds[made++], message, sizeof(message), 0),
				 sizeof(message));
		if (made % 64)
			continue;
		vf_settle(f);
		while (vf_fetch(f))
			held += f->op == VIRTIO_VSOCK_OP_RW;
	}
	assert_true(held > 64);
	assert_true(held <= VSOCK_POOL_BYTES / sizeof(message));
	/* It is all there again for others. */
	vsock_reset(f->v);
	vsock_start(f->v, true);
	for (unsigned int i = 0; i < made; i++)
		close(fds[i]);
	close(listener);
	f->my_type = VIRTIO_VSOCK_TYPE_STREAM;
	close(vf_stream(f, 1));
	assert_int_equal(f->buf_alloc, 256 << 10);
}

static void test_seqpacket_slow_reader_gets_all_messages(void **state)
{
	struct vf *f = *state;
	unsigned int sent = 0, got = 0;
	uint32_t fwd = 0, window, total = 0;
	uint8_t buf[2000];
	ssize_t n;
	int fd;

	f->my_type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	fd = guest_stream(f, 1, 7, SOCK_SEQPACKET);
	window = f->buf_alloc;
	for (;;) {
		uint32_t len = 1 + sent * 37 % 1500;

		if (total + len - fwd > window)
			break;
		memset(bytes, (int)sent, len);
		vf_send(f, VIRTIO_VSOCK_OP_RW, 1, 7, 0, bytes, len / 2);
		vf_send(f, VIRTIO_VSOCK_OP_RW, 1, 7, VIRTIO_VSOCK_SEQ_EOM,
			bytes, len - len / 2);
		total += len;
		sent++;
		while (vf_fetch(f))
			fwd = f->fwd_cnt;
	}
	assert_true(total > window);
	while (got < sent) {
		n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n < 0) {
			vf_settle(f);
			continue;
		}
		assert_int_equal(n, 1 + got * 37 % 1500);
		assert_int_equal(buf[0], (uint8_t)got);
		assert_int_equal(buf[n - 1], (uint8_t)got);
		got++;
	}
	vf_expect_host_quiet(fd);
	close(fd);
}

static void test_seqpacket_stream_socket_is_refused(void **state)
{
	struct vf *f = *state;
	int listener = vf_listen(f, 7, SOCK_STREAM);

	f->my_type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	vf_send(f, VIRTIO_VSOCK_OP_REQUEST, 1, 7, 0, NULL, 0);
	vf_expect(f, VIRTIO_VSOCK_OP_RST);
	/* Not negotiated: an unknown type. */
	vsock_start(f->v, false);
	vf_send(f, VIRTIO_VSOCK_OP_REQUEST, 1, 7, 0, NULL, 0);
	vf_expect(f, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(f->type, VIRTIO_VSOCK_TYPE_SEQPACKET);
	close(listener);
}

/* ---- hostile packets ----------------------------------------------------- */

static void test_hostile_packets_of_no_stream(void **state)
{
	static const struct {
		uint64_t src, dst;
		uint16_t type, op;
		uint32_t len;
		bool answered;
	} cases[] = {
		{ GUEST_CID, 2, 1, VIRTIO_VSOCK_OP_RW, 4, true },
		{ GUEST_CID, 2, 1, VIRTIO_VSOCK_OP_SHUTDOWN, 0, true },
		{ GUEST_CID, 2, 1, VIRTIO_VSOCK_OP_RESPONSE, 0, true },
		{ GUEST_CID, 2, 1, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, true },
		{ GUEST_CID, 2, 1, VIRTIO_VSOCK_OP_INVALID, 0, true },
		{ GUEST_CID, 2, 1, 9999, 0, true },
		{ GUEST_CID, 2, 77, VIRTIO_VSOCK_OP_REQUEST, 0, true },
		{ GUEST_CID, 2, 1, VIRTIO_VSOCK_OP_REQUEST, 5, true },
		{ GUEST_CID, 2, 1, VIRTIO_VSOCK_OP_RW, UINT32_MAX, true },
		/* A reset for a reset would go on for ever. */
		{ GUEST_CID, 2, 1, VIRTIO_VSOCK_OP_RST, 0, false },
		{ GUEST_CID, 2, 77, VIRTIO_VSOCK_OP_RST, 9, false },
		{ GUEST_CID + 1, 2, 1, VIRTIO_VSOCK_OP_REQUEST, 0, false },
		{ GUEST_CID | 1ull << 32, 2, 1, VIRTIO_VSOCK_OP_REQUEST, 0,
		  false },
		{ GUEST_CID, 3, 1, VIRTIO_VSOCK_OP_REQUEST, 0, false },
		{ GUEST_CID, 2 | 1ull << 32, 1, VIRTIO_VSOCK_OP_REQUEST, 0,
		  false },
	};
	struct vf *f = *state;
	int listener = vf_listen(f, 7, SOCK_STREAM);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct virtio_vsock_hdr h = {
			.src_cid = htole64(cases[i].src),
			.dst_cid = htole64(cases[i].dst),
			.src_port = htole32(1), .dst_port = htole32(7),
			.len = htole32(cases[i].len),
			.type = htole16(cases[i].type),
			.op = htole16(cases[i].op),
		};
		struct iovec iov = { bytes, 4 };

		vsock_receive(f->v, &h, &iov, 1);
		if (cases[i].answered) {
			vf_expect(f, VIRTIO_VSOCK_OP_RST);
			assert_int_equal(f->type, cases[i].type);
		}
		vf_expect_nothing(f);
	}
	close(listener);
}

static void test_hostile_packets_of_a_stream_reset_it(void **state)
{
	static const struct {
		unsigned int op;
		uint16_t type;
		uint32_t len, behind;
	} cases[] = {
		{ VIRTIO_VSOCK_OP_RW, 1, 10, 9 },
		{ VIRTIO_VSOCK_OP_RW, 1, UINT32_MAX, 9 },
		{ VIRTIO_VSOCK_OP_RW, 2, 9, 9 },
		{ VIRTIO_VSOCK_OP_RW, 9, 9, 9 },
		{ VIRTIO_VSOCK_OP_REQUEST, 1, 0, 0 },
		{ VIRTIO_VSOCK_OP_RESPONSE, 1, 0, 0 },
		{ VIRTIO_VSOCK_OP_INVALID, 1, 0, 0 },
		{ 50000, 1, 0, 0 },
	};
	struct vf *f = *state;

	for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int fd = guest_stream(f, 1, 7 + i, SOCK_STREAM);
		struct virtio_vsock_hdr h = {
			.src_cid = htole64(GUEST_CID),
			.dst_cid = htole64(VSOCK_HOST_CID),
			.src_port = htole32(1), .dst_port = htole32(7 + i),
			.len = htole32(cases[i].len),
			.type = htole16(cases[i].type),
			.op = htole16((uint16_t)cases[i].op),
		};
		struct iovec iov = { bytes, cases[i].behind };

		vsock_receive(f->v, &h, &iov, 1);
		vf_expect(f, VIRTIO_VSOCK_OP_RST);
		vf_expect_nothing(f);
		vf_expect_host(fd, "");
		close(fd);
	}
}

static void test_hostile_answer_before_the_question_is_reset(void **state)
{
	struct vf *f = *state;
	int first = vf_stream(f, 5), fd = vf_client(f, "CONNECT 5\n");

	/* It is easy to know which port is next. */
	vf_send(f, VIRTIO_VSOCK_OP_RESPONSE, 5, f->host_port + 1, 0, NULL, 0);
	vf_expect(f, VIRTIO_VSOCK_OP_RST);
	vf_expect_host(fd, "");
	close(fd);
	fd = vf_client(f, "CONNECT 5\n");
	vf_expect(f, VIRTIO_VSOCK_OP_REQUEST);
	vf_send(f, VIRTIO_VSOCK_OP_RW, 5, f->host_port, 0, "x", 1);
	vf_expect(f, VIRTIO_VSOCK_OP_RST);
	vf_expect_host(fd, "");
	close(fd);
	close(first);
}

static void test_hostile_flood_stops_at_the_bound(void **state)
{
	struct vf *f = *state;
	unsigned int sent = 0, got = 0;

	while (vsock_can_receive(f->v)) {
		vf_send(f, VIRTIO_VSOCK_OP_RW, sent++, 7, 0, NULL, 0);
		assert_true(sent < 100000);
	}
	while (vf_fetch(f))
		assert_int_equal(f->guest_port, got++);
	assert_int_equal(got, sent);
	assert_true(vsock_can_receive(f->v));
}

/* Few ports, any packet: nothing but its own streams suffers. */
static void test_hostile_random_packets(void **state)
{
	struct vf *f = *state;
	int listener = vf_listen(f, 1, SOCK_STREAM);
	int messages = vf_listen(f, 2, SOCK_SEQPACKET);
	int held[64] = { 0 };
	unsigned int count = 0;

	assert_int_equal(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(fcntl(messages, F_SETFL, O_NONBLOCK), 0);
	srandom(1);
	for (unsigned int i = 0; i < 100000; i++) {
		long r = random();
		uint32_t len = r & 7 ? 0 : (uint32_t)random() % CHUNK;
		int fd;

		f->my_type = r >> 3 & 63 ? (uint16_t)(1 + (r >> 9 & 1)) : 7;
		f->my_buf_alloc = (uint32_t)random() >> (r >> 10 & 31);
		f->my_fwd_cnt = (uint32_t)random() >> (r >> 15 & 31);
		vf_send(f, (unsigned int)(r >> 20) % 9, (uint32_t)random() % 6,
			(uint32_t)random() % 4, (uint32_t)random() & 3, bytes,
			len);
		if (r >> 24 & 1)
			vf_fetch(f);
		fd = accept(r >> 25 & 1 ? listener : messages, NULL, NULL);
		if (fd >= 0) {
			if (held[count % 64])
				close(held[count % 64]);
			(void)!send(fd, bytes, 3000, MSG_DONTWAIT | MSG_NOSIGNAL);
			held[count++ % 64] = fd;
		}
		if (i % 1000 == 0)
			vf_settle(f);
		while (!vsock_can_receive(f->v))
			vf_fetch(f);
	}
	assert_true(count > 100);
	for (unsigned int i = 0; i < 64; i++)
		if (held[i])
			close(held[i]);
	/* An honest stream still works. */
	f->my_type = VIRTIO_VSOCK_TYPE_STREAM;
	f->my_buf_alloc = 65536;
	f->my_fwd_cnt = 0;
	vf_settle(f);
	while (vf_fetch(f))
		;
	close(vf_stream(f, 1234567));
	close(listener);
	close(messages);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, vf_setup, vf_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_credit_stalled_reader_blocks_only_itself),
		CASE(test_credit_overdrawn_by_guest_is_reset),
		CASE(test_credit_drained_stream_survives_its_guest),
		CASE(test_credit_of_the_guest_is_kept_to),
		CASE(test_credit_request_is_answered),
		CASE(test_credit_is_told_when_most_of_it_is_used),
		CASE(test_credit_window_fits_the_socket),
		CASE(test_credit_counts_what_a_gone_host_did_not_take),
		CASE(test_seqpacket_keeps_messages_apart),
		CASE(test_seqpacket_messages_are_bounded),
		CASE(test_seqpacket_slow_reader_gets_all_messages),
		CASE(test_seqpacket_stream_socket_is_refused),
		CASE(test_hostile_packets_of_no_stream),
		CASE(test_hostile_packets_of_a_stream_reset_it),
		CASE(test_hostile_answer_before_the_question_is_reset),
		CASE(test_hostile_flood_stops_at_the_bound),
		CASE(test_hostile_random_packets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
