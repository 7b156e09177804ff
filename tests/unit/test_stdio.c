/* SPDX-License-Identifier: MIT */
/* LINK: char/chardev char/traffic char/ring char/null char/file char/unix char/connect char/listener char/pty char/stdio char/terminal char/escape loop error */
/*
 * The stdio back end over pipes, files and a pseudo-terminal that take the
 * place of the test's own descriptors 0 and 1.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "char/chardev.h"
#include "char/escape.h"

#define MS 1000000ull
#define BIG (1u << 20)

struct fixture {
	struct loop *loop;
	struct chardev *c;
	int saved[2];		/* the test's 0 and 1 */
	int master;		/* of the terminal, or -1 */
	int quits, statuses, breaks, inputs, resizes;
	uint16_t columns, rows;
	atomic_bool room;
};

static void on_key(void *opaque, enum chardev_key key)
{
	struct fixture *f = opaque;

	if (key == CHARDEV_KEY_QUIT)
		f->quits++;
	else
		f->statuses++;
}

static void on_break(void *opaque)
{
	((struct fixture *)opaque)->breaks++;
}

static void on_input(void *opaque)
{
	((struct fixture *)opaque)->inputs++;
}

static void on_room(void *opaque)
{
	atomic_store(&((struct fixture *)opaque)->room, true);
}

static void on_resized(void *opaque, uint16_t columns, uint16_t rows)
{
	struct fixture *f = opaque;

	f->resizes++;
	f->columns = columns;
	f->rows = rows;
}

static const struct chardev_client client = {
	.input_ready = on_input,
	.output_ready = on_room,
	.break_received = on_break,
	.resized = on_resized,
};

static void on_timeout(void *opaque)
{
	loop_stop(opaque);
}

static void spin(struct fixture *f, uint64_t ms)
{
	struct loop_timer t;

	if (loop_timer_init(f->loop, &t, on_timeout, f->loop))
		abort();
	loop_timer_set(&t, ms * MS, 0);
	loop_run(f->loop);
	loop_timer_deinit(&t);
}

static void *run_loop(void *opaque)
{
	loop_run(opaque);
	return NULL;
}

static int create(struct fixture *f)
{
	struct config_char cfg = { .kind = CHAR_STDIO };
	struct error e;
	int ret = chardev_create(&f->c, &cfg, f->loop, on_key, f, &e);

	if (ret)
		f->c = NULL;
	else
		chardev_set_client(f->c, &client, f);
	return ret;
}

/* Takes fd over as descriptor `to`. */
static void become(int fd, int to)
{
	assert_int_equal(dup2(fd, to), to);
	close(fd);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fflush(NULL);
	f->master = -1;
	f->saved[0] = fcntl(0, F_DUPFD_CLOEXEC, 10);
	f->saved[1] = fcntl(1, F_DUPFD_CLOEXEC, 10);
	*state = f;
	return loop_create(&f->loop);
}

static int setup_terminal(void **state)
{
	struct winsize size = { .ws_col = 80, .ws_row = 25 };
	struct fixture *f;
	int slave;

	if (setup(state))
		return -1;
	f = *state;
	f->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (grantpt(f->master) || unlockpt(f->master))
		return -1;
	ioctl(f->master, TIOCSWINSZ, &size);
	slave = open(ptsname(f->master), O_RDWR | O_NOCTTY);
	dup2(slave, 0);
	become(slave, 1);
	fcntl(f->master, F_SETFL, O_NONBLOCK);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	chardev_destroy(f->c);
	become(f->saved[0], 0);
	become(f->saved[1], 1);
	if (f->master >= 0)
		close(f->master);
	loop_destroy(f->loop);
	free(f);
	return 0;
}

static void expect_input(struct fixture *f, const char *text)
{
	size_t want = strlen(text), got = 0;
	char buf[256] = "";

	for (int i = 0; i < 20 || (i < 200 && got < want); i++) {
		spin(f, 2);
		got += chardev_read(f->c, (uint8_t *)buf + got,
				    sizeof(buf) - 1 - got);
	}
	assert_string_equal(buf, text);
}

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 31 + i / 253);
}

