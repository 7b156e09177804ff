/* SPDX-License-Identifier: MIT */
/* LINK: nearest */
#include <string.h>

#include "unit.h"

#include "nearest.h"

static void test_nearest_distance_counts_edits(void **state)
{
	static const struct {
		const char *a, *b;
		unsigned int distance;
	} pairs[] = {
		{ "", "", 0 },		{ "disk", "disk", 0 },
		{ "", "disk", 4 },	{ "disk", "", 4 },
		{ "dsik", "disk", 1 },	{ "redonly", "readonly", 1 },
		{ "dixk", "disk", 1 },	{ "disks", "disk", 1 },
		{ "kitten", "sitting", 3 },
		{ "mem", "memory", 1 },	/* the beginning */
		{ "m", "memory", 5 },	/* too little of it */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		assert_int_equal(nearest_distance(pairs[i].a, pairs[i].b),
				 pairs[i].distance);
}

static void test_nearest_long_words_are_cut(void **state)
{
	char a[4096], b[4096];

	(void)state;
	memset(a, 'a', sizeof(a));
	memset(b, 'b', sizeof(b));
	a[sizeof(a) - 1] = b[sizeof(b) - 1] = '\0';
	assert_int_equal(nearest_distance(a, b), 63);
	assert_int_equal(nearest_distance(a, a), 0);
}

static void test_nearest_offer_keeps_the_first_of_the_closest(void **state)
{
	struct nearest n = { .word = "cpus" };

	(void)state;
	assert_null(n.best);
	nearest_offer(&n, "memory");
	assert_string_equal(n.best, "memory");
	nearest_offer(&n, "cpu");
	nearest_offer(&n, "pus");
	nearest_offer(&n, "console");
	assert_string_equal(n.best, "cpu");
	assert_int_equal(n.distance, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nearest_distance_counts_edits),
		cmocka_unit_test(test_nearest_long_words_are_cut),
		cmocka_unit_test(
			test_nearest_offer_keeps_the_first_of_the_closest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
