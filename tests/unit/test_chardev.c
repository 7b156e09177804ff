/* SPDX-License-Identifier: MIT */
/* LINK: char/chardev char/traffic char/ring char/null char/file char/unix char/connect char/listener char/pty char/stdio char/terminal char/escape loop error */
/* Character back ends but stdio. The test's thread is vCPU and loop in turn. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "char/chardev.h"
#include "char/listener.h"
#include "char/ring.h"

#define MS 1000000ull

struct fixture {
	struct loop *loop;
	struct chardev *c;
	char dir[32], path[64];
	int inputs, outputs, connects, disconnects;
};

static void on_input(void *opaque)
{
	((struct fixture *)opaque)->inputs++;
}

static void on_output(void *opaque)
{
	((struct fixture *)opaque)->outputs++;
}

static void on_connected(void *opaque, bool on)
{
	struct fixture *f = opaque;

	if (on)
		f->connects++;
	else
		f->disconnects++;
}

static const struct chardev_client client = {
	.input_ready = on_input,
	.output_ready = on_output,
	.connected = on_connected,
};

static void on_timeout(void *opaque)
{
	loop_stop(opaque);
}

/* Lets the loop run for so long. */
static void spin(struct fixture *f, uint64_t ms)
{
	struct loop_timer t;

	assert_int_equal(loop_timer_init(f->loop, &t, on_timeout, f->loop), 0);
	loop_timer_set(&t, ms * MS, 0);
	loop_run(f->loop);
	loop_timer_deinit(&t);
}

static void create(struct fixture *f, enum config_char_kind kind)
{
	struct config_char cfg = { .kind = kind, .path = f->path };
	struct error e;

	assert_int_equal(chardev_create(&f->c, &cfg, f->loop, NULL, NULL, &e),
			 0);
	chardev_set_client(f->c, &client, f);
}

static void destroy(struct fixture *f)
{
	chardev_destroy(f->c);
	f->c = NULL;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/mote-unit-XXXXXX");
	if (loop_create(&f->loop) || !mkdtemp(f->dir))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/x", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	chardev_destroy(f->c);
	loop_destroy(f->loop);
	unlink(f->path);
	rmdir(f->dir);
	free(f);
	return 0;
}

static size_t put(struct fixture *f, const void *data, size_t len)
{
	return chardev_write(f->c, data, len);
}

/* Exactly these bytes come from fd while the loop runs. */
static void expect_from(struct fixture *f, int fd, const char *text)
{
	size_t want = strlen(text), got = 0;
	char buf[256] = "";

	for (int i = 0; i < 400 && got < want; i++) {
		ssize_t n;

		spin(f, 3);
		n = read(fd, buf + got, sizeof(buf) - 1 - got);
		got += n > 0 ? (size_t)n : 0;
	}
	assert_string_equal(buf, text);
}

static void expect_input(struct fixture *f, const char *text)
{
	size_t want = strlen(text), got = 0;
	char buf[256] = "";

	for (int i = 0; i < 400 && got < want; i++) {
		spin(f, 3);
		got += chardev_read(f->c, (uint8_t *)buf + got,
				    sizeof(buf) - 1 - got);
	}
	assert_string_equal(buf, text);
	assert_true(f->inputs > 0);
}

static int connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(a.sun_path, path);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		close(fd);
		return -1;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

/* ---- ring ---------------------------------------------------------------- */

static void test_ring_wrapping_keeps_order(void **state)
{
	uint8_t in = 0, out = 0, buf[7];
	struct ring r;

	(void)state;
	assert_int_equal(ring_init(&r, 10), 0);
	for (int i = 0; i < 1000; i++) {
		size_t n = (size_t)(i % 8);

		for (size_t k = 0; k < n; k++)
			buf[k] = (uint8_t)(in + k);
		in = (uint8_t)(in + ring_put(&r, buf, n));
		assert_true(r.used <= 10);
		n = ring_get(&r, buf, (size_t)(i % 5));
		for (size_t k = 0; k < n; k++)
			assert_int_equal(buf[k], out++);
	}
	ring_deinit(&r);
}