/* ---- escape keys --------------------------------------------------------- */

static void test_escape_scan_splits_keys_from_input(void **state)
{
	static const struct {
		const char *in, *out;
		int key;
		size_t taken;
	} rows[] = {
		{ "plain", "plain", ESCAPE_NONE, 5 },
		{ "\x01", "", ESCAPE_NONE, 1 },
		{ "\x01x", "", ESCAPE_QUIT, 2 },
		{ "a\x01" "bc", "a", ESCAPE_BREAK, 3 },
		{ "\x01s", "", ESCAPE_STATUS, 2 },
		{ "\x01h!", "", ESCAPE_HELP, 2 },
		{ "\x01\x01x", "\x01x", ESCAPE_NONE, 3 },
		{ "\x01\x01\x01x", "\x01", ESCAPE_QUIT, 4 },
		{ "\x01kz", "\x01kz", ESCAPE_NONE, 3 },
		{ "\x01X", "\x01X", ESCAPE_NONE, 2 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct escape s = { 0 };
		uint8_t out[32];
		size_t out_len, n;
		enum escape_key key;

		n = escape_scan(&s, (const uint8_t *)rows[i].in,
				strlen(rows[i].in), out, &out_len, &key);
		assert_int_equal(n, rows[i].taken);
		assert_int_equal(key, rows[i].key);
		assert_int_equal(out_len, strlen(rows[i].out));
		assert_memory_equal(out, rows[i].out, out_len);
	}
}

static void test_escape_scan_remembers_prefix_between_calls(void **state)
{
	struct escape s = { 0 };
	uint8_t out[8];
	enum escape_key key;
	size_t len;

	(void)state;
	escape_scan(&s, (const uint8_t *)"\x01", 1, out, &len, &key);
	assert_int_equal(len, 0);
	escape_scan(&s, (const uint8_t *)"q", 1, out, &len, &key);
	assert_int_equal(len, 2);
	assert_memory_equal(out, "\x01q", 2);
}

/* ---- pipes and files ----------------------------------------------------- */

static void *read_slowly(void *opaque)
{
	int fd = *(int *)opaque;
	size_t at = 0;
	uint8_t buf[3000];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != pattern(at++))
				return (void *)SIZE_MAX;
		if (!(at % 7))
			usleep(2000);
	}
	return (void *)at;
}

static void test_stdio_slow_pipe_reader_loses_nothing(void **state)
{
	struct fixture *f = *state;
	pthread_t loop, reader;
	int fds[2], shorts = 0;
	size_t at = 0;
	void *result;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	become(fds[1], 1);
	become(open("/dev/null", O_RDONLY), 0);
	assert_int_equal(create(f), 0);
	pthread_create(&loop, NULL, run_loop, f->loop);
	pthread_create(&reader, NULL, read_slowly, &fds[0]);
	while (at < BIG) {
		uint8_t block[777];
		size_t n = BIG - at < sizeof(block) ? BIG - at : sizeof(block);

		for (size_t i = 0; i < n; i++)
			block[i] = pattern(at + i);
		atomic_store(&f->room, false);
		n = chardev_write(f->c, block, n);
		at += n;
		if (n == sizeof(block) || at == BIG)
			continue;
		shorts++;
		for (int i = 0; i < 5000 && !atomic_load(&f->room); i++)
			usleep(1000);
		assert_true(atomic_load(&f->room));
	}
	loop_stop(f->loop);
	pthread_join(loop, NULL);
	chardev_destroy(f->c);
	f->c = NULL;
	assert_int_equal(dup2(f->saved[1], 1), 1);
	pthread_join(reader, &result);
	close(fds[0]);
	assert_int_equal((size_t)result, BIG);
	assert_true(shorts > 0);
}

