/* SPDX-License-Identifier: MIT */
/* WITH: qmp_fixture */
/* The monitor's clients: many, slow, gone, waiting; its socket and its end. */
#include "qmp_fixture.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define STATUS "{\"execute\":\"query-status\"}"
#define RUNNING "{\"return\":{\"status\":\"running\",\"running\":true}}"

static int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void end_vm(struct qmp *q)
{
	vm_end(&q->vm, VM_EXIT_POWEROFF, 0, "the guest powered off");
}

#define REPORT "{\"kind\":\"poweroff\",\"code\":0,\"reason\":" \
	       "\"the guest powered off\",\"started\":null,\"stopped\":null}"
#define SHUTDOWN "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":true," \
		 "\"reason\":\"guest-shutdown\"}}"

/* ---- wait ---- */

static void test_wait_many_waiters_get_the_report(void **state)
{
	struct qmp *q = *state;
	struct client c[3];

	for (int i = 0; i < 3; i++) {
		c[i] = client_ready(q);
		client_send(&c[i], "{\"execute\":\"wait\",\"id\":\"w\"}"
			    "{\"execute\":\"wait\",\"id\":\"w\","
			    "\"arguments\":{\"timeout-ms\":600000}}");
		/* Others are answered in the meantime. */
		client_exchange(&c[i], STATUS, RUNNING);
	}
	end_vm(q);
	for (int i = 0; i < 3; i++) {
		client_expect(&c[i], SHUTDOWN);
		client_expect(&c[i], "{\"id\":\"w\",\"return\":" REPORT "}");
		client_expect(&c[i], "{\"id\":\"w\",\"return\":" REPORT "}");
		client_exchange(&c[i], "{\"execute\":\"wait\"}",
				"{\"return\":" REPORT "}");
		client_close(&c[i]);
	}
}

static void test_wait_timeout_is_an_error_in_time(void **state)
{
	struct client c = client_ready(*state);
	uint64_t start = now_ms();

	client_send(&c, "{\"execute\":\"wait\",\"arguments\":"
		    "{\"timeout-ms\":100}}");
	client_expect_error(&c, "GenericError", "100 ms");
	assert_in_range(now_ms() - start, 99, 5000);
	client_send(&c, "{\"execute\":\"wait\",\"arguments\":"
		    "{\"timeout-ms\":0}}");
	client_expect_error(&c, "GenericError", "0 ms");
	client_exchange(&c, STATUS, RUNNING);
	client_close(&c);
}

/* 18446744073710 ms are, in nanoseconds, a little more than 2^64. */
static void test_wait_huge_timeout_waits(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	client_send(&c, "{\"execute\":\"wait\",\"arguments\":"
		    "{\"timeout-ms\":18446744073710}}");
	client_send(&c, "{\"execute\":\"wait\",\"arguments\":"
		    "{\"timeout-ms\":99999999999999999999999}}");
	qmp_settle(q);
	assert_true(client_is_quiet(&c));
	end_vm(q);
	client_expect(&c, SHUTDOWN);
	client_expect(&c, "{\"return\":" REPORT "}");
	client_expect(&c, "{\"return\":" REPORT "}");
	client_close(&c);
}

static void test_wait_too_often_is_refused(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	for (int i = 0; i < 64; i++)
		client_send(&c, "{\"execute\":\"wait\"}");
	qmp_settle(q);
	assert_true(client_is_quiet(&c));
	client_send(&c, "{\"execute\":\"wait\"}");
	client_expect_error(&c, "GenericError", "64");
	client_close(&c);
	qmp_settle(q);
	end_vm(q);
}

