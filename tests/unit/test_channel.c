/* SPDX-License-Identifier: MIT */
/* LINK: save/channel save/output char/listener loop save/command error */
/* Channels: bytes arrive, ends are noticed, nothing is left behind. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "save/channel.h"

static char dir[] = "/tmp/mote-channel-XXXXXX";
static char path[64], uri[128];

static int setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/x", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	/* No child is left, and nothing in the directory. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(rmdir(dir), 0);
	return 0;
}

static void write_pattern(struct channel *c)
{
	static uint8_t data[200000];
	struct error e;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + 1);
	assert_int_equal(channel_write(c, data, sizeof(data)), 0);
	assert_int_equal(channel_skip(c, 1 << 20), 0);
	assert_int_equal(channel_write(c, data, 5), 0);
	assert_int_equal(channel_skip(c, 8192), 0);
	assert_int_equal(channel_finish(c, 0, &e), 0);
	channel_close(c);
}

static void read_pattern(struct channel *c)
{
	static uint8_t data[200000 + (1 << 20) + 5 + 8192 + 1];
	struct error e;

	assert_int_equal(channel_read(c, data, 10), 0);
	assert_int_equal(channel_read(c, data + 10, sizeof(data) - 11), 0);
	for (size_t i = 0; i < 200000; i++)
		assert_int_equal(data[i], (uint8_t)(i * 7 + 1));
	for (size_t i = 0; i < 1 << 20; i++)
		assert_int_equal(data[200000 + i], 0);
	assert_int_equal(data[200000 + (1 << 20) + 4], 29);
	assert_int_equal(channel_read(c, data, 1), -ENODATA);
	assert_int_equal(channel_finish(c, 0, &e), 0);
	channel_close(c);
}

static void test_channel_file_has_holes(void **state)
{
	struct channel *c;
	struct error e;
	struct stat st;

	(void)state;
	snprintf(uri, sizeof(uri), "file:%s", path);
	assert_int_equal(channel_open(&c, uri, CHANNEL_OUT, &e), 0);
	write_pattern(c);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 200000 + (1 << 20) + 5 + 8192);
	assert_true(st.st_blocks * 512 < 500000);
	assert_int_equal(channel_open(&c, uri, CHANNEL_IN, &e), 0);
	read_pattern(c);
}

static void test_channel_command_gets_and_gives_all(void **state)
{
	struct channel *c;
	struct error e;

	(void)state;
	snprintf(uri, sizeof(uri), "exec:sleep 0.2; cat >%s", path);
	assert_int_equal(channel_open(&c, uri, CHANNEL_OUT, &e), 0);
	write_pattern(c);
	snprintf(uri, sizeof(uri), "exec:cat %s", path);
	assert_int_equal(channel_open(&c, uri, CHANNEL_IN, &e), 0);
	read_pattern(c);
}

static void *writer(void *opaque)
{
	write_pattern(opaque);
	return NULL;
}

static void test_channel_socket_connects_two(void **state)
{
	struct channel *in, *out;
	pthread_t thread;
	struct error e;

	(void)state;
	snprintf(uri, sizeof(uri), "unix:%s", path);
	assert_true(channel_open(&out, uri, CHANNEL_OUT, &e) < 0);
	assert_non_null(strstr(e.text, path));
	assert_int_equal(channel_open(&in, uri, CHANNEL_IN, &e), 0);
	assert_int_equal(channel_open(&out, uri, CHANNEL_OUT, &e), 0);
	assert_int_equal(pthread_create(&thread, NULL, writer, out), 0);
	read_pattern(in);
	pthread_join(thread, NULL);
	assert_int_equal(access(path, F_OK), -1);
}

static void test_channel_command_that_fails_is_told(void **state)
{
	static const struct {
		const char *uri, *text;
	} cases[] = {
		{ "exec:exit 7", "status 7" },
		{ "exec:kill -9 $$", "signal 9" },
		{ "exec:nosuchcommand-", "status 127" },
		{ "exec:true", "Broken pipe" },
	};
	static uint8_t data[1 << 20];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct channel *c;
		struct error e;
		int ret;

		assert_int_equal(channel_open(&c, cases[i].uri, CHANNEL_OUT,
					      &e), 0);
		ret = channel_write(c, data, sizeof(data));
		assert_true(ret < 0);
		assert_true(channel_finish(c, ret, &e) < 0);
		assert_non_null(strstr(e.text, cases[i].text));
		channel_close(c);
	}
}

static void test_channel_bad_uris_are_named(void **state)
{
	static const char *const uris[] = {
		"", "tcp:localhost:1", "file:", "file:/nonexistent/x", "unix:",
		"unix:/nonexistent/x",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
		struct channel *c;
		struct error e;

		assert_true(channel_open(&c, uris[i], CHANNEL_OUT, &e) < 0);
		assert_true(channel_open(&c, uris[i], CHANNEL_IN, &e) < 0);
	}
}

static void *cancel_soon(void *opaque)
{
	uint64_t one = 1;

	usleep(100000);
	assert_int_equal(write(*(int *)opaque, &one, 8), 8);
	return NULL;
}

static void test_channel_that_waits_is_cancelled(void **state)
{
	static const char *const outs[] = { "exec:sleep 100" };
	static const char *const ins[] = { "exec:sleep 100 & wait", NULL };
	static uint8_t data[1 << 20];

	(void)state;
	for (int i = 0; i < 3; i++) {
		int fd = eventfd(0, 0);
		pthread_t thread;
		struct channel *c;
		struct error e;
		int ret;

		snprintf(uri, sizeof(uri), "unix:%s", path);
		assert_int_equal(channel_open(&c, i == 0 ? outs[0] :
						  i == 1 ? ins[0] : uri,
					      i ? CHANNEL_IN : CHANNEL_OUT,
					      &e), 0);
		channel_set_cancel(c, fd);
		pthread_create(&thread, NULL, cancel_soon, &fd);
		ret = i ? channel_read(c, data, 1) :
			  channel_write(c, data, sizeof(data));
		assert_int_equal(ret, -ECANCELED);
		assert_int_equal(channel_finish(c, ret, &e), -ECANCELED);
		pthread_join(thread, NULL);
		channel_close(c);
		close(fd);
	}
}

/* ---- what was there before ------------------------------------------------ */

