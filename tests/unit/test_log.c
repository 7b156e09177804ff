/* SPDX-License-Identifier: MIT */
/* LINK: log */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

#include "log.h"

#define THREADS 4
#define LINES 500

static char path[64];

static int set_up(void **state)
{
	int fd;

	(void)state;
	strcpy(path, "/tmp/mote-unit-XXXXXX");
	fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
	(void)state;
	log_open(LOG_WARN, NULL);
	return unlink(path);
}

static void content(char *text, size_t bytes)
{
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, bytes - 1, f);
	text[n] = '\0';
	fclose(f);
}

static void test_log_below_the_level_is_left_out(void **state)
{
	char text[4096];

	(void)state;
	assert_int_equal(log_open(LOG_WARN, path), 0);
	log_error("one %d", 1);
	log_warn("two");
	log_info("three");
	log_debug("four");
	content(text, sizeof(text));
	assert_string_equal(text, "mote: error: one 1\nmote: warning: two\n");
	assert_int_equal(log_open(LOG_DEBUG, path), 0);
	log_info("five");
	content(text, sizeof(text));
	assert_string_equal(text, "mote: error: one 1\nmote: warning: two\n"
				  "mote: info: five\n");
}

static void test_log_message_is_one_harmless_line(void **state)
{
	char text[4096], longer[3000];

	(void)state;
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(log_open(LOG_WARN, path), 0);
	log_warn("a\nb\x1b[2Jc\x7f" "d");
	content(text, sizeof(text));
	assert_string_equal(text, "mote: warning: a b [2Jc d\n");
	log_warn("%s", longer);
	content(text, sizeof(text));
	assert_true(strlen(text) < 1100);
	assert_int_equal(text[strlen(text) - 1], '\n');
}

static void test_log_write_keeps_errno(void **state)
{
	(void)state;
	assert_int_equal(log_open(LOG_WARN, path), 0);
	errno = EXDEV;
	log_warn("x");
	assert_int_equal(errno, EXDEV);
}

static void test_log_open_fails_where_there_is_no_directory(void **state)
{
	(void)state;
	assert_int_equal(log_open(LOG_WARN, "/nowhere/log"), -ENOENT);
}

static void *write_lines(void *letter)
{
	char line[101];

	memset(line, *(char *)letter, 100);
	line[100] = '\0';
	for (int i = 0; i < LINES; i++)
		log_warn("%s", line);
	return NULL;
}

static void test_log_lines_of_threads_do_not_mix(void **state)
{
	pthread_t threads[THREADS];
	char letters[THREADS], line[256];
	unsigned int count = 0;
	FILE *f;

	(void)state;
	assert_int_equal(log_open(LOG_WARN, path), 0);
	for (int i = 0; i < THREADS; i++) {
		letters[i] = (char)('a' + i);
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines,
						&letters[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	f = fopen(path, "r");
	assert_non_null(f);
	for (; fgets(line, sizeof(line), f); count++) {
		const char *p = line + strlen("mote: warning: ");

		assert_int_equal(strlen(p), 101);
		assert_int_equal(strspn(p, (char[]){ *p, 0 }), 100);
	}
	fclose(f);
	assert_int_equal(count, THREADS * LINES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_log_below_the_level_is_left_out),
		TEST(test_log_message_is_one_harmless_line),
		TEST(test_log_write_keeps_errno),
		TEST(test_log_open_fails_where_there_is_no_directory),
		TEST(test_log_lines_of_threads_do_not_mix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