static void test_wait_vanished_waiter_leaves_the_others(void **state)
{
	struct qmp *q = *state;
	struct client gone = client_ready(q), stays = client_ready(q);
	int before = open_fds();

	client_send(&gone, "{\"execute\":\"wait\"}{\"execute\":\"wait\","
		    "\"arguments\":{\"timeout-ms\":800}}"
		    "{\"execute\":\"wait\","
		    "\"arguments\":{\"timeout-ms\":600000}}");
	client_send(&stays, "{\"execute\":\"wait\"}");
	qmp_settle(q);
	assert_int_equal(open_fds(), before + 2);	/* the timers' */
	client_close(&gone);
	qmp_run_ms(q, 900);
	assert_int_equal(open_fds(), before - 2);
	end_vm(q);
	client_expect(&stays, SHUTDOWN);
	client_expect(&stays, "{\"return\":" REPORT "}");
	client_close(&stays);
}

/* ---- clients ---- */

static void test_clients_that_leave_anywhere_leave_nothing(void **state)
{
	static const char *const last[] = {
		"", "{", "{\"execute\":\"wait\"", "{\"execute\":\"wait\"}",
		"{\"execute\":\"qmp_capabilities\"}{\"execute\":\"wait\"}",
		"{\"execute\":\"query-commands\"}", "x",
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);
	int before = open_fds();

	for (int i = 0; i < 140; i++) {
		struct client gone = i % 2 ? client_open(q) : client_ready(q);

		client_send(&gone, last[(size_t)i % 7]);
		if (i % 3)
			qmp_run_ms(q, 1);
		client_close(&gone);
	}
	qmp_settle(q);
	client_exchange(&c, STATUS, RUNNING);
	assert_int_equal(open_fds(), before);
	client_close(&c);
}

/* A client that has said all gets all it asked for, then the end. */
static void test_client_half_closed_gets_its_replies(void **state)
{
	struct qmp *q = *state;
	struct client c = client_open(q);

	client_send(&c, "{\"execute\":\"qmp_capabilities\"}" STATUS);
	shutdown(c.fd, SHUT_WR);
	free(client_line(&c));
	client_expect(&c, "{\"return\":{}}");
	client_expect(&c, RUNNING);
	client_expect_eof(&c);
	client_close(&c);
}

static void test_client_half_closed_gets_its_wait(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	client_send(&c, "{\"execute\":\"wait\"}");
	shutdown(c.fd, SHUT_WR);
	qmp_settle(q);
	end_vm(q);
	client_expect(&c, SHUTDOWN);
	client_expect(&c, "{\"return\":" REPORT "}");
	client_close(&c);
}

