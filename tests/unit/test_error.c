/* SPDX-License-Identifier: MIT */
/* LINK: error */
/* Error texts and classes. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "error.h"

static void test_error_prefix_keeps_class_and_text(void **state)
{
	struct error e;

	(void)state;
	assert_int_equal(error_config(&e, -EINVAL, "no %s", "path"), -EINVAL);
	assert_int_equal(error_prefix(&e, -EINVAL, "--%s", "disk"), -EINVAL);
	assert_string_equal(e.text, "--disk: no path");
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	assert_int_equal(error_errno(&e, -ENOENT, "x"), -ENOENT);
	assert_string_equal(e.text, "x: No such file or directory");
	assert_int_equal(e.class, ERROR_GENERIC);
}

static void test_error_text_of_any_length_fits(void **state)
{
	char text[2 * ERROR_TEXT_BYTES];
	struct error e;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	error_errno(&e, -ENOENT, "%s", text);
	assert_int_equal(strlen(e.text), ERROR_TEXT_BYTES - 1);
	error_prefix(&e, -ENOENT, "%s", text);
	assert_int_equal(strlen(e.text), ERROR_TEXT_BYTES - 1);
}

static void test_error_of_named_tells_the_users_mistakes(void **state)
{
	static const struct {
		int ret;
		enum error_class class;
	} cases[] = {
		{ -ENOENT, ERROR_INVALID_CONFIG },
		{ -EISDIR, ERROR_INVALID_CONFIG },
		{ -EACCES, ERROR_INVALID_CONFIG },
		{ -EINVAL, ERROR_INVALID_CONFIG },
		{ -ENOMEM, ERROR_GENERIC },
		{ -EMFILE, ERROR_GENERIC },
		{ -EIO, ERROR_GENERIC },
		{ -EBUSY, ERROR_GENERIC },
		{ -EADDRINUSE, ERROR_GENERIC },
	};

	struct error e;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		error_errno(&e, cases[i].ret, "disk x");
		assert_int_equal(error_of_named(&e, cases[i].ret),
				 cases[i].ret);
		assert_int_equal(e.class, cases[i].class);
	}
	assert_int_equal(error_of_named(NULL, -ENOENT), -ENOENT);
	/* What says more already is left alone. */
	error_class_set(&e, ERROR_INVALID_STATE, -EPERM, "the VM has ended");
	error_of_named(&e, -EPERM);
	assert_int_equal(e.class, ERROR_INVALID_STATE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error_prefix_keeps_class_and_text),
		cmocka_unit_test(test_error_text_of_any_length_fits),
		cmocka_unit_test(test_error_of_named_tells_the_users_mistakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