static void put(const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void expect_file(const char *text)
{
	char found[64] = "";
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, found, sizeof(found)), strlen(text));
	assert_memory_equal(found, text, strlen(text));
	close(fd);
}

static void test_channel_file_that_was_there_stays_without_an_end(void **state)
{
	struct channel *c;
	struct error e;

	(void)state;
	snprintf(uri, sizeof(uri), "file:%s", path);
	assert_int_equal(channel_open(&c, uri, CHANNEL_OUT, &e), 0);
	assert_int_equal(channel_write(c, "half", 4), 0);
	channel_close(c);
	assert_int_equal(access(path, F_OK), -1);
	put("of the user's", 0640);
	assert_int_equal(channel_open(&c, uri, CHANNEL_OUT, &e), 0);
	assert_int_equal(channel_write(c, "half", 4), 0);
	expect_file("of the user's");
	/* It has failed, and is told so. */
	assert_int_equal(channel_finish(c, -EIO, &e), -EIO);
	channel_close(c);
	expect_file("of the user's");
}

static void test_channel_file_is_replaced_at_the_end(void **state)
{
	char link[80], other[80];
	struct channel *c;
	struct error e;
	struct stat st;

	(void)state;
	put("of the user's, and longer", 0640);
	/* By way of a link, which stays one. */
	snprintf(link, sizeof(link), "%s.link", path);
	assert_int_equal(symlink("x", link), 0);
	snprintf(uri, sizeof(uri), "file:%s", link);
	assert_int_equal(channel_open(&c, uri, CHANNEL_OUT, &e), 0);
	assert_int_equal(channel_write(c, "all", 3), 0);
	assert_int_equal(channel_finish(c, 0, &e), 0);
	channel_close(c);
	expect_file("all");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	unlink(link);
	/* One that has two names keeps both. */
	snprintf(other, sizeof(other), "%s.other", path);
	assert_int_equal(linkat(AT_FDCWD, path, AT_FDCWD, other, 0), 0);
	snprintf(uri, sizeof(uri), "file:%s", path);
	assert_int_equal(channel_open(&c, uri, CHANNEL_OUT, &e), 0);
	assert_int_equal(channel_write(c, "both", 4), 0);
	assert_int_equal(channel_finish(c, 0, &e), 0);
	channel_close(c);
	expect_file("both");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_nlink, 2);
	unlink(other);
}

static void test_channel_socket_nobody_has_open_is_replaced(void **state)
{
	struct channel *c, *d;
	struct error e;

	(void)state;
	snprintf(uri, sizeof(uri), "unix:%s", path);
	for (int i = 0; i < 2; i++) {
		/* Only this process's exit would leave it: renamed, it is not
		 * known to its owner. */
		char away[80];

		assert_int_equal(channel_open(&c, uri, CHANNEL_IN, &e), 0);
		assert_int_equal(channel_open(&d, uri, CHANNEL_IN, &e),
				 -EADDRINUSE);
		assert_non_null(strstr(e.text, path));
		snprintf(away, sizeof(away), "%s.away", path);
		assert_int_equal(rename(path, away), 0);
		channel_close(c);
		assert_int_equal(rename(away, path), 0);
	}
	assert_int_equal(channel_open(&c, uri, CHANNEL_IN, &e), 0);
	channel_close(c);
	assert_int_equal(access(path, F_OK), -1);
	put("no socket", 0600);
	assert_int_equal(channel_open(&c, uri, CHANNEL_IN, &e), -EEXIST);
	expect_file("no socket");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_channel_file_has_holes),
		TEST(test_channel_file_that_was_there_stays_without_an_end),
		TEST(test_channel_file_is_replaced_at_the_end),
		TEST(test_channel_socket_nobody_has_open_is_replaced),
		TEST(test_channel_command_gets_and_gives_all),
		TEST(test_channel_socket_connects_two),
		TEST(test_channel_command_that_fails_is_told),
		TEST(test_channel_bad_uris_are_named),
		TEST(test_channel_that_waits_is_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