static void test_stdio_reader_gone_drops_and_counts(void **state)
{
	struct fixture *f = *state;
	static uint8_t block[CHARDEV_OUTPUT_BYTES];
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	become(fds[1], 1);
	assert_int_equal(create(f), 0);
	close(fds[0]);
	assert_int_equal(chardev_write(f->c, block, 10), 10);
	spin(f, 5);
	assert_int_equal(chardev_dropped_bytes(f->c), 10);
	for (int i = 0; i < 4; i++)
		assert_int_equal(chardev_write(f->c, block, sizeof(block)),
				 sizeof(block));
	assert_int_equal(chardev_dropped_bytes(f->c), 10 + 4 * sizeof(block));
}

static void test_stdio_full_ring_tells_of_room_when_reader_goes(void **state)
{
	struct fixture *f = *state;
	static uint8_t block[4 * CHARDEV_OUTPUT_BYTES];
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	become(fds[1], 1);
	assert_int_equal(create(f), 0);
	chardev_write(f->c, block, sizeof(block));
	spin(f, 5);
	while (chardev_write(f->c, block, sizeof(block)))
		spin(f, 5);
	atomic_store(&f->room, false);
	close(fds[0]);
	spin(f, 50);
	assert_true(atomic_load(&f->room));
	assert_int_equal(chardev_write(f->c, block, 1), 1);
}

/* Everything that comes in arrives, at the reader's pace; then nothing more. */
static void take_slowly(struct fixture *f, size_t total)
{
	size_t at = 0;

	for (int i = 0; i < 3000 && at < total; i++) {
		uint8_t buf[977];
		size_t n = chardev_read(f->c, buf, sizeof(buf));

		for (size_t k = 0; k < n; k++)
			assert_int_equal(buf[k], pattern(at++));
		if (n < sizeof(buf))
			spin(f, 1);
	}
	assert_int_equal(at, total);
}

static void test_stdio_file_input_arrives_whole(void **state)
{
	struct fixture *f = *state;
	char name[] = "/tmp/mote-unit-XXXXXX";
	int fd = mkstemp(name);
	uint8_t b;

	for (size_t i = 0; i < 3 * CHARDEV_INPUT_BYTES; i++) {
		b = pattern(i);
		assert_int_equal(write(fd, &b, 1), 1);
	}
	unlink(name);
	lseek(fd, 0, SEEK_SET);
	become(fd, 0);
	assert_int_equal(create(f), 0);
	spin(f, 5);
	take_slowly(f, 3 * CHARDEV_INPUT_BYTES);
	spin(f, 5);
	assert_int_equal(chardev_read(f->c, &b, 1), 0);
}

static void *write_all(void *opaque)
{
	int fd = *(int *)opaque;
	uint8_t buf[1000];

	for (size_t at = 0; at < BIG / 2;) {
		size_t n = BIG / 2 - at;

		n = n < sizeof(buf) ? n : sizeof(buf);
		for (size_t i = 0; i < n; i++)
			buf[i] = pattern(at + i);
		if (write(fd, buf, n) != (ssize_t)n)
			break;
		at += n;
	}
	close(fd);
	return NULL;
}

static void test_stdio_pipe_input_is_flow_controlled(void **state)
{
	struct fixture *f = *state;
	pthread_t writer;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	become(fds[0], 0);
	assert_int_equal(create(f), 0);
	pthread_create(&writer, NULL, write_all, &fds[1]);
	take_slowly(f, BIG / 2);
	pthread_join(writer, NULL);
}