static void test_ring_skip_past_the_end_empties(void **state)
{
	struct ring r;

	(void)state;
	assert_int_equal(ring_init(&r, 4), 0);
	assert_int_equal(ring_put(&r, (const uint8_t *)"abcdef", 6), 4);
	ring_skip(&r, SIZE_MAX);
	assert_int_equal(r.used, 0);
	assert_int_equal(ring_room(&r), 4);
	ring_deinit(&r);
}

/* ---- null, file ---------------------------------------------------------- */

static void test_null_takes_everything_and_counts_nothing(void **state)
{
	struct fixture *f = *state;
	static uint8_t big[3 * CHARDEV_OUTPUT_BYTES];

	create(f, CHAR_NULL);
	assert_int_equal(put(f, big, sizeof(big)), sizeof(big));
	assert_int_equal(chardev_dropped_bytes(f->c), 0);
	assert_string_equal(chardev_label(f->c), "null");
}

static void test_file_destroy_writes_what_is_in_the_ring(void **state)
{
	struct fixture *f = *state;
	char buf[32] = "";
	int fd = open(f->path, O_WRONLY | O_CREAT, 0600);

	assert_int_equal(write(fd, "old content", 11), 11);
	close(fd);
	create(f, CHAR_FILE);
	put(f, "one ", 4);
	spin(f, 5);
	put(f, "two", 3);
	destroy(f);
	fd = open(f->path, O_RDONLY);
	assert_int_equal(read(fd, buf, sizeof(buf)), 7);
	close(fd);
	assert_string_equal(buf, "one two");
}

static void test_file_full_file_system_drops_and_counts(void **state)
{
	struct fixture *f = *state;

	strcpy(f->path, "/dev/full");
	create(f, CHAR_FILE);
	put(f, "lost", 4);
	spin(f, 5);
	assert_int_equal(chardev_dropped_bytes(f->c), 4);
	destroy(f);
	f->path[0] = 0;
}

static void test_file_missing_directory_names_the_path(void **state)
{
	struct fixture *f = *state;
	struct config_char cfg = { .kind = CHAR_FILE,
				   .path = (char *)"/nowhere/at/all" };
	struct error e;

	assert_int_equal(chardev_create(&f->c, &cfg, f->loop, NULL, NULL, &e),
			 -ENOENT);
	assert_non_null(strstr(e.text, "/nowhere/at/all"));
	f->c = NULL;
}

/* ---- unix ---------------------------------------------------------------- */

static void test_unix_both_directions_pass(void **state)
{
	struct fixture *f = *state;
	int fd;

	create(f, CHAR_UNIX);
	fd = connect_to(f->path);
	assert_true(fd >= 0);
	spin(f, 5);
	assert_int_equal(f->connects, 1);
	put(f, "to host", 7);
	expect_from(f, fd, "to host");
	assert_int_equal(write(fd, "to \001xguest", 10), 10);
	expect_input(f, "to \001xguest");
	close(fd);
}

static void test_unix_without_client_keeps_the_newest(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[CHARDEV_OUTPUT_BYTES + 1000], got[sizeof(data)];
	size_t n = 0;
	int fd;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	create(f, CHAR_UNIX);
	for (size_t i = 0; i < sizeof(data); i += 8)
		assert_int_equal(put(f, data + i, 8), 8);
	assert_int_equal(chardev_dropped_bytes(f->c), 1000);
	fd = connect_to(f->path);
	for (int i = 0; i < 100 && n < CHARDEV_OUTPUT_BYTES; i++) {
		ssize_t k;

		spin(f, 3);
		k = read(fd, got + n, sizeof(got) - n);
		n += k > 0 ? (size_t)k : 0;
	}
	assert_int_equal(n, CHARDEV_OUTPUT_BYTES);
	assert_memory_equal(got, data + 1000, n);
	close(fd);
}

static void test_unix_oversized_write_counts_all_lost(void **state)
{
	struct fixture *f = *state;
	static uint8_t big[3 * CHARDEV_OUTPUT_BYTES];

	create(f, CHAR_UNIX);
	put(f, "x", 1);
	assert_int_equal(put(f, big, sizeof(big)), sizeof(big));
	assert_int_equal(chardev_dropped_bytes(f->c),
			 2 * CHARDEV_OUTPUT_BYTES + 1);
}

