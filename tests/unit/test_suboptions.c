/* SPDX-License-Identifier: MIT */
/* LINK: error config/suboptions */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"

#include "config/suboptions.h"

#define MAX_ITEMS 5

static const struct {
	const char *text;
	struct {
		const char *key, *value;
	} items[MAX_ITEMS];
} lists[] = {
	{ "a.img", { { NULL, "a.img" } } },
	{ "a.img,id=x", { { NULL, "a.img" }, { "id", "x" } } },
	{ "a.img,ro", { { NULL, "a.img" }, { "readonly", "on" } } },
	{ "a.img,ro=off", { { NULL, "a.img" }, { "readonly", "off" } } },
	{ "path=a,,b,id=x", { { "path", "a,b" }, { "id", "x" } } },
	{ "a,,b", { { NULL, "a,b" } } },
	{ ",,", { { NULL, "," } } },
	{ ",,,,", { { NULL, ",," } } },
	/* From the left: a literal comma, then a separator. */
	{ "a,,,b", { { NULL, "a," }, { NULL, "b" } } },
	{ "path=", { { "path", "" } } },
	{ "path=a=b=c", { { "path", "a=b=c" } } },
	{ "rom", { { NULL, "rom" } } },
	{ "host,+avx2,-aes",
	  { { NULL, "host" }, { NULL, "+avx2" }, { NULL, "-aes" } } },
};

static void test_suboptions_list_is_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct suboptions s;
		struct error e;
		size_t n = 0;

		assert_int_equal(suboptions_parse(&s, lists[i].text, &e), 0);
		for (; n < MAX_ITEMS && lists[i].items[n].value; n++) {
			const char *key = lists[i].items[n].key;

			assert_true(n < s.count);
			assert_string_equal(s.items[n].value,
					    lists[i].items[n].value);
			assert_true(!key == !s.items[n].key);
			if (key)
				assert_string_equal(s.items[n].key, key);
		}
		assert_int_equal(s.count, n);
		suboptions_deinit(&s);
	}
}

static void test_suboptions_empty_item_is_refused(void **state)
{
	static const char *const texts[] = { "", ",", "a,", ",a", "a,,,",
					     "a=b,,,", "a,b," };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct suboptions s;
		struct error e;

		assert_int_equal(suboptions_parse(&s, texts[i], &e), -EINVAL);
		assert_int_equal(e.class, ERROR_INVALID_CONFIG);
		assert_non_null(strstr(e.text, "empty"));
		assert_int_equal(s.count, 0);
	}
}

static void test_suboptions_deinit_twice_is_harmless(void **state)
{
	struct suboptions s;

	(void)state;
	assert_int_equal(suboptions_parse(&s, "a,b=c", NULL), 0);
	suboptions_deinit(&s);
	suboptions_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_suboptions_list_is_split),
		cmocka_unit_test(test_suboptions_empty_item_is_refused),
		cmocka_unit_test(test_suboptions_deinit_twice_is_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