static void set_receive_buffer(struct client *c)
{
	int bytes = 4096;

	setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

#define BATCH 64

/* Replies of far more than may be queued; none is read before all is sent. */
static void test_client_pipelining_loses_no_reply(void **state)
{
	static const char command[] = "{\"execute\":\"query-commands\"}";
	char batch[BATCH * sizeof(command)] = "";
	struct qmp *q = *state;
	struct client c = client_ready(q);
	int sent = 0;

	for (int i = 0; i < BATCH; i++)
		strcat(batch, command);
	set_receive_buffer(&c);
	for (int blocked = 0; blocked < 3;) {
		ssize_t n = send(c.fd, batch, strlen(batch),
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		/* One buffer of the kernel's: all or nothing. */
		if (n > 0) {
			assert_int_equal(n, strlen(batch));
			sent += BATCH;
			blocked = 0;
		} else {
			assert_int_equal(errno, EAGAIN);
			blocked++;
			qmp_settle(q);
		}
	}
	assert_true(sent > 3000);
	for (int i = 0; i < sent; i++)
		json_object_put(client_result(&c));
	assert_true(client_is_quiet(&c));
	assert_int_equal(qmp_log_lines, 0);
	client_close(&c);
}

static void test_client_deaf_to_events_is_dropped(void **state)
{
	struct qmp *q = *state;
	struct client deaf = client_ready(q), c = client_ready(q);
	int before;

	qmp_settle(q);
	before = open_fds();
	for (int i = 0; i < 40000; i++) {
		fake_vm_event(&q->vm, VM_EVENT_POWERDOWN, false, NULL);
		client_expect(&c, "{\"event\":\"POWERDOWN\"}");
	}
	assert_true(qmp_log_lines > 0);
	client_exchange(&c, STATUS, RUNNING);
	assert_int_equal(open_fds(), before - 1);
	client_close(&c);
	client_close(&deaf);
}

#define LIMIT 128
#define MORE 6

static void test_clients_beyond_the_limit_wait_for_a_place(void **state)
{
	struct qmp *q = *state;
	struct client c[LIMIT + MORE];
	uint64_t start;

	for (int i = 0; i < LIMIT; i++)
		c[i] = client_ready(q);
	for (int i = LIMIT; i < LIMIT + MORE; i++)
		c[i] = client_open(q);
	qmp_settle(q);
	assert_true(client_is_quiet(&c[LIMIT]));
	client_exchange(&c[0], STATUS, RUNNING);
	/* At once, not when the monitor looks again: once a second. */
	start = now_ms();
	for (int i = 0; i < MORE; i++) {
		client_close(&c[i]);
		free(client_line(&c[LIMIT + i]));
	}
	assert_true(now_ms() - start < 1000 * (MORE - 2));
	for (int i = MORE; i < LIMIT + MORE; i++)
		client_close(&c[i]);
}

static void test_client_descriptors_are_closed(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);
	union {
		struct cmsghdr align;
		char data[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char text[] = STATUS;
	struct iovec iov = { text, sizeof(text) - 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
	int before, pair[2];

	assert_int_equal(pipe(pair), 0);
	before = open_fds();
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &pair[1], sizeof(int));
	assert_int_equal(sendmsg(c.fd, &msg, 0), sizeof(text) - 1);
	client_expect(&c, RUNNING);
	assert_int_equal(open_fds(), before);
	/* The last writer is gone, in the socket's queue too. */
	close(pair[1]);
	assert_int_equal(read(pair[0], text, 1), 0);
	close(pair[0]);
	client_close(&c);
}

/* ---- the socket ---- */

static void test_monitor_socket_is_the_owners_and_goes_with_it(void **state)
{
	struct qmp *q = *state;
	struct stat st;

	assert_int_equal(stat(q->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 077, 0);
	monitor_destroy(q->monitor);
	q->monitor = NULL;
	assert_int_equal(stat(q->path, &st), -1);
	assert_null(q->vm.event_fn);
	monitor_destroy(NULL);
}

static void test_monitor_live_socket_is_refused(void **state)
{
	struct qmp *q = *state;
	struct monitor *second = NULL;
	struct vm vm = { .state = VM_RUNNING };
	struct client c;
	struct error e;
	int before = open_fds();

	assert_int_equal(monitor_create(&second, &q->config, &vm, q->loop, &e),
			 -EADDRINUSE);
	assert_non_null(strstr(e.text, q->path));
	assert_null(vm.event_fn);
	assert_int_equal(open_fds(), before);
	c = client_ready(q);
	client_exchange(&c, STATUS, RUNNING);
	client_close(&c);
}

/* A listening Unix socket at the path, as a caller of mote makes it. */
static int make_listener(struct qmp *q)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(addr.sun_path, q->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static void test_monitor_stale_socket_is_replaced(void **state)
{
	struct qmp *q = *state;
	struct client c;

	monitor_destroy(q->monitor);
	close(make_listener(q));
	qmp_start_monitor(q);
	c = client_ready(q);
	client_close(&c);
}

static void test_monitor_inherited_socket_serves_and_stays(void **state)
{
	struct qmp *q = *state;
	struct client c;
	struct stat st;

	monitor_destroy(q->monitor);
	q->config.path = NULL;
	q->config.fd = make_listener(q);
	qmp_start_monitor(q);
	assert_true(fcntl(q->config.fd, F_GETFD) & FD_CLOEXEC);
	c = client_ready(q);
	client_exchange(&c, STATUS, RUNNING);
	monitor_destroy(q->monitor);
	q->monitor = NULL;
	client_expect_eof(&c);
	assert_int_equal(stat(q->path, &st), 0);
	client_close(&c);
}

static void check_refused(struct qmp *q, int fd)
{
	struct config_monitor config = { .fd = fd };
	struct monitor *m = NULL;
	struct vm vm = { .state = VM_RUNNING };
	struct error e;
	int before = open_fds();

	assert_true(monitor_create(&m, &config, &vm, q->loop, &e) < 0);
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	assert_non_null(strstr(e.text, "fd="));
	assert_int_equal(open_fds(), before);
	if (fd >= 0)
		close(fd);
}

static void test_monitor_inherited_other_things_are_refused(void **state)
{
	struct sockaddr_in tcp_addr = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct qmp *q = *state;
	int tcp = socket(AF_INET, SOCK_STREAM, 0);

	check_refused(q, 999);
	check_refused(q, open("/dev/null", O_RDWR));
	check_refused(q, socket(AF_UNIX, SOCK_STREAM, 0));
	assert_int_equal(bind(tcp, (struct sockaddr *)&tcp_addr,
			      sizeof(tcp_addr)), 0);
	assert_int_equal(listen(tcp, 1), 0);
	check_refused(q, tcp);
}

/* ---- the end ---- */

static void test_monitor_destroy_flushes_what_is_queued(void **state)
{
	struct qmp *q = *state;
	struct client a = client_ready(q), b = client_ready(q);

	client_send(&a, "{\"execute\":\"wait\",\"id\":1}");
	qmp_settle(q);
	/* Read by nobody before the end; it is no reason for ECONNRESET. */
	client_send(&b, "{\"execute\":\"wait\",\"id\":2}");
	end_vm(q);
	monitor_destroy(q->monitor);
	q->monitor = NULL;
	client_expect(&a, SHUTDOWN);
	client_expect(&a, "{\"id\":1,\"return\":" REPORT "}");
	client_expect_eof(&a);
	client_expect(&b, SHUTDOWN);
	client_expect(&b, "{\"id\":2,\"return\":" REPORT "}");
	client_expect_eof(&b);
	client_close(&a);
	client_close(&b);
}

static void test_monitor_destroy_before_the_end_runs_nothing(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	client_send(&c, "{\"execute\":\"stop\"}");
	monitor_destroy(q->monitor);
	q->monitor = NULL;
	assert_int_equal(q->vm.state, VM_RUNNING);
	client_expect_eof(&c);
	client_close(&c);
}

static void test_monitor_destroy_does_not_wait_for_the_deaf(void **state)
{
	struct qmp *q = *state;
	struct client deaf = client_ready(q);
	uint64_t start;

	for (int i = 0; i < 8000; i++)
		fake_vm_event(&q->vm, VM_EVENT_POWERDOWN, false, NULL);
	qmp_settle(q);
	start = now_ms();
	monitor_destroy(q->monitor);
	q->monitor = NULL;
	assert_in_range(now_ms() - start, 900, 3000);
	client_close(&deaf);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, qmp_setup, qmp_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_wait_many_waiters_get_the_report),
		TEST(test_wait_timeout_is_an_error_in_time),
		TEST(test_wait_huge_timeout_waits),
		TEST(test_wait_too_often_is_refused),
		TEST(test_wait_vanished_waiter_leaves_the_others),
		TEST(test_clients_that_leave_anywhere_leave_nothing),
		TEST(test_client_half_closed_gets_its_replies),
		TEST(test_client_half_closed_gets_its_wait),
		TEST(test_client_pipelining_loses_no_reply),
		TEST(test_client_deaf_to_events_is_dropped),
		TEST(test_clients_beyond_the_limit_wait_for_a_place),
		TEST(test_client_descriptors_are_closed),
		TEST(test_monitor_socket_is_the_owners_and_goes_with_it),
		TEST(test_monitor_live_socket_is_refused),
		TEST(test_monitor_stale_socket_is_replaced),
		TEST(test_monitor_inherited_socket_serves_and_stays),
		TEST(test_monitor_inherited_other_things_are_refused),
		TEST(test_monitor_destroy_flushes_what_is_queued),
		TEST(test_monitor_destroy_before_the_end_runs_nothing),
		TEST(test_monitor_destroy_does_not_wait_for_the_deaf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
