/* SPDX-License-Identifier: MIT */
/* LINK: error boot/cmdline */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "boot/cmdline.h"

static void test_cmdline_parts_are_joined_by_one_space(void **state)
{
	struct cmdline c = CMDLINE_INIT;

	(void)state;
	assert_int_equal(cmdline_append(&c, ""), 0);
	assert_null(c.text);
	assert_int_equal(cmdline_append(&c, "console=ttyS0"), 0);
	assert_int_equal(cmdline_append(&c, ""), 0);
	assert_int_equal(cmdline_append(&c, "panic=-1"), 0);
	assert_int_equal(cmdline_append(&c, "a b"), 0);
	assert_string_equal(c.text, "console=ttyS0 panic=-1 a b");
	assert_int_equal(c.len, strlen(c.text));
	cmdline_deinit(&c);
	assert_int_equal(c.len, 0);
	cmdline_deinit(&c);
	cmdline_deinit(NULL);
}

static void test_cmdline_newline_is_refused(void **state)
{
	struct cmdline c = CMDLINE_INIT;

	(void)state;
	assert_int_equal(cmdline_append(&c, "quiet"), 0);
	assert_int_equal(cmdline_append(&c, "a\nb"), -EINVAL);
	assert_string_equal(c.text, "quiet");
	cmdline_deinit(&c);
}

static void test_cmdline_longer_than_limit_names_both_lengths(void **state)
{
	struct cmdline c = CMDLINE_INIT;
	struct error e;

	(void)state;
	assert_int_equal(cmdline_append(&c, "0123456789"), 0);
	assert_int_equal(cmdline_check(&c, 10, &e), 0);
	assert_int_equal(cmdline_check(&c, 9, &e), -E2BIG);
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	assert_non_null(strstr(e.text, "10 bytes"));
	assert_non_null(strstr(e.text, "at most 9"));
	cmdline_deinit(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cmdline_parts_are_joined_by_one_space),
		cmocka_unit_test(test_cmdline_newline_is_refused),
		cmocka_unit_test(
			test_cmdline_longer_than_limit_names_both_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
