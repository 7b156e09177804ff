/* SPDX-License-Identifier: MIT */
/* LINK: ctl ctl_args progress */
/* WITH: qmp_fixture */
/* `mote ctl`: its arguments, and whole runs of it against a monitor. */
#include "qmp_fixture.h"

#include <errno.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl_args.h"
#include "monitor/internal.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- key=value ---- */

static void test_ctl_args_values_get_their_json_types(void **state)
{
	static const struct {
		const char *words[3], *json;
	} cases[] = {
		{ { "a=1" }, "{\"a\":1}" },
		{ { "a=-1" }, "{\"a\":-1}" },
		{ { "a=0" }, "{\"a\":0}" },
		{ { "a=1.50" }, "{\"a\":1.50}" },
		{ { "a=9223372036854775807" }, "{\"a\":9223372036854775807}" },
		{ { "a=18446744073709551616" },
		  "{\"a\":\"18446744073709551616\"}" },
		{ { "a=007" }, "{\"a\":\"007\"}" },
		{ { "a=1e5" }, "{\"a\":\"1e5\"}" },
		{ { "a=-" }, "{\"a\":\"-\"}" },
		{ { "a=1." }, "{\"a\":\"1.\"}" },
		{ { "a=.5" }, "{\"a\":\".5\"}" },
		{ { "a=0x10" }, "{\"a\":\"0x10\"}" },
		{ { "a=true", "b=false" }, "{\"a\":true,\"b\":false}" },
		{ { "a=True" }, "{\"a\":\"True\"}" },
		{ { "a=" }, "{\"a\":\"\"}" },
		{ { "a=x=y" }, "{\"a\":\"x=y\"}" },
		{ { "a=/tmp/x y" }, "{\"a\":\"/tmp/x y\"}" },
		{ { "a=\"10\"" }, "{\"a\":\"10\"}" },
		{ { "a=[1,\"x\"]" }, "{\"a\":[1,\"x\"]}" },
		{ { "a={\"b\":{}}" }, "{\"a\":{\"b\":{}}}" },
		{ { "a.b=1", "a.c.d=x", "e=2" },
		  "{\"a\":{\"b\":1,\"c\":{\"d\":\"x\"}},\"e\":2}" },
		{ { "timeout-ms=5" }, "{\"timeout-ms\":5}" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct json_object *args = json_object_new_object();
		struct error e;

		for (size_t w = 0; w < 3 && cases[i].words[w]; w++)
			assert_int_equal(ctl_args_add(args, cases[i].words[w],
						      &e), 0);
		assert_string_equal(json_object_to_json_string_ext(
					    args, JSON_C_TO_STRING_PLAIN |
					    JSON_C_TO_STRING_NOSLASHESCAPE),
				    cases[i].json);
		json_object_put(args);
	}
}

static void test_ctl_args_bad_word_is_named(void **state)
{
	static const char *const cases[][2] = {
		{ NULL, "a" }, { NULL, "" }, { NULL, "=1" }, { NULL, ".a=1" },
		{ NULL, "a.=1" }, { NULL, "a..b=1" }, { NULL, "a={" },
		{ NULL, "a=[1" }, { NULL, "a=\"x" }, { NULL, "a=[1,]" },
		{ NULL, "a={}x" }, { NULL, "a=\"x\"y" },
		{ "a=1", "a=2" }, { "a=1", "a.b=2" }, { "a.b=1", "a=2" },
		{ NULL, "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a=1" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct json_object *args = json_object_new_object();
		struct error e = { .text = "" };

		if (cases[i][0])
			assert_int_equal(ctl_args_add(args, cases[i][0], &e),
					 0);
		assert_true(ctl_args_add(args, cases[i][1], &e) < 0);
		assert_non_null(strstr(e.text, cases[i][1]));
		json_object_put(args);
	}
}

/* ---- whole runs ---- */

struct result {
	int status;
	char out[8192], err[1024];
};

struct ctl_run {
	pid_t pid;
	int out, err;
};

static int memory_file(void)
{
	int fd = (int)syscall(SYS_memfd_create, "out", 0);

	assert_true(fd >= 0);
	return fd;
}

static struct ctl_run ctl_start_on(const char *const *words, int err)
{
	struct ctl_run r = { .out = memory_file(), .err = err };
	char *argv[8] = { NULL };
	int argc = 0;

	for (; words[argc]; argc++)
		argv[argc] = (char *)words[argc];
	fflush(NULL);
	r.pid = fork();
	assert_true(r.pid >= 0);
	if (!r.pid) {
		dup2(r.out, STDOUT_FILENO);
		dup2(r.err, STDERR_FILENO);
		argc = ctl_main(argc, argv);
		fflush(NULL);
		_exit(argc);
	}
	return r;
}

static struct ctl_run ctl_start(const char *const *words)
{
	return ctl_start_on(words, memory_file());
}

static void slurp(int fd, char *text, size_t size)
{
	ssize_t n = pread(fd, text, size - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	close(fd);
}

/* Serves the client until it exits. */
static struct result ctl_finish(struct qmp *q, struct ctl_run r)
{
	struct result result;
	int status = 0;

	for (int i = 0; waitpid(r.pid, &status, WNOHANG) == 0; i++) {
		assert_true(i < 2000);
		qmp_run_ms(q, 10);
	}
	assert_true(WIFEXITED(status));
	result.status = WEXITSTATUS(status);
	slurp(r.out, result.out, sizeof(result.out));
	slurp(r.err, result.err, sizeof(result.err));
	return result;
}

static struct result ctl(struct qmp *q, const char *a, const char *b,
			 const char *c)
{
	const char *words[] = { q->path, a, b, c, NULL };

	return ctl_finish(q, ctl_start(words));
}

static void test_ctl_result_is_printed_as_json(void **state)
{
	struct qmp *q = *state;
	struct result r = ctl(q, "query-status", NULL, NULL);

	assert_int_equal(r.status, 0);
	assert_string_equal(r.out,
			    "{\"status\":\"running\",\"running\":true}\n");
	assert_string_equal(r.err, "");
	r = ctl(q, "stop", NULL, NULL);
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out, "{}\n");
	assert_int_equal(q->vm.state, VM_PAUSED);
	r = ctl(q, "query-status", "--pretty", NULL);
	assert_int_equal(r.status, 0);
	assert_non_null(strstr(r.out, "\n  \"status\": \"paused\""));
}

static void test_ctl_error_goes_to_stderr_with_its_class(void **state)
{
	struct result r = ctl(*state, "stop", "foo=1", NULL);

	assert_int_equal(r.status, 1);
	assert_string_equal(r.out, "");
	assert_string_equal(r.err, "mote: GenericError: Parameter 'foo' is "
			    "unexpected\n");
	r = ctl(*state, "wait", "timeout-ms=20", NULL);
	assert_int_equal(r.status, 1);
	assert_non_null(strstr(r.err, "20 ms"));
}

static void test_ctl_unknown_command_suggests_the_nearest(void **state)
{
	struct result r = ctl(*state, "query-nmae", NULL, NULL);

	assert_int_equal(r.status, 1);
	assert_non_null(strstr(r.err, "mote: CommandNotFound: "));
	assert_non_null(strstr(r.err, "did you mean 'query-name'?\n"));
	/* The beginning of several: which. */
	r = ctl(*state, "system", NULL, NULL);
	assert_non_null(strstr(r.err, "not been found; there are "
			       "system_powerdown, system_reset\n"));
	r = ctl(*state, "zzzzzzzzzzzzzzzz", NULL, NULL);
	assert_int_equal(r.status, 1);
	assert_null(strstr(r.err, "did you mean"));
}

static void test_ctl_without_command_lists_the_servers(void **state)
{
	struct result r = ctl(*state, NULL, NULL, NULL);
	char *line;

	assert_int_equal(r.status, 0);
	line = strstr(r.out, "\nsystem_powerdown ");
	assert_non_null(line);
	assert_non_null(strstr(line, "power button"));
}

static void test_ctl_wrong_usage_is_status_2(void **state)
{
	static const char *const words[][4] = {
		{ NULL }, { "--bogus", NULL },
		{ "/nowhere/m", "stop", "x", NULL },
		{ "/nowhere/m", "stop", "a=1", NULL },
		{ "/etc/passwd", "stop", NULL },
	};
	static char too_long[200];
	const char *long_path[] = { too_long, NULL };
	struct result r;

	for (size_t i = 0; i < COUNT(words); i++) {
		r = ctl_finish(*state, ctl_start(words[i]));
		assert_int_equal(r.status, 2);
		assert_string_equal(r.out, "");
		assert_ptr_equal(strstr(r.err, "mote: "), r.err);
	}
	memset(too_long, 'x', sizeof(too_long) - 1);
	r = ctl_finish(*state, ctl_start(long_path));
	assert_int_equal(r.status, 2);
}

/* Somebody else's socket: says other things, or nothing. */
static void test_ctl_peer_that_is_no_monitor_is_status_2(void **state)
{
	static const char *const greetings[] = {
		"", "hello\n", "{}\n", "[]\n",
	};
	struct qmp *q = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *words[] = { q->path, "stop", NULL };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	monitor_destroy(q->monitor);
	q->monitor = NULL;
	strcpy(addr.sun_path, q->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 4), 0);
	for (size_t i = 0; i < COUNT(greetings); i++) {
		struct ctl_run run = ctl_start(words);
		int peer = accept(fd, NULL, NULL);
		struct result r;

		send(peer, greetings[i], strlen(greetings[i]), MSG_NOSIGNAL);
		close(peer);
		r = ctl_finish(q, run);
		assert_int_equal(r.status, 2);
		assert_non_null(strstr(r.err, q->path));
	}
	close(fd);
}

/* The client has got that far; a busy machine may take a while. */
static void run_until(struct qmp *q, bool (*there)(const struct qmp *q))
{
	for (int i = 0; i < 1000 && !there(q); i++)
		qmp_run_ms(q, 10);
	assert_true(there(q));
}

static bool has_greeted(const struct qmp *q)
{
	return q->monitor->sessions && q->monitor->sessions->negotiated;
}

static bool has_continued(const struct qmp *q)
{
	return q->vm.state == VM_RUNNING;
}

static bool waits(const struct qmp *q)
{
	return q->monitor->sessions && q->monitor->sessions->waiters;
}

static void test_ctl_follow_prints_events_until_the_end(void **state)
{
	struct qmp *q = *state;
	const char *words[] = { q->path, "--follow", NULL };
	struct ctl_run run = ctl_start(words);
	struct result r;
	char *second;

	run_until(q, has_greeted);
	fake_vm_event(&q->vm, VM_EVENT_STOP, false, NULL);
	vm_end(&q->vm, VM_EXIT_POWEROFF, 0, "off");
	monitor_destroy(q->monitor);
	q->monitor = NULL;
	r = ctl_finish(q, run);
	assert_int_equal(r.status, 0);
	assert_string_equal(r.err, "");
	second = strchr(r.out, '\n');
	assert_non_null(second);
	assert_non_null(strstr(r.out, "\"event\":\"STOP\""));
	assert_true(strstr(r.out, "\"event\":\"STOP\"") < second);
	assert_non_null(strstr(second, "\"event\":\"SHUTDOWN\""));
	assert_string_equal(strchr(second + 1, '\n'), "\n");
}

static void test_ctl_on_a_terminal_shows_progress(void **state)
{
	struct qmp *q = *state;
	const char *words[] = { q->path, "wait", NULL };
	char shown[500], *line;
	int master, slave;
	struct ctl_run run;
	size_t len = 0;
	ssize_t n;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	run = ctl_start_on(words, slave);
	qmp_run_ms(q, 300);
	q->vm.saving = true;
	fake_vm_event(&q->vm, VM_EVENT_SAVE_PROGRESS, false, NULL);
	qmp_run_ms(q, 100);
	run.err = memory_file();
	vm_end(&q->vm, VM_EXIT_POWEROFF, 0, "off");
	monitor_destroy(q->monitor);
	q->monitor = NULL;
	assert_int_equal(ctl_finish(q, run).status, 0);
	/* What a terminal was given arrives in pieces; then, EIO. */
	close(slave);
	while ((n = read(master, shown + len, sizeof(shown) - 1 - len)) > 0)
		len += (size_t)n;
	shown[len] = '\0';
	line = strstr(shown, "mote: saving: 25%, 1 MiB/s, 3 s left");
	assert_non_null(line);
	/* It is gone when the reply is there. */
	assert_non_null(strstr(line, "left\033[K\r\033[K"));
	close(master);
}

static void test_ctl_command_then_follow_prints_both(void **state)
{
	struct qmp *q = *state;
	struct result r;

	r = ctl(q, "bogus", "--follow", NULL);
	assert_int_equal(r.status, 1);
	q->vm.state = VM_PAUSED;
	{
		const char *words[] = { q->path, "cont", "--follow", NULL };
		struct ctl_run run = ctl_start(words);

		run_until(q, has_continued);
		monitor_destroy(q->monitor);
		q->monitor = NULL;
		r = ctl_finish(q, run);
	}
	assert_int_equal(r.status, 0);
	assert_non_null(strstr(r.out, "\"event\":\"RESUME\"}\n{}\n"));
}

static void test_ctl_monitor_that_leaves_is_status_1(void **state)
{
	struct qmp *q = *state;
	const char *words[] = { q->path, "wait", NULL };
	struct ctl_run run = ctl_start(words);
	struct result r;

	run_until(q, waits);
	monitor_destroy(q->monitor);
	q->monitor = NULL;
	r = ctl_finish(q, run);
	assert_int_equal(r.status, 1);
	assert_non_null(strstr(r.err, "hung up"));
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, qmp_setup, qmp_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ctl_args_values_get_their_json_types),
		cmocka_unit_test(test_ctl_args_bad_word_is_named),
		TEST(test_ctl_result_is_printed_as_json),
		TEST(test_ctl_error_goes_to_stderr_with_its_class),
		TEST(test_ctl_unknown_command_suggests_the_nearest),
		TEST(test_ctl_without_command_lists_the_servers),
		TEST(test_ctl_wrong_usage_is_status_2),
		TEST(test_ctl_peer_that_is_no_monitor_is_status_2),
		TEST(test_ctl_follow_prints_events_until_the_end),
		TEST(test_ctl_on_a_terminal_shows_progress),
		TEST(test_ctl_command_then_follow_prints_both),
		TEST(test_ctl_monitor_that_leaves_is_status_1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