static void test_unix_silent_client_never_stalls(void **state)
{
	struct fixture *f = *state;
	static uint8_t block[4096];
	int fd;

	create(f, CHAR_UNIX);
	fd = connect_to(f->path);
	for (int i = 0; i < 500; i++) {
		assert_int_equal(put(f, block, sizeof(block)), sizeof(block));
		if (!(i % 10))
			spin(f, 1);
	}
	assert_true(chardev_dropped_bytes(f->c) > 0);
	close(fd);
}

static void test_unix_reconnect_sees_what_came_between(void **state)
{
	struct fixture *f = *state;
	int fd;

	create(f, CHAR_UNIX);
	fd = connect_to(f->path);
	spin(f, 5);
	close(fd);
	spin(f, 5);
	assert_int_equal(f->disconnects, 1);
	put(f, "meanwhile", 9);
	spin(f, 5);
	fd = connect_to(f->path);
	expect_from(f, fd, "meanwhile");
	assert_int_equal(f->connects, 2);
	assert_int_equal(chardev_dropped_bytes(f->c), 0);
	close(fd);
}

static void test_unix_lossless_waits_for_its_client(void **state)
{
	struct fixture *f = *state;
	static uint8_t block[4096];
	size_t taken = 0, n;
	int fd;

	create(f, CHAR_UNIX);
	chardev_set_lossless(f->c, true);
	assert_false(chardev_is_open(f->c));
	assert_int_equal(put(f, "nobody", 6), 6);
	assert_int_equal(chardev_dropped_bytes(f->c), 6);
	fd = connect_to(f->path);
	spin(f, 5);
	assert_true(chardev_is_open(f->c));
	do {
		n = put(f, block, sizeof(block));
		taken += n;
		spin(f, 5);
	} while (n == sizeof(block) && taken < 16 << 20);
	/* Full, and nothing is lost. */
	assert_true(n < sizeof(block));
	assert_int_equal(chardev_dropped_bytes(f->c), 6);
	assert_int_equal(f->outputs, 0);
	close(fd);
	spin(f, 30);
	assert_false(chardev_is_open(f->c));
	assert_int_equal(f->outputs, 1);
	assert_true(chardev_dropped_bytes(f->c) > 6);
	/* The next one begins anew. */
	fd = connect_to(f->path);
	spin(f, 5);
	put(f, "new", 3);
	expect_from(f, fd, "new");
	close(fd);
}

static void test_unix_second_client_is_closed(void **state)
{
	struct fixture *f = *state;
	int first, second;
	char b;

	create(f, CHAR_UNIX);
	first = connect_to(f->path);
	spin(f, 5);
	second = connect_to(f->path);
	spin(f, 5);
	assert_int_equal(read(second, &b, 1), 0);
	put(f, "still", 5);
	expect_from(f, first, "still");
	assert_int_equal(f->connects, 1);
	close(first);
	close(second);
}

/* Nobody reads its input any more, so nobody sees its end either. */
static void test_unix_client_gone_with_input_unread_makes_room(void **state)
{
	struct fixture *f = *state;
	static char flood[4 * CHARDEV_INPUT_BYTES];
	int first, second, third;
	char b;

	create(f, CHAR_UNIX);
	first = connect_to(f->path);
	while (write(first, flood, sizeof(flood)) > 0)
		spin(f, 3);
	second = connect_to(f->path);
	spin(f, 5);
	assert_int_equal(read(second, &b, 1), 0);
	close(first);
	third = connect_to(f->path);
	spin(f, 5);
	put(f, "hello", 5);
	expect_from(f, third, "hello");
	close(second);
	close(third);
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec;
}

