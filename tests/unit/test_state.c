/* SPDX-License-Identifier: MIT */
/* LINK: state */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "state.h"

static void test_state_put_is_little_endian_without_padding(void **state)
{
	static const uint8_t expected[] = {
		0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04,
		0x0f, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08,
		0x01, 0xaa, 0xbb, 0x02, 0, 0, 0, 'h', 'i',
	};
	struct state_writer w = STATE_WRITER_INIT;

	(void)state;
	state_put_u8(&w, 1);
	state_put_u16(&w, 0x0203);
	state_put_u32(&w, 0x04050607);
	state_put_u64(&w, UINT64_C(0x08090a0b0c0d0e0f));
	state_put_bool(&w, true);
	state_put_bytes(&w, "\xaa\xbb", 2);
	state_put_string(&w, "hi");
	assert_int_equal(w.error, 0);
	assert_int_equal(w.len_bytes, sizeof(expected));
	assert_memory_equal(w.data, expected, sizeof(expected));
	state_writer_deinit(&w);
}

static void test_state_get_reads_back_what_was_put(void **state)
{
	struct state_writer w = STATE_WRITER_INIT;
	struct state_reader r;
	uint8_t bytes[3];
	char text[8];

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		state_put_u8(&w, (uint8_t)i);
		state_put_u16(&w, (uint16_t)(i * 7));
		state_put_u32(&w, ~i);
		state_put_u64(&w, UINT64_MAX - i);
		state_put_bool(&w, i & 1);
		state_put_bytes(&w, "xyz", 3);
		state_put_string(&w, i & 1 ? "" : "serial");
	}
	state_reader_init(&r, w.data, w.len_bytes);
	for (uint32_t i = 0; i < 1000; i++) {
		assert_int_equal(state_get_u8(&r), (uint8_t)i);
		assert_int_equal(state_get_u16(&r), (uint16_t)(i * 7));
		assert_int_equal(state_get_u32(&r), ~i);
		assert_true(state_get_u64(&r) == UINT64_MAX - i);
		assert_int_equal(state_get_bool(&r), i & 1);
		state_get_bytes(&r, bytes, 3);
		assert_memory_equal(bytes, "xyz", 3);
		state_get_string(&r, text, sizeof(text));
		assert_string_equal(text, i & 1 ? "" : "serial");
	}
	assert_int_equal(state_reader_finish(&r), 0);
	state_writer_deinit(&w);
}

static void test_state_get_past_end_sticks(void **state)
{
	static const uint8_t three[] = { 1, 2, 3 };
	struct state_reader r;
	uint8_t buf[4] = { 9, 9, 9, 9 };

	(void)state;
	state_reader_init(&r, three, sizeof(three));
	assert_int_equal(state_get_u16(&r), 0x0201);
	assert_int_equal(state_get_u16(&r), 0);
	assert_int_equal(state_reader_error(&r), -ENODATA);
	/* The byte that is left is not given out any more. */
	assert_int_equal(state_get_u8(&r), 0);
	state_get_bytes(&r, buf, 4);
	assert_int_equal(buf[0] | buf[3], 0);
	assert_int_equal(state_reader_finish(&r), -ENODATA);
}

static void test_state_get_hostile_values_refused(void **state)
{
	static const struct {
		uint8_t data[8];
		size_t len;
		int error;
	} strings[] = {
		{ { 2, 0, 0, 0, 'a', 'b' }, 6, 0 },
		{ { 3, 0, 0, 0, 'a', 'b' }, 6, -ENODATA },
		{ { 4, 0, 0, 0, 'a', 'b', 'c', 'd' }, 8, -E2BIG },
		{ { 255, 255, 255, 255, 'a' }, 5, -E2BIG },
		{ { 2, 0, 0, 0, 'a', 0 }, 6, -EPROTO },
		{ { 2, 0, 0 }, 3, -ENODATA },
		{ { 0 }, 0, -ENODATA },
	};
	struct state_reader r;
	char text[4];

	(void)state;
	for (size_t i = 0; i < sizeof(strings) / sizeof(*strings); i++) {
		state_reader_init(&r, strings[i].data, strings[i].len);
		state_get_string(&r, text, sizeof(text));
		assert_int_equal(state_reader_error(&r), strings[i].error);
		assert_string_equal(text, strings[i].error ? "" : "ab");
	}
	state_reader_init(&r, "\2", 1);
	assert_false(state_get_bool(&r));
	assert_int_equal(state_reader_error(&r), -EPROTO);
}

static void test_state_finish_leftover_refused(void **state)
{
	struct state_reader r;

	(void)state;
	state_reader_init(&r, "\1\2", 2);
	state_get_u8(&r);
	assert_int_equal(state_reader_error(&r), 0);
	assert_int_equal(state_reader_finish(&r), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_state_put_is_little_endian_without_padding),
		cmocka_unit_test(test_state_get_reads_back_what_was_put),
		cmocka_unit_test(test_state_get_past_end_sticks),
		cmocka_unit_test(test_state_get_hostile_values_refused),
		cmocka_unit_test(test_state_finish_leftover_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
