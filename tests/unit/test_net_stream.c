/* SPDX-License-Identifier: MIT */
/* LINK: net/net net/stream error */
#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/net.h"

struct fixture {
	struct net_backend *b;
	int peer;
	uint8_t buf[2 * NET_PACKET_MAX];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(net_stream_create(&f->b, pair[0], NULL), 0);
	f->peer = pair[1];
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	net_backend_destroy(f->b);
	if (f->peer >= 0)
		close(f->peer);
	free(f);
	return 0;
}

static void put(struct fixture *f, const void *data, size_t len)
{
	assert_int_equal(write(f->peer, data, len), (ssize_t)len);
}

static void put_frame(struct fixture *f, uint8_t fill, uint32_t len)
{
	uint32_t head = htobe32(len);

	put(f, &head, sizeof(head));
	memset(f->buf, fill, len);
	put(f, f->buf, len);
}

static ssize_t receive(struct fixture *f, size_t room)
{
	/* The header and the first bytes apart, as a guest may have it. */
	struct iovec iov[] = { { f->buf, 7 }, { f->buf + 7, 20 },
			       { f->buf + 27, room - 27 } };

	memset(f->buf, 0xee, sizeof(f->buf));
	return f->b->ops->receive(f->b, 0, iov, 3);
}

static void test_stream_receives_frames_behind_a_zero_header(void **state)
{
	static const uint8_t zero[NET_HDR_BYTES];
	struct fixture *f = *state;

	assert_int_equal(receive(f, 4096), -EAGAIN);
	put_frame(f, 0x11, 60);
	put_frame(f, 0x22, 1514);
	assert_int_equal(receive(f, 4096), 60 + NET_HDR_BYTES);
	assert_memory_equal(f->buf, zero, NET_HDR_BYTES);
	assert_int_equal(f->buf[NET_HDR_BYTES], 0x11);
	assert_int_equal(f->buf[NET_HDR_BYTES + 59], 0x11);
	assert_int_equal(f->buf[NET_HDR_BYTES + 60], 0xee);
	assert_int_equal(receive(f, 4096), 1514 + NET_HDR_BYTES);
	assert_int_equal(f->buf[NET_HDR_BYTES + 1513], 0x22);
	assert_int_equal(receive(f, 4096), -EAGAIN);
}

static void test_stream_waits_for_the_rest_of_a_frame(void **state)
{
	struct fixture *f = *state;
	uint32_t head = htobe32(100);
	uint8_t data[100];

	memset(data, 0x33, sizeof(data));
	put(f, &head, 2);
	assert_int_equal(receive(f, 4096), -EAGAIN);
	put(f, (uint8_t *)&head + 2, 2);
	assert_int_equal(receive(f, 4096), -EAGAIN);
	put(f, data, 99);
	assert_int_equal(receive(f, 4096), -EAGAIN);
	put(f, data, 1);
	assert_int_equal(receive(f, 4096), 100 + NET_HDR_BYTES);
}

static void test_stream_says_how_long_a_frame_was(void **state)
{
	struct fixture *f = *state;

	put_frame(f, 0x44, 1000);
	put_frame(f, 0x55, 60);
	assert_int_equal(receive(f, 100), 1000 + NET_HDR_BYTES);
	assert_int_equal(f->buf[100], 0xee);
	assert_int_equal(receive(f, 4096), 60 + NET_HDR_BYTES);
}

static void test_stream_with_a_bad_length_or_an_end_is_over(void **state)
{
	static const uint32_t bad[] = { 0, NET_FRAME_MAX + 1, UINT32_MAX };

	for (size_t i = 0; i < 3; i++) {
		struct fixture *f = *state;
		uint32_t head = htobe32(bad[i]);

		put(f, &head, sizeof(head));
		assert_int_equal(receive(f, 4096), -EPROTO);
		assert_int_equal(receive(f, 4096), -EPROTO);
		teardown(state);
		setup(state);
	}
	close(((struct fixture *)*state)->peer);
	((struct fixture *)*state)->peer = -1;
	assert_int_equal(receive(*state, 4096), -ECONNRESET);
}

static int send_frame(struct fixture *f, uint8_t fill, size_t len)
{
	struct iovec iov[] = { { f->buf, 5 }, { f->buf + 5, 30 },
			       { f->buf + 35, len + NET_HDR_BYTES - 35 } };

	memset(f->buf, fill, len + NET_HDR_BYTES);
	return f->b->ops->send(f->b, 0, iov, 3);
}

static void get(struct fixture *f, void *to, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = read(f->peer, (uint8_t *)to + done, len - done);

		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			n = f->b->ops->flush(f->b);
			assert_true(!n || n == -EAGAIN);
			continue;
		}
		assert_true(n > 0);
		done += (size_t)n;
	}
}

/* Every frame that was taken arrives whole, however the socket fills up. */
static void test_stream_full_socket_loses_nothing(void **state)
{
	static uint8_t frame[NET_FRAME_MAX];
	struct fixture *f = *state;
	unsigned int sent = 0;
	uint32_t head;
	int ret;

	for (;; sent++) {
		ret = send_frame(f, (uint8_t)sent, 1000 + 7919 * (sent % 8));
		if (ret)
			break;
	}
	/* The last was taken in part: it is to be flushed. */
	if (ret == 1)
		sent++;
	else
		assert_int_equal(ret, -EAGAIN);
	assert_int_equal(send_frame(f, 0, 60), -EAGAIN);
	assert_true(sent > 1);
	assert_int_equal(setsockopt(f->peer, SOL_SOCKET, SO_RCVTIMEO,
				    &(struct timeval){ .tv_usec = 1000 },
				    sizeof(struct timeval)), 0);
	for (unsigned int i = 0; i < sent; i++) {
		size_t len = 1000 + 7919 * (i % 8);

		get(f, &head, sizeof(head));
		assert_int_equal(be32toh(head), len);
		get(f, frame, len);
		assert_int_equal(frame[0], (uint8_t)i);
		assert_int_equal(frame[len - 1], (uint8_t)i);
	}
	assert_int_equal(f->b->ops->flush(f->b), 0);
	assert_int_equal(send_frame(f, 9, 60), 0);
}

static void test_stream_refuses_what_is_too_long(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(send_frame(f, 0, NET_FRAME_MAX + 1), -EMSGSIZE);
	assert_true(send_frame(f, 0, NET_FRAME_MAX) >= 0);
	close(f->peer);
	f->peer = -1;
	assert_int_equal(send_frame(f, 0, 60), -EPIPE);
}

/* One that does not accept holds nobody up. */
static void test_stream_full_backlog_is_an_error(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct net_backend *b[2] = { NULL };
	struct error e = { .text = "" };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/tmp/mote-stream-%d",
		 getpid());
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 0), 0);
	alarm(10);
	assert_int_equal(net_stream_connect(&b[0], addr.sun_path, &e), 0);
	assert_int_equal(net_stream_connect(&b[1], addr.sun_path, &e),
			 -EAGAIN);
	assert_non_null(strstr(e.text, addr.sun_path));
	alarm(0);
	unlink(addr.sun_path);
	net_backend_destroy(b[0]);
	close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stream_receives_frames_behind_a_zero_header),
		TEST(test_stream_waits_for_the_rest_of_a_frame),
		TEST(test_stream_says_how_long_a_frame_was),
		TEST(test_stream_with_a_bad_length_or_an_end_is_over),
		TEST(test_stream_full_socket_loses_nothing),
		TEST(test_stream_refuses_what_is_too_long),
		TEST(test_stream_full_backlog_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