/* As spin(), while no descriptor can be made; the CPU time that it took. */
static uint64_t spin_without_descriptors(struct fixture *f, uint64_t ms)
{
	struct rlimit old, none;
	struct loop_timer t;
	uint64_t start;

	assert_int_equal(loop_timer_init(f->loop, &t, on_timeout, f->loop), 0);
	loop_timer_set(&t, ms * MS, 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	start = cpu_ns();
	loop_run(f->loop);
	start = cpu_ns() - start;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	loop_timer_deinit(&t);
	return start;
}

static void test_unix_without_descriptors_waits_and_tries_again(void **state)
{
	struct fixture *f = *state;
	int fd;

	create(f, CHAR_UNIX);
	fd = connect_to(f->path);
	assert_true(spin_without_descriptors(f, 200) < 50 * MS);
	assert_int_equal(f->connects, 0);
	put(f, "late", 4);
	expect_from(f, fd, "late");
	assert_int_equal(f->connects, 1);
	close(fd);
}

static void test_unix_half_closed_client_still_gets_output(void **state)
{
	struct fixture *f = *state;
	int fd;

	create(f, CHAR_UNIX);
	fd = connect_to(f->path);
	assert_int_equal(write(fd, "last", 4), 4);
	shutdown(fd, SHUT_WR);
	expect_input(f, "last");
	put(f, "reply", 5);
	expect_from(f, fd, "reply");
	assert_int_equal(f->disconnects, 0);
	close(fd);
	spin(f, 5);
	assert_int_equal(f->disconnects, 1);
}

/* The socket goes with the chardev; only the one that it made. */
static void test_unix_destroy_removes_its_own_socket(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int fd;

	create(f, CHAR_UNIX);
	assert_int_equal(lstat(f->path, &st), 0);
	destroy(f);
	assert_int_equal(lstat(f->path, &st), -1);

	create(f, CHAR_UNIX);
	assert_int_equal(unlink(f->path), 0);
	fd = open(f->path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	close(fd);
	destroy(f);
	assert_int_equal(lstat(f->path, &st), 0);
}

static void test_listener_stale_socket_is_replaced(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(a.sun_path, f->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
	create(f, CHAR_UNIX);
	fd = connect_to(f->path);
	assert_true(fd >= 0);
	close(fd);
}

static void test_listener_live_socket_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct config_char cfg = { .kind = CHAR_UNIX, .path = f->path };
	struct chardev *other = NULL;
	struct error e;

	create(f, CHAR_UNIX);
	put(f, "kept", 4);
	assert_int_equal(chardev_create(&other, &cfg, f->loop, NULL, NULL, &e),
			 -EADDRINUSE);
	assert_non_null(strstr(e.text, f->path));
	spin(f, 5);
	assert_int_equal(f->connects, 0);
	assert_int_equal(access(f->path, F_OK), 0);
}

static void test_listener_refuses_what_is_no_socket(void **state)
{
	struct fixture *f = *state;
	struct listener l;
	struct error e;
	char path[200];
	int fd = open(f->path, O_WRONLY | O_CREAT, 0600);

	close(fd);
	assert_int_equal(listener_open(&l, f->path, 1, &e), -EEXIST);
	assert_int_equal(access(f->path, F_OK), 0);
	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	assert_int_equal(listener_open(&l, path, 1, &e), -ENAMETOOLONG);
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	listener_close(&l);
}

static void count_error(void *opaque, int fd)
{
	((struct fixture *)opaque)->inputs += fd < 0;
}

static void test_listener_shut_down_by_others_does_not_spin(void **state)
{
	struct fixture *f = *state;
	struct listener l;
	struct error e;
	int fd;

	assert_int_equal(listener_open(&l, f->path, 1, &e), 0);
	fd = dup(l.fd);
	listener_close(&l);
	assert_int_equal(listener_adopt(&l, fd), 0);
	assert_int_equal(listener_start(&l, f->loop, count_error, f), 0);
	shutdown(fd, SHUT_RDWR);
	spin(f, 100);
	assert_int_equal(f->inputs, 1);
	listener_close(&l);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* ---- pty ----------------------------------------------------------------- */

static int open_pty(struct fixture *f)
{
	const char *name = strchr(chardev_label(f->c), ':');

	assert_non_null(name);
	return open(name + 1, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
}

static int listen_at(struct fixture *f)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(addr.sun_path, f->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static int accept_from(struct fixture *f, int listener)
{
	int fd = -1;

	for (int i = 0; i < 400 && fd < 0; i++) {
		spin(f, 5);
		fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	}
	assert_true(fd >= 0);
	return fd;
}

static void test_connect_finds_its_listener_again(void **state)
{
	struct fixture *f = *state;
	struct config_char cfg = { .kind = CHAR_CONNECT, .path = f->path };
	int listener, fd;
	struct error e;

	assert_int_equal(chardev_create(&f->c, &cfg, f->loop, NULL, NULL, &e),
			 -ENOENT);
	assert_non_null(strstr(e.text, f->path));
	f->c = NULL;
	/* With reconnect nobody need be there yet. */
	cfg.reconnect_s = 1;
	assert_int_equal(chardev_create(&f->c, &cfg, f->loop, NULL, NULL, &e),
			 0);
	chardev_set_client(f->c, &client, f);
	assert_false(chardev_is_open(f->c));
	listener = listen_at(f);
	fd = accept_from(f, listener);
	put(f, "hello", 5);
	expect_from(f, fd, "hello");
	assert_int_equal(write(fd, "to you", 6), 6);
	expect_input(f, "to you");
	assert_int_equal(f->connects, 1);
	close(fd);
	spin(f, 20);
	assert_int_equal(f->disconnects, 1);
	fd = accept_from(f, listener);
	put(f, "again", 5);
	expect_from(f, fd, "again");
	close(fd);
	close(listener);
}

static void test_connect_without_reconnect_ends(void **state)
{
	struct fixture *f = *state;
	int listener = listen_at(f), fd;

	create(f, CHAR_CONNECT);
	assert_true(chardev_is_open(f->c));
	fd = accept_from(f, listener);
	close(fd);
	spin(f, 20);
	assert_false(chardev_is_open(f->c));
	spin(f, 50);
	assert_int_equal(accept4(listener, NULL, NULL, SOCK_NONBLOCK), -1);
	/* What is written goes nowhere, and holds nobody up. */
	for (int i = 0; i < 100; i++)
		assert_int_equal(put(f, "0123456789", 10), 10);
	close(listener);
}

static void test_pty_reader_may_come_and_go(void **state)
{
	struct fixture *f = *state;
	struct termios t;
	int fd;

	create(f, CHAR_PTY);
	put(f, "early\n", 6);
	spin(f, 20);
	assert_int_equal(f->connects, 0);
	for (int round = 1; round <= 2; round++) {
		f->inputs = 0;
		fd = open_pty(f);
		assert_true(fd >= 0);
		expect_from(f, fd, round == 1 ? "early\n" : "later\n");
		assert_int_equal(f->connects, round);
		tcgetattr(fd, &t);
		assert_false(t.c_lflag & (ICANON | ECHO));
		assert_int_equal(write(fd, "in", 2), 2);
		expect_input(f, "in");
		close(fd);
		spin(f, 20);
		assert_int_equal(f->disconnects, round);
		put(f, "later\n", 6);
	}
	assert_int_equal(chardev_dropped_bytes(f->c), 0);
}

static void test_pty_silent_reader_never_stalls(void **state)
{
	struct fixture *f = *state;
	static uint8_t block[4096];
	int fd;

	create(f, CHAR_PTY);
	fd = open_pty(f);
	spin(f, 600);
	assert_int_equal(f->connects, 1);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(put(f, block, sizeof(block)), sizeof(block));
		spin(f, 1);
	}
	assert_true(chardev_dropped_bytes(f->c) > 0);
	close(fd);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring_wrapping_keeps_order),
		cmocka_unit_test(test_ring_skip_past_the_end_empties),
		T(test_null_takes_everything_and_counts_nothing),
		T(test_file_destroy_writes_what_is_in_the_ring),
		T(test_file_full_file_system_drops_and_counts),
		T(test_file_missing_directory_names_the_path),
		T(test_unix_both_directions_pass),
		T(test_unix_without_client_keeps_the_newest),
		T(test_unix_oversized_write_counts_all_lost),
		T(test_unix_silent_client_never_stalls),
		T(test_unix_reconnect_sees_what_came_between),
		T(test_unix_lossless_waits_for_its_client),
		T(test_unix_second_client_is_closed),
		T(test_unix_client_gone_with_input_unread_makes_room),
		T(test_unix_without_descriptors_waits_and_tries_again),
		T(test_unix_half_closed_client_still_gets_output),
		T(test_unix_destroy_removes_its_own_socket),
		T(test_listener_stale_socket_is_replaced),
		T(test_listener_live_socket_is_left_alone),
		T(test_listener_shut_down_by_others_does_not_spin),
		T(test_listener_refuses_what_is_no_socket),
		T(test_connect_finds_its_listener_again),
		T(test_connect_without_reconnect_ends),
		T(test_pty_reader_may_come_and_go),
		T(test_pty_silent_reader_never_stalls),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
