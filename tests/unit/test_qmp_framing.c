/* SPDX-License-Identifier: MIT */
/* LINK: monitor/framing utf8 error */
/* The monitor's framing: well-formed, cut up, joined and hostile input. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/framing.h"
#include "utf8.h"

/* What a stream gives: messages as plain JSON, errors as "!", one a line. */
static void collect(struct framer *f, const char *data, size_t len, char *out,
		    size_t size)
{
	size_t used;

	for (size_t i = 0; i < len; i += used) {
		struct json_object *o = NULL;
		struct error e;
		const char *text = "!";
		size_t at = strlen(out);

		switch (framer_feed(f, data + i, len - i, &used, &o, &e)) {
		case FRAMER_MORE:
			assert_int_equal(used, len - i);
			continue;
		case FRAMER_MESSAGE:
			text = json_object_to_json_string_ext(
				o, JSON_C_TO_STRING_PLAIN);
			break;
		case FRAMER_ERROR:
			assert_true(strlen(e.text) > 0);
			break;
		}
		assert_true(used > 0);
		snprintf(out + at, size - at, "%s\n", text);
		json_object_put(o);
	}
}

static void expect(const char *data, size_t len, const char *expected)
{
	struct framer f;
	char out[1024];

	/* Cut in two at each place, and into single bytes. */
	for (size_t cut = 0; cut <= len; cut++) {
		out[0] = '\0';
		assert_int_equal(framer_init(&f), 0);
		collect(&f, data, cut, out, sizeof(out));
		collect(&f, data + cut, len - cut, out, sizeof(out));
		assert_string_equal(out, expected);
		framer_deinit(&f);
	}
	out[0] = '\0';
	assert_int_equal(framer_init(&f), 0);
	for (size_t i = 0; i < len; i++)
		collect(&f, data + i, 1, out, sizeof(out));
	assert_string_equal(out, expected);
	framer_deinit(&f);
}

struct stream {
	const char *data, *expected;
};

