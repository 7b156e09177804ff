/* SPDX-License-Identifier: MIT */
/* LINK: progress */
/* Lines of progress: what they say, and to whom. */
#include "unit.h"

#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "progress.h"

#define MIB (1ull << 20)

static const char *shown(uint64_t done, uint64_t total, uint64_t rate)
{
	static char text[160];
	int ends[2];
	ssize_t n;

	assert_int_equal(pipe(ends), 0);
	progress_show(ends[1], "reading memory", done, total, rate);
	n = read(ends[0], text, sizeof(text) - 1);
	text[n < 0 ? 0 : n] = '\0';
	close(ends[0]);
	close(ends[1]);
	return text;
}

static void test_progress_tells_rate_and_time_left(void **state)
{
	(void)state;
	assert_string_equal(shown(250 * MIB, 1000 * MIB, 125 * MIB),
			    "\rmote: reading memory: 25%, 125 MiB/s, "
			    "6 s left\033[K");
	/* The last chunk may reach beyond the end. */
	assert_non_null(strstr(shown(1001 * MIB, 1000 * MIB, MIB),
			       ": 100%, 1 MiB/s, 0 s left"));
	assert_non_null(strstr(shown(0, 1000 * MIB, 0), ": 0%, 0 MiB/s, 0 s"));
	assert_non_null(strstr(shown(UINT64_MAX / 2, UINT64_MAX, MIB), ": 50%"));
	/* Nobody to tell. */
	progress_add(NULL, MIB);
}

/* What stderr got. */
static size_t on_stderr(int fd, uint64_t begun_ago_ns, char *out, size_t size)
{
	int saved = dup(STDERR_FILENO), pair[2] = { -1, -1 };
	struct progress p;
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		assert_int_equal(openpty(&pair[0], &pair[1], NULL, NULL, NULL),
				 0);
	dup2(fd < 0 ? pair[1] : fd, STDERR_FILENO);
	progress_begin(&p, "merging", 100 * MIB);
	p.begun_ns -= begun_ago_ns;
	progress_add(&p, 26 * MIB);
	progress_add(&p, MIB);
	progress_end(&p);
	dup2(saved, STDERR_FILENO);
	close(saved);
	if (fd < 0) {
		/* What a terminal was given arrives in pieces; then, EIO. */
		close(pair[1]);
		while ((n = read(pair[0], out + len, size - 1 - len)) > 0)
			len += (size_t)n;
		close(pair[0]);
	} else {
		n = pread(fd, out, size - 1, 0);
		len = n < 0 ? 0 : (size_t)n;
	}
	out[len] = '\0';
	return strlen(out);
}

static void test_progress_is_for_terminals_and_what_takes_long(void **state)
{
	char name[] = "/tmp/mote-progress-XXXXXX", out[500];
	int file = mkstemp(name);

	(void)state;
	unlink(name);
	assert_int_equal(on_stderr(file, 5000000000, out, sizeof(out)), 0);
	assert_int_equal(on_stderr(-1, 0, out, sizeof(out)), 0);
	assert_true(on_stderr(-1, 5000000000, out, sizeof(out)) > 0);
	/* One line for two steps in no time, and it is gone at the end. */
	assert_non_null(strstr(out, "merging: 26%"));
	assert_null(strstr(out, "27%"));
	assert_string_equal(out + strlen(out) - 4, "\r\033[K");
	close(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_progress_tells_rate_and_time_left),
		cmocka_unit_test(
			test_progress_is_for_terminals_and_what_takes_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