static void test_stdio_pipe_has_no_escape_keys(void **state)
{
	struct fixture *f = *state;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	become(fds[0], 0);
	assert_int_equal(create(f), 0);
	assert_int_equal(fcntl(0, F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(write(fds[1], "\x01x\x01\x01", 4), 4);
	close(fds[1]);
	expect_input(f, "\x01x\x01\x01");
	assert_int_equal(f->quits, 0);
}

static void test_stdio_second_user_is_refused(void **state)
{
	struct fixture *f = *state;
	struct config_char cfg = { .kind = CHAR_STDIO };
	struct chardev *other;
	struct error e;

	become(open("/dev/null", O_RDONLY), 0);
	assert_int_equal(create(f), 0);
	assert_int_equal(chardev_create(&other, &cfg, f->loop, NULL, NULL, &e),
			 -EBUSY);
	chardev_destroy(f->c);
	assert_int_equal(create(f), 0);
}

static void test_stdio_closed_descriptors_are_no_error(void **state)
{
	struct fixture *f = *state;

	close(0);
	close(1);
	assert_int_equal(create(f), 0);
	assert_int_equal(chardev_write(f->c, (const uint8_t *)"x", 1), 1);
	spin(f, 3);
	assert_int_equal(chardev_dropped_bytes(f->c), 1);
}

/* ---- a terminal ---------------------------------------------------------- */

static bool same(const struct termios *a, const struct termios *b)
{
	return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag &&
	       a->c_lflag == b->c_lflag && a->c_cflag == b->c_cflag;
}

static void test_terminal_is_raw_then_restored(void **state)
{
	struct fixture *f = *state;
	struct termios before, t;

	tcgetattr(0, &before);
	assert_int_equal(create(f), 0);
	tcgetattr(0, &t);
	assert_false(t.c_lflag & (ICANON | ECHO | ISIG));
	assert_false(t.c_oflag & OPOST);
	assert_true(chardev_terminal_is_raw());
	assert_int_equal(fcntl(0, F_GETFL) & O_NONBLOCK, 0);

	/* As from a handler of a fatal signal, twice. */
	chardev_restore_terminal();
	chardev_restore_terminal();
	tcgetattr(0, &t);
	assert_true(same(&t, &before));
	assert_false(chardev_terminal_is_raw());

	/* SIGCONT: raw again. */
	chardev_update_size(f->c);
	tcgetattr(0, &t);
	assert_false(t.c_lflag & ICANON);
	chardev_destroy(f->c);
	f->c = NULL;
	tcgetattr(0, &t);
	assert_true(same(&t, &before));
	chardev_restore_terminal();
}

static void test_terminal_keys_reach_their_owner(void **state)
{
	struct fixture *f = *state;
	static const char typed[] = "a\x01x\x01sb\x01\x01" "c\x01" "bd\x03";

	assert_int_equal(create(f), 0);
	assert_int_equal(write(f->master, typed, sizeof(typed) - 1),
			 sizeof(typed) - 1);
	expect_input(f, "ab\x01" "cd\x03");
	assert_int_equal(f->quits, 1);
	assert_int_equal(f->statuses, 1);
	assert_int_equal(f->breaks, 1);
}

static void test_terminal_paste_of_100k_loses_nothing(void **state)
{
	struct fixture *f = *state;
	size_t sent = 0, total = 100 << 10, at = 0;

	assert_int_equal(create(f), 0);
	for (int i = 0; i < 5000 && at < total; i++) {
		uint8_t buf[512];
		size_t n = 0;

		while (n < sizeof(buf) && sent + n < total) {
			buf[n] = (uint8_t)('a' + (sent + n) % 26);
			n++;
		}
		if (n) {
			ssize_t w = write(f->master, buf, n);

			sent += w > 0 ? (size_t)w : 0;
		}
		spin(f, 1);
		if (i % 3)	/* the guest is slower */
			continue;
		n = chardev_read(f->c, buf, sizeof(buf));
		for (size_t k = 0; k < n; k++)
			assert_int_equal(buf[k], 'a' + at++ % 26);
	}
	assert_int_equal(at, total);
}

static void test_terminal_resize_is_told_once(void **state)
{
	struct fixture *f = *state;
	struct winsize size = { .ws_col = 132, .ws_row = 50 };
	uint16_t columns, rows;

	assert_int_equal(create(f), 0);
	chardev_size(f->c, &columns, &rows);
	assert_int_equal(columns, 80);
	assert_int_equal(rows, 25);
	chardev_update_size(f->c);
	assert_int_equal(f->resizes, 0);
	ioctl(f->master, TIOCSWINSZ, &size);
	chardev_update_size(f->c);
	chardev_update_size(f->c);
	assert_int_equal(f->resizes, 1);
	assert_int_equal(f->columns, 132);
	assert_int_equal(f->rows, 50);
}

static void test_terminal_hangup_ends_input_only(void **state)
{
	struct fixture *f = *state;
	clock_t before;

	assert_int_equal(create(f), 0);
	close(f->master);
	f->master = -1;
	chardev_write(f->c, (const uint8_t *)"x", 1);
	spin(f, 20);
	assert_int_equal(chardev_dropped_bytes(f->c), 1);
	/* A dead descriptor that is still watched would keep the loop busy. */
	before = clock();
	spin(f, 200);
	assert_true(clock() - before < CLOCKS_PER_SEC / 10);
}

/* In a background process group of a terminal: returns 0 when, once in the
 * foreground, the input arrived. */
static int background_child(struct fixture *f, int made)
{
	uint8_t b;

	setpgid(0, 0);
	if (create(f) || write(made, "", 1) != 1)
		return 2;
	for (int i = 0; i < 600; i++) {
		spin(f, 50);
		if (chardev_read(f->c, &b, 1) == 1) {
			chardev_destroy(f->c);
			return b == 'k' ? 0 : 3;
		}
	}
	return 4;
}

/* The shell's part, as leader of a session that has the terminal. */
static int session_leader(struct fixture *f)
{
	struct termios t;
	int status, made[2];
	pid_t child;
	char b;

	setsid();
	signal(SIGTTOU, SIG_IGN);
	if (ioctl(0, TIOCSCTTY, 0) || pipe(made))
		return 10;
	child = fork();
	if (!child) {
		signal(SIGTTOU, SIG_DFL);
		_exit(background_child(f, made[1]));
	}
	setpgid(child, child);
	close(made[1]);
	if (read(made[0], &b, 1) != 1)
		return 17;
	usleep(100000);
	tcgetattr(0, &t);
	if (!(t.c_lflag & ICANON))
		return 11;	/* took a terminal that is not its own */
	if (waitpid(child, &status, WNOHANG | WUNTRACED))
		return 12;	/* stopped by SIGTTIN or SIGTTOU */
	tcsetpgrp(0, child);
	for (int i = 0; i < 3000 && (t.c_lflag & ICANON); i++) {
		usleep(10000);
		tcgetattr(0, &t);
	}
	if (t.c_lflag & ICANON)
		return 13;
	if (write(f->master, "k", 1) != 1)
		return 14;
	for (int i = 0; i < 3000; i++) {
		if (waitpid(child, &status, WNOHANG | WUNTRACED) == child)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 15;
		usleep(10000);
	}
	kill(child, SIGKILL);
	return 16;
}

static void test_terminal_in_background_waits_without_stopping(void **state)
{
	struct fixture *f = *state;
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(session_leader(f));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define P(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define T(name) cmocka_unit_test_setup_teardown(name, setup_terminal, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape_scan_splits_keys_from_input),
		cmocka_unit_test(test_escape_scan_remembers_prefix_between_calls),
		P(test_stdio_slow_pipe_reader_loses_nothing),
		P(test_stdio_reader_gone_drops_and_counts),
		P(test_stdio_full_ring_tells_of_room_when_reader_goes),
		P(test_stdio_file_input_arrives_whole),
		P(test_stdio_pipe_input_is_flow_controlled),
		P(test_stdio_pipe_has_no_escape_keys),
		P(test_stdio_second_user_is_refused),
		P(test_stdio_closed_descriptors_are_no_error),
		T(test_terminal_is_raw_then_restored),
		T(test_terminal_keys_reach_their_owner),
		T(test_terminal_paste_of_100k_loses_nothing),
		T(test_terminal_resize_is_told_once),
		T(test_terminal_hangup_ends_input_only),
		T(test_terminal_in_background_waits_without_stopping),
	};

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
