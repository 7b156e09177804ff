/* SPDX-License-Identifier: MIT */
/* LINK: vsock/vsock vsock/connection vsock/fill vsock/socket vsock/host */
/* LINK: vsock/service vsock/buffer char/listener loop error */
/* WITH: vsock_fixture */
/* Streams: how they begin and end, on both sides; who is refused. */
#include "vsock_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

/* A stream from the guest's port 1000 to the host's 7; its socket. */
static int guest_stream(struct vf *f)
{
	int listener = vf_listen(f, 7, SOCK_STREAM), fd;

	vf_send(f, VIRTIO_VSOCK_OP_REQUEST, 1000, 7, 0, NULL, 0);
	vf_expect(f, VIRTIO_VSOCK_OP_RESPONSE);
	fd = vf_accept(listener);
	close(listener);
	return fd;
}

static void test_vsock_host_connects_bytes_go_both_ways(void **state)
{
	struct vf *f = *state;
	int fd = vf_client(f, "CONNECT 4294967294\nearly");

	assert_int_equal(f->told, 1);
	vf_expect(f, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(f->guest_port, 4294967294u);
	assert_true(f->host_port >= 1u << 30);
	assert_true(f->buf_alloc >= 65536);
	vf_expect_nothing(f);
	vf_expect_host_quiet(fd);
	vf_send(f, VIRTIO_VSOCK_OP_RESPONSE, 4294967294u, f->host_port, 0,
		NULL, 0);
	/* What came behind the line is not lost. */
	vf_expect(f, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(f->len, 5);
	assert_memory_equal(f->data, "early", 5);
	vf_send(f, VIRTIO_VSOCK_OP_RW, 4294967294u, f->host_port, 0, "answer",
		6);
	{
		char expected[64];

		snprintf(expected, sizeof(expected), "OK %u\nanswer",
			 f->host_port);
		vf_expect_host(fd, expected);
	}
	assert_int_equal(send(fd, "more", 4, 0), 4);
	vf_settle(f);
	vf_expect(f, VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(f->data, "more", 4);
	vf_expect_nothing(f);
	close(fd);
}

static void test_vsock_closed_guest_port_refuses_at_once(void **state)
{
	struct vf *f = *state;
	int fd = vf_client(f, "CONNECT 5\n");

	vf_expect(f, VIRTIO_VSOCK_OP_REQUEST);
	vf_send(f, VIRTIO_VSOCK_OP_RST, 5, f->host_port, 0, NULL, 0);
	vf_expect_host(fd, "");
	vf_expect_nothing(f);
	close(fd);
}

static void test_vsock_bad_lines_are_hung_up_on(void **state)
{
	static const char *const lines[] = {
		"CONNECT\n", "CONNECT \n", "CONNECT x\n", "CONNECT 1x\n",
		"CONNECT 4294967296\n", "CONNECT 99999999999999999999\n",
		"CONNECT -1\n", "connect 1\n", "\n", "CONNECT  1\n",
		"CONNECT 1 \n", "CONNECT 000000000000000000000000000000000000001",
	};
	struct vf *f = *state;
	int fd;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		fd = vf_client(f, lines[i]);
		vf_expect_host(fd, "");
		vf_expect_nothing(f);
		close(fd);
	}
	/* In pieces it is fine. */
	fd = vf_client(f, "CONN");
	vf_expect_host_quiet(fd);
	assert_int_equal(send(fd, "ECT 9\n", 6, 0), 6);
	vf_settle(f);
	vf_expect(f, VIRTIO_VSOCK_OP_REQUEST);
	close(fd);
}

/* As many as have connected until now have been looked at. */
static void catch_up(struct vf *f)
{
	int fd = vf_client(f, "x\n"), tries = 1000;
	char byte;

	while (recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && tries--)
		vf_settle(f);
	close(fd);
	vf_settle(f);
}

/* Nobody is left waiting, and nothing of them stays. */
static void test_vsock_lines_that_never_end_are_hung_up_on(void **state)
{
	struct vf *f = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = vf_client(f, "CONNECT 5");

	shutdown(fd, SHUT_WR);
	catch_up(f);
	vf_expect_host(fd, "");
	close(fd);
	strcpy(addr.sun_path, f->path);
	for (unsigned int i = 0; i < VSOCK_MAX_CONNECTIONS; i++) {
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		assert_int_equal(connect(fd, (struct sockaddr *)&addr,
					 sizeof(addr)), 0);
		assert_int_equal(send(fd, "CONNECT 5", 9, 0), 9);
		close(fd);
		if (i % 256 == 255)
			catch_up(f);
	}
	close(vf_stream(f, 5));
}

static void test_vsock_without_driver_all_is_refused(void **state)
{
	struct vf *f = *state;
	int fd, stream = vf_stream(f, 1);

	vsock_reset(f->v);
	vf_expect_host(stream, "");
	fd = vf_client(f, "CONNECT 1\n");
	vf_expect_host(fd, "");
	vf_send(f, VIRTIO_VSOCK_OP_REQUEST, 1, 2, 0, NULL, 0);
	vf_expect_nothing(f);
	close(fd);
	close(stream);
	vsock_start(f->v, false);
	close(vf_stream(f, 1));
}

static void test_vsock_guest_connects_to_socket_of_port(void **state)
{
	struct vf *f = *state;
	int fd = guest_stream(f);

	assert_int_equal(f->guest_port, 1000);
	assert_int_equal(f->host_port, 7);
	vf_send(f, VIRTIO_VSOCK_OP_RW, 1000, 7, 0, "ping", 4);
	vf_expect_host(fd, "ping");
	assert_int_equal(send(fd, "pong", 4, 0), 4);
	vf_settle(f);
	vf_expect(f, VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(f->data, "pong", 4);
	close(fd);
}

static void test_vsock_no_socket_of_port_is_reset_at_once(void **state)
{
	struct vf *f = *state;

	vf_send(f, VIRTIO_VSOCK_OP_REQUEST, 1000, 8, 0, NULL, 0);
	vf_expect(f, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(f->guest_port, 1000);
	assert_int_equal(f->host_port, 8);
	vf_expect_nothing(f);
}

static void test_vsock_full_backlog_is_waited_for(void **state)
{
	struct vf *f = *state;
	int listener = vf_listen(f, 7, SOCK_STREAM);

	listen(listener, 0);
	vf_send(f, VIRTIO_VSOCK_OP_REQUEST, 1, 7, 0, NULL, 0);
	vf_send(f, VIRTIO_VSOCK_OP_REQUEST, 2, 7, 0, NULL, 0);
	vf_expect(f, VIRTIO_VSOCK_OP_RESPONSE);
	assert_int_equal(f->guest_port, 1);
	vf_settle(f);
	vf_expect_nothing(f);
	close(vf_accept(listener));
	vf_settle(f);
	while (vf_fetch(f) && f->guest_port != 2)
		;
	assert_int_equal(f->op, VIRTIO_VSOCK_OP_RESPONSE);
	close(vf_accept(listener));
	/* One that the guest takes back is not asked for any more. */
	vf_send(f, VIRTIO_VSOCK_OP_REQUEST, 3, 7, 0, NULL, 0);
	vf_send(f, VIRTIO_VSOCK_OP_REQUEST, 4, 7, 0, NULL, 0);
	vf_send(f, VIRTIO_VSOCK_OP_RST, 4, 7, 0, NULL, 0);
	close(vf_accept(listener));
	vf_settle(f);
	assert_int_equal(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(accept(listener, NULL, NULL), -1);
	close(listener);
}

static void test_vsock_half_close_by_the_guest(void **state)
{
	struct vf *f = *state;
	int fd = guest_stream(f);

	vf_send(f, VIRTIO_VSOCK_OP_RW, 1000, 7, 0, "last", 4);
	vf_send(f, VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 7,
		VIRTIO_VSOCK_SHUTDOWN_SEND, NULL, 0);
	vf_expect_host(fd, "last");
	vf_expect_host(fd, "");
	vf_expect_nothing(f);
	assert_int_equal(send(fd, "still", 5, 0), 5);
	vf_settle(f);
	vf_expect(f, VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(f->data, "still", 5);
	/* 5.10.6.5: data after that is an error. */
	vf_send(f, VIRTIO_VSOCK_OP_RW, 1000, 7, 0, "x", 1);
	vf_expect(f, VIRTIO_VSOCK_OP_RST);
	close(fd);
}

static void test_vsock_half_close_by_the_host(void **state)
{
	struct vf *f = *state;
	int fd = vf_stream(f, 9);
	uint32_t port = f->host_port;

	assert_int_equal(send(fd, "last", 4, 0), 4);
	shutdown(fd, SHUT_WR);
	vf_settle(f);
	vf_expect(f, VIRTIO_VSOCK_OP_RW);
	vf_expect(f, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(f->flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	vf_send(f, VIRTIO_VSOCK_OP_RW, 9, port, 0, "still", 5);
	vf_expect_host(fd, "still");
	vf_expect_nothing(f);
	close(fd);
	vf_settle(f);
	vf_expect(f, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(f->flags, BOTH);
	vf_send(f, VIRTIO_VSOCK_OP_RST, 9, port, 0, NULL, 0);
	/* It is gone: the same again is unknown. */
	vf_send(f, VIRTIO_VSOCK_OP_RW, 9, port, 0, "x", 1);
	vf_expect(f, VIRTIO_VSOCK_OP_RST);
}

static void test_vsock_half_close_right_behind_the_line(void **state)
{
	struct vf *f = *state;
	int fd = vf_client(f, "CONNECT 9");

	assert_int_equal(send(fd, "\nall", 4, 0), 4);
	shutdown(fd, SHUT_WR);
	vf_settle(f);
	vf_expect(f, VIRTIO_VSOCK_OP_REQUEST);
	vf_send(f, VIRTIO_VSOCK_OP_RESPONSE, 9, f->host_port, 0, NULL, 0);
	vf_expect(f, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(f->len, 3);
	vf_expect(f, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(f->flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	close(fd);
}

static void test_vsock_host_closes_its_data_arrives_first(void **state)
{
	struct vf *f = *state;
	int fd = vf_stream(f, 9);
	uint32_t port = f->host_port;

	f->my_buf_alloc = 10;
	vf_send(f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 9, port, 0, NULL, 0);
	assert_int_equal(send(fd, "twelve bytes", 12, 0), 12);
	close(fd);
	vf_settle(f);
	vf_expect(f, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(f->len, 10);
	vf_settle(f);
	vf_expect_nothing(f);
	f->my_fwd_cnt = 10;
	vf_send(f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 9, port, 0, NULL, 0);
	vf_expect(f, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(f->len, 2);
	vf_expect(f, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(f->flags, BOTH);
	/* The guest has read all and takes leave its own way. */
	vf_send(f, VIRTIO_VSOCK_OP_SHUTDOWN, 9, port, BOTH, NULL, 0);
	vf_expect(f, VIRTIO_VSOCK_OP_RST);
	vf_expect_nothing(f);
}

static void test_vsock_guest_closes_host_sees_end_of_file(void **state)
{
	struct vf *f = *state;
	int fd = guest_stream(f);

	vf_send(f, VIRTIO_VSOCK_OP_RW, 1000, 7, 0, "bye", 3);
	vf_send(f, VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 7, BOTH, NULL, 0);
	vf_expect(f, VIRTIO_VSOCK_OP_RST);
	vf_expect_host(fd, "bye");
	vf_expect_host(fd, "");
	vf_expect_nothing(f);
	close(fd);
}

static void test_vsock_guest_stops_reading(void **state)
{
	struct vf *f = *state;
	int fd = guest_stream(f);

	vf_send(f, VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 7,
		VIRTIO_VSOCK_SHUTDOWN_RCV, NULL, 0);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	vf_send(f, VIRTIO_VSOCK_OP_RW, 1000, 7, 0, "ok", 2);
	vf_expect_host(fd, "ok");
	close(fd);
	vf_settle(f);
	vf_expect(f, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(f->flags, BOTH);
}

static void test_vsock_host_gone_while_guest_is_asked(void **state)
{
	struct vf *f = *state;
	int fd = vf_client(f, "CONNECT 5\n");

	/* Not even asked yet: it never hears of it. */
	close(fd);
	vf_settle(f);
	vf_expect_nothing(f);
	fd = vf_client(f, "CONNECT 5\n");
	vf_expect(f, VIRTIO_VSOCK_OP_REQUEST);
	close(fd);
	vf_settle(f);
	vf_expect(f, VIRTIO_VSOCK_OP_RST);
	vf_send(f, VIRTIO_VSOCK_OP_RESPONSE, 5, f->host_port, 0, NULL, 0);
	vf_expect(f, VIRTIO_VSOCK_OP_RST);
}

static void test_vsock_ports_are_reused_after_an_end(void **state)
{
	struct vf *f = *state;
	int fd = guest_stream(f), listener;

	close(fd);
	vf_settle(f);
	vf_expect(f, VIRTIO_VSOCK_OP_SHUTDOWN);
	/* The guest, too, is through with it, and connects anew. */
	{
		char path[96];

		snprintf(path, sizeof(path), "%s_7", f->path);
		unlink(path);
	}
	listener = vf_listen(f, 7, SOCK_STREAM);
	vf_send(f, VIRTIO_VSOCK_OP_REQUEST, 1000, 7, 0, NULL, 0);
	vf_expect(f, VIRTIO_VSOCK_OP_RESPONSE);
	close(listener);
}

/* A restored guest may still know those of the process before. */
static void test_vsock_host_ports_do_not_come_again(void **state)
{
	struct vf *f = *state;
	void *other;
	uint32_t port;
	int fds[2];

	fds[0] = vf_stream(f, 9);
	port = f->host_port;
	fds[1] = vf_stream(f, 9);
	assert_int_equal(f->host_port, port + 1);
	assert_int_equal(vf_setup(&other), 0);
	f = other;
	close(fds[0]);
	close(fds[1]);
	fds[0] = vf_stream(f, 9);
	/* In 10,000 of 2^30 cases it is near. */
	assert_false(f->host_port - port < 5000 || port - f->host_port < 5000);
	close(fds[0]);
	assert_int_equal(vf_teardown(&other), 0);
}

#define MANY 1100

static void test_vsock_a_thousand_streams(void **state)
{
	struct vf *f = *state;
	int listener = vf_listen(f, 7, SOCK_STREAM);
	static int fds[MANY];

	for (uint32_t i = 0; i < MANY; i++) {
		vf_send(f, VIRTIO_VSOCK_OP_REQUEST, i, 7, 0, NULL, 0);
		vf_expect(f, VIRTIO_VSOCK_OP_RESPONSE);
		/* Even the last has a window to work with. */
		assert_true(f->buf_alloc >= 16384);
		fds[i] = vf_accept(listener);
	}
	for (uint32_t i = 0; i < MANY; i++) {
		vf_send(f, VIRTIO_VSOCK_OP_RW, i, 7, 0, &i, sizeof(i));
		assert_int_equal(send(fds[i], &i, sizeof(i), 0), sizeof(i));
	}
	vf_settle(f);
	for (uint32_t i = 0, got; i < MANY; i++) {
		assert_int_equal(read(fds[i], &got, sizeof(got)), sizeof(got));
		assert_int_equal(got, i);
		vf_expect(f, VIRTIO_VSOCK_OP_RW);
		memcpy(&got, f->data, sizeof(got));
		assert_int_equal(got, f->guest_port);
		close(fds[i]);
	}
	close(listener);
}

static void test_vsock_connections_are_bounded(void **state)
{
	struct vf *f = *state;
	int listener = vf_listen(f, 7, SOCK_STREAM);
	unsigned int made = 0, refused = 0;
	static int fds[VSOCK_MAX_CONNECTIONS + 100];

	for (uint32_t i = 0; i < VSOCK_MAX_CONNECTIONS + 100; i++) {
		vf_send(f, VIRTIO_VSOCK_OP_REQUEST, i, 7, 0, NULL, 0);
		assert_true(vf_fetch(f));
		if (f->op == VIRTIO_VSOCK_OP_RESPONSE)
			fds[made++] = vf_accept(listener);
		else
			refused++;
	}
	assert_true(made >= 1024 && made <= VSOCK_MAX_CONNECTIONS);
	assert_true(refused >= 100);
	/* Those that the host has closed make room for new ones. */
	for (unsigned int i = 0; i < made; i++)
		close(fds[i]);
	vf_settle(f);
	while (vf_fetch(f))
		;
	vf_send(f, VIRTIO_VSOCK_OP_REQUEST, 99999, 7, 0, NULL, 0);
	vf_expect(f, VIRTIO_VSOCK_OP_RESPONSE);
	close(listener);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, vf_setup, vf_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_vsock_host_connects_bytes_go_both_ways),
		CASE(test_vsock_closed_guest_port_refuses_at_once),
		CASE(test_vsock_bad_lines_are_hung_up_on),
		CASE(test_vsock_lines_that_never_end_are_hung_up_on),
		CASE(test_vsock_without_driver_all_is_refused),
		CASE(test_vsock_guest_connects_to_socket_of_port),
		CASE(test_vsock_no_socket_of_port_is_reset_at_once),
		CASE(test_vsock_full_backlog_is_waited_for),
		CASE(test_vsock_half_close_by_the_guest),
		CASE(test_vsock_half_close_by_the_host),
		CASE(test_vsock_half_close_right_behind_the_line),
		CASE(test_vsock_host_closes_its_data_arrives_first),
		CASE(test_vsock_guest_closes_host_sees_end_of_file),
		CASE(test_vsock_guest_stops_reading),
		CASE(test_vsock_host_gone_while_guest_is_asked),
		CASE(test_vsock_ports_are_reused_after_an_end),
		CASE(test_vsock_host_ports_do_not_come_again),
		CASE(test_vsock_a_thousand_streams),
		CASE(test_vsock_connections_are_bounded),
	};

	struct rlimit limit;

	/* Both ends of all streams are this process's. */
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
