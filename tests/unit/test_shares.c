/* SPDX-License-Identifier: MIT */
/* LINK: shares error */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "shares.h"

static char top[128], a[160], b[160], other[160];
static struct shares *s;

static int set_up(void **state)
{
	(void)state;
	snprintf(top, sizeof(top), "%s/test-shares-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(top));
	snprintf(a, sizeof(a), "%s/a", top);
	snprintf(b, sizeof(b), "%s/b", top);
	snprintf(other, sizeof(other), "%s/other", top);
	assert_int_equal(mkdir(a, 0700), 0);
	assert_int_equal(mkdir(b, 0700), 0);
	assert_int_equal(symlink("a", other), 0);
	return shares_create(&s);
}

static int tear_down(void **state)
{
	(void)state;
	shares_destroy(s);
	unlink(other);
	rmdir(a);
	rmdir(b);
	rmdir(top);
	return 0;
}

static void test_shares_same_path_is_counted(void **state)
{
	struct share *first, *second, *found;
	char dotted[200];
	struct error e;

	(void)state;
	snprintf(dotted, sizeof(dotted), "%s/./b/../a/", top);
	assert_int_equal(shares_add(s, a, "tag", true, NULL, &first, &e), 0);
	assert_int_equal(first->refs, 1);
	assert_int_equal(shares_add(s, other, NULL, true, NULL, &second, &e),
			 0);
	assert_ptr_equal(first, second);
	assert_int_equal(shares_add(s, dotted, "tag", true, NULL, &second, &e),
			 0);
	assert_int_equal(second->refs, 3);
	assert_int_equal(shares_find(s, NULL, "tag", &found, &e), 0);
	assert_ptr_equal(found, first);
	assert_int_equal(shares_put(s, first), 2);
	assert_int_equal(shares_put(s, first), 1);
	assert_int_equal(shares_put(s, first), 0);
	assert_int_equal(shares_find(s, a, NULL, &found, &e), -ENOENT);
	assert_int_equal(e.class, ERROR_NOT_ATTACHED);
	assert_non_null(strstr(e.text, a));
}

static void test_shares_mismatches_are_refused(void **state)
{
	struct share *share;
	struct error e;

	(void)state;
	assert_int_equal(shares_add(s, a, "tag", true, "x", &share, &e), 0);
	assert_int_equal(shares_add(s, a, NULL, false, "x", &share, &e),
			 -EEXIST);
	assert_int_equal(e.class, ERROR_ALREADY_ATTACHED);
	assert_int_equal(shares_add(s, a, NULL, true, NULL, &share, &e),
			 -EEXIST);
	assert_int_equal(shares_add(s, a, "gat", true, "x", &share, &e),
			 -EEXIST);
	assert_int_equal(shares_add(s, b, "tag", true, NULL, &share, &e),
			 -EEXIST);
	assert_int_equal(shares_add(s, "/nowhere/x", NULL, true, NULL, &share,
				    &e), -ENOENT);
	assert_int_equal(shares_put(s, share), 0);
}

static void test_shares_tags_are_made_and_reused(void **state)
{
	struct share *one, *two;
	struct error e;

	(void)state;
	assert_int_equal(shares_add(s, a, NULL, false, NULL, &one, &e), 0);
	assert_string_equal(one->tag, "share0");
	assert_int_equal(shares_add(s, b, NULL, false, NULL, &two, &e), 0);
	assert_string_equal(two->tag, "share1");
	shares_put(s, one);
	assert_int_equal(shares_add(s, a, NULL, false, NULL, &one, &e), 0);
	assert_string_equal(one->tag, "share0");
}

/* It can still be taken out when the host has removed the directory. */
static void test_shares_directory_that_is_gone_is_found(void **state)
{
	struct share *share;
	struct error e;
	char *real;

	(void)state;
	assert_int_equal(shares_add(s, b, NULL, false, NULL, &share, &e), 0);
	real = realpath(b, NULL);
	rmdir(b);
	assert_int_equal(shares_find(s, real, NULL, &share, &e), 0);
	assert_int_equal(shares_put(s, share), 0);
	free(real);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define WITH(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
		WITH(test_shares_same_path_is_counted),
		WITH(test_shares_mismatches_are_refused),
		WITH(test_shares_tags_are_made_and_reused),
		WITH(test_shares_directory_that_is_gone_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
