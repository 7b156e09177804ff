/* SPDX-License-Identifier: MIT */
/* LINK: exit_report utf8 error */
/* Where the exit report may go, and what it leaves alone. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exit_report.h"

static char dir[] = "/tmp/mote-report-XXXXXX";
static char path[64];
static const struct vm_exit_report report = {
	.code = 3, .reason = "the \"guest\" panicked", .stopped = { 1, 0 },
};

const char *vm_exit_kind_name(enum vm_exit_kind kind)
{
	(void)kind;
	return "panic";
}

static const char *in_dir(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static const char *content(const char *name)
{
	static char text[512];
	int fd = open(in_dir(name), O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	assert_true(n > 0);
	text[n] = '\0';
	return text;
}

static const char expected[] = "{\"kind\":\"panic\",\"code\":3,"
	"\"reason\":\"the \\\"guest\\\" panicked\",\"started\":null,"
	"\"stopped\":\"1970-01-01T00:00:01.000Z\"}\n";

static void test_exit_report_file_is_replaced(void **state)
{
	struct error e;
	struct stat before, after;

	(void)state;
	close(open(in_dir("r"), O_CREAT | O_WRONLY, 0600));
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(exit_report_check(path, &e), 0);
	assert_int_equal(exit_report_write(&report, path, &e), 0);
	assert_string_equal(content("r"), expected);
	assert_int_equal(stat(path, &after), 0);
	assert_int_not_equal(before.st_ino, after.st_ino);
	unlink(path);
}

static void test_exit_report_is_utf8_whatever_the_reason(void **state)
{
	const struct vm_exit_report r = {
		.code = 1, .reason = "/dev/\xc3\xa4\xff: no \xe2\x82",
	};
	struct error e;

	(void)state;
	assert_int_equal(exit_report_write(&r, in_dir("r"), &e), 0);
	assert_non_null(strstr(content("r"), "\"/dev/\xc3\xa4?: no ??\""));
	unlink(path);
}

static void test_exit_report_link_stays_and_its_target_is_written(void **state)
{
	struct error e;
	struct stat st;

	(void)state;
	/* To nothing yet, and then to a longer content. */
	for (int i = 0; i < 2; i++) {
		assert_true(i || !symlink("target", in_dir("link")));
		assert_int_equal(exit_report_check(in_dir("link"), &e), 0);
		assert_int_equal(exit_report_write(&report, path, &e), 0);
		assert_int_equal(lstat(path, &st), 0);
		assert_true(S_ISLNK(st.st_mode));
		assert_string_equal(content("target"), expected);
		assert_int_equal(truncate(path, 500), 0);
	}
	unlink(path);
	unlink(in_dir("link"));
}

static void test_exit_report_device_stays(void **state)
{
	struct error e;
	struct stat st;

	(void)state;
	assert_int_equal(exit_report_write(&report, "/dev/null", &e), 0);
	assert_int_equal(lstat("/dev/null", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	assert_int_equal(exit_report_write(&report, "/dev/full", &e),
			 -ENOSPC);
	assert_non_null(strstr(e.text, "/dev/full"));
}

static void test_exit_report_log_on_stdout_is_appended_to(void **state)
{
	int saved = dup(1), fd = open(in_dir("log"), O_CREAT | O_WRONLY, 0600);
	struct error e;
	int ret;

	(void)state;
	assert_int_equal(write(fd, "log\n", 4), 4);
	dup2(fd, 1);
	ret = exit_report_write(&report, "/dev/stdout", &e);
	dup2(saved, 1);
	close(saved);
	close(fd);
	assert_int_equal(ret, 0);
	assert_memory_equal(content("log"), "log\n{", 5);
	unlink(path);
}

static void test_exit_report_fifo_without_reader_does_not_block(void **state)
{
	struct error e;

	(void)state;
	assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
	assert_int_equal(exit_report_write(&report, path, &e), -ENXIO);
	unlink(path);
}

static void test_exit_report_bad_places_are_refused_before(void **state)
{
	static const char *const bad[] = { "none/r", ".", "r/" };
	char longer[5000];
	struct error e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(exit_report_check(in_dir(bad[i]), &e) < 0);
		assert_int_equal(e.class, ERROR_INVALID_CONFIG);
		assert_non_null(strstr(e.text, path));
	}
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(exit_report_check(longer, &e), -ENAMETOOLONG);
}

/* What failed to be written leaves no temporary file. */
static int clean_up(void **state)
{
	(void)state;
	return rmdir(dir);
}

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_exit_report_is_utf8_whatever_the_reason),
		cmocka_unit_test(test_exit_report_file_is_replaced),
		cmocka_unit_test(
			test_exit_report_link_stays_and_its_target_is_written),
		cmocka_unit_test(test_exit_report_device_stays),
		cmocka_unit_test(test_exit_report_log_on_stdout_is_appended_to),
		cmocka_unit_test(
			test_exit_report_fifo_without_reader_does_not_block),
		cmocka_unit_test(
			test_exit_report_bad_places_are_refused_before),
	};

	return cmocka_run_group_tests(tests, set_up, clean_up);
}