static void expect_all(const struct stream *streams, size_t count)
{
	for (size_t i = 0; i < count; i++)
		expect(streams[i].data, strlen(streams[i].data),
		       streams[i].expected);
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void test_framer_wellformed_messages_come_whole(void **state)
{
	static const struct stream streams[] = {
		{ "", "" },
		{ " \r\n\t \n", "" },
		{ "{}", "{}\n" },
		{ "{}\r\n{}\n{}", "{}\n{}\n{}\n" },
		{ "{\"a\":1}{\"b\":2}", "{\"a\":1}\n{\"b\":2}\n" },
		{ "{\n \"a\"\r\n:\t[1,\n2] }", "{\"a\":[1,2]}\n" },
		{ "{\"a\":\"}{][\"}", "{\"a\":\"}{][\"}\n" },
		{ "{\"a\":\"\\\"}\"}", "{\"a\":\"\\\"}\"}\n" },
		{ "{\"a\":\"\\\\\"}{}", "{\"a\":\"\\\\\"}\n{}\n" },
		{ "{'a':'b'}", "{\"a\":\"b\"}\n" },
		{ "{'a':'\"'}", "{\"a\":\"\\\"\"}\n" },
		{ "{'a':'it\\'s'}", "{\"a\":\"it's\"}\n" },
		{ "{\"a\":\"'\"}", "{\"a\":\"'\"}\n" },
		{ "{\"a\":\"\xc3\xa9\xf0\x9f\x98\x80\"}",
		  "{\"a\":\"\xc3\xa9\xf0\x9f\x98\x80\"}\n" },
		{ "{\"a\":\"\\u00e9\"}", "{\"a\":\"\xc3\xa9\"}\n" },
		{ "{\"NaN\":\"Infinity\"}", "{\"NaN\":\"Infinity\"}\n" },
		{ "[1]{}", "[1]\n{}\n" },
		{ "{\"a\":{\"a\":\":\"},\"A\":[{\"a\":1},{\"a\":2}]}",
		  "{\"a\":{\"a\":\":\"},\"A\":[{\"a\":1},{\"a\":2}]}\n" },
		{ "{\"a\":", "" },
	};

	(void)state;
	expect_all(streams, COUNT(streams));
}

/* One error each, and the message on the next line is understood again. */
static void test_framer_garbage_costs_one_error(void **state)
{
	static const struct stream streams[] = {
		{ "x\n{}", "!\n{}\n" },
		{ "hello, world\r\n{}", "!\n{}\n" },
		{ "hello {}", "!\n{}\n" },
		{ "1\n{}", "!\n{}\n" },
		{ "\"x\"\n{}", "!\n{}\n" },
		{ "}\n{}", "!\n{}\n" },
		{ "]]]]\n{}", "!\n{}\n" },
		{ "{]}\n{}", "!\n{}\n" },
		{ "[}\n{}", "!\n{}\n" },
		{ "{\"a\":[}]\n{}", "!\n{}\n" },
		{ "{a}\n{}", "!\n{}\n" },
		{ "{,}{}", "!\n{}\n" },
		{ "{\"a\" 1}{}", "!\n{}\n" },
		{ "{\"a\":1,}{}", "!\n{}\n" },
		{ "{\"a\":tru}{}", "!\n{}\n" },
		{ "{\"a\":01}{}", "!\n{}\n" },
		{ "{\"a\":1,\"a\":1}{}", "!\n{}\n" },
		{ "{\"a\":1,\"\\u0061\":1}{}", "!\n{}\n" },
		{ "[{'b':{\"a\":\"\\\\\",'a':[]}}]{}", "!\n{}\n" },
		{ "{\"\":{},\"\":{}}{}", "!\n{}\n" },
		{ "{\"a\":NaN}{}", "!\n{}\n" },
		{ "{\"a\":[-Infinity,\"}\"]}{}", "!\n{}\n" },
		{ "{\"a\":nan}{}", "!\n{}\n" },
		{ "{\"a\":True}{}", "!\n{}\n" },
		{ "{\"a\":\"\\q\"}{}", "!\n{}\n" },
		{ "{\"a\":\"x\n{}", "!\n{}\n" },
		{ "{\"a\":\"x\ty\"}\n{}", "!\n{}\n" },
		{ "{\x01}\n{}", "!\n{}\n" },
		{ "\x7f\xff\xfe\n{}", "!\n{}\n" },
		{ "{\"a\":\"\xff\"}{}", "!\n{}\n" },
		{ "{\"a\":\"\xc0\xaf\"}{}", "!\n{}\n" },
		{ "{\"a\":\"\xed\xa0\x80\"}{}", "!\n{}\n" },
		{ "{\"a\":\"\xe2\x82\"}{}", "!\n{}\n" },
		{ "{\"a\":\"\xf4\x90\x80\x80\"}{}", "!\n{}\n" },
		{ "GET / HTTP/1.1\r\nHost: x\r\n\r\n{}", "!\n!\n{}\n" },
	};

	(void)state;
	expect_all(streams, COUNT(streams));
}

static void test_framer_nul_byte_is_an_error(void **state)
{
	static const char between[] = "\0\n{}", inside[] = "{\"a\":\"\0\"}\n{}";

	(void)state;
	expect(between, sizeof(between) - 1, "!\n{}\n");
	expect(inside, sizeof(inside) - 1, "!\n{}\n");
}

static char *nested(size_t depth, char open, char close)
{
	char *text = malloc(2 * depth + 1);

	assert_non_null(text);
	memset(text, open, depth);
	memset(text + depth, close, depth);
	text[2 * depth] = '\0';
	return text;
}

static void check_nested(size_t depth, const char *expected)
{
	char *text = nested(depth, '[', ']');
	char out[1024] = "";
	struct framer f;

	assert_int_equal(framer_init(&f), 0);
	collect(&f, text, strlen(text), out, sizeof(out));
	collect(&f, "{}", 2, out, sizeof(out));
	if (expected)
		assert_string_equal(out, expected);
	else
		assert_memory_equal(out, text, 2 * depth);
	framer_deinit(&f);
	free(text);
}

static void test_framer_deep_message_is_refused_at_the_limit(void **state)
{
	(void)state;
	check_nested(FRAMER_MAX_DEPTH, NULL);
	check_nested(FRAMER_MAX_DEPTH + 1, "!\n{}\n");
	check_nested(200000, "!\n{}\n");
}

/* A message of so many bytes, {"a":"xxx"}. */
static void feed_long(size_t len, const char *expected)
{
	char out[1024] = "", *text = malloc(len);
	struct json_object *o;
	struct framer f;
	struct error e;
	size_t used;

	assert_non_null(text);
	memset(text, 'x', len);
	memcpy(text, "{\"a\":\"", 6);
	memcpy(text + len - 2, "\"}", 2);
	assert_int_equal(framer_init(&f), 0);
	if (expected) {
		collect(&f, text, len, out, sizeof(out));
		collect(&f, "{}", 2, out, sizeof(out));
		assert_string_equal(out, expected);
	} else {
		assert_int_equal(framer_feed(&f, text, len, &used, &o, &e),
				 FRAMER_MESSAGE);
		assert_int_equal(used, len);
		json_object_put(o);
	}
	/* What was long does not stay in memory. */
	assert_true(f.size <= FRAMER_MAX_BYTES / 8);
	framer_deinit(&f);
	free(text);
}

static void test_framer_long_message_is_refused_at_the_limit(void **state)
{
	(void)state;
	feed_long(FRAMER_MAX_BYTES, NULL);
	feed_long(FRAMER_MAX_BYTES + 1, "!\n{}\n");
	feed_long(FRAMER_MAX_BYTES + 2, "!\n{}\n");
	feed_long(3 * FRAMER_MAX_BYTES, "!\n{}\n");
}

static void test_framer_random_bytes_leave_it_usable(void **state)
{
	static const char alphabet[] = "{}[]\"'\\,:01ae \n\r\t\x01\xc3\xa9";
	unsigned int seed = 1;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		char data[64], out[4096] = "";
		struct framer f;

		assert_int_equal(framer_init(&f), 0);
		for (size_t i = 0; i < sizeof(data); i++) {
			seed = seed * 1103515245 + 12345;
			data[i] = alphabet[(seed >> 16) %
					   (sizeof(alphabet) - 1)];
		}
		collect(&f, data, sizeof(data), out, sizeof(out));
		/* A control character and a line feed end what is open. */
		collect(&f, "\x01\n\"]\n", 5, out, sizeof(out));
		out[0] = '\0';
		collect(&f, "\n{\"a\":1}", 8, out, sizeof(out));
		assert_string_equal(out, "{\"a\":1}\n");
		framer_deinit(&f);
	}
}

static void test_utf8_repair_replaces_broken_bytes_only(void **state)
{
	static const struct {
		const char *broken, *repaired;
	} texts[] = {
		{ "", "" },
		{ "abc", "abc" },
		{ "\xc3\xa9", "\xc3\xa9" },
		{ "a\xff" "b", "a?b" },
		{ "\xe2\x82", "??" },
		{ "\xe2\x82\xac\xe2", "\xe2\x82\xac?" },
		{ "\xc0\x80", "??" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		char text[16];

		strcpy(text, texts[i].broken);
		utf8_repair(text, strlen(text));
		assert_string_equal(text, texts[i].repaired);
		assert_true(utf8_valid(text, strlen(text)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_framer_wellformed_messages_come_whole),
		cmocka_unit_test(test_framer_garbage_costs_one_error),
		cmocka_unit_test(test_framer_nul_byte_is_an_error),
		cmocka_unit_test(
			test_framer_deep_message_is_refused_at_the_limit),
		cmocka_unit_test(
			test_framer_long_message_is_refused_at_the_limit),
		cmocka_unit_test(test_framer_random_bytes_leave_it_usable),
		cmocka_unit_test(test_utf8_repair_replaces_broken_bytes_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
