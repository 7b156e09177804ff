/* SPDX-License-Identifier: MIT */
/* LINK: platform/rtc bus error state */
/* The real-time clock over a clock that stands where the test puts it. */
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "platform/rtc.h"

#define PORT 0x70
#define SET 0x80

struct fixture {
	pthread_mutex_t lock;
	struct bus *pio;
	struct rtc *r;
	struct timespec now;
};

static void test_clock(void *opaque, struct timespec *now)
{
	*now = ((struct fixture *)opaque)->now;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	pthread_mutex_init(&f->lock, NULL);
	/* Wednesday, 2024-07-31 22:58:59 UTC */
	f->now = (struct timespec){ 1722466739, 0 };
	*state = f;
	return bus_create(&f->pio, &f->lock) ||
	       rtc_create(&f->r, f->pio, PORT, test_clock, f, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rtc_destroy(f->r);
	bus_destroy(f->pio);
	free(f);
	return 0;
}

static uint8_t get(struct fixture *f, uint8_t reg)
{
	uint8_t v;

	bus_write(f->pio, PORT, &reg, 1);
	bus_read(f->pio, PORT + 1, &v, 1);
	return v;
}

static void set(struct fixture *f, uint8_t reg, uint8_t value)
{
	bus_write(f->pio, PORT, &reg, 1);
	bus_write(f->pio, PORT + 1, &value, 1);
}

/* Seconds, minutes, hours, weekday, day, month, year, century. */
static const uint8_t time_regs[] = { 0, 2, 4, 6, 7, 8, 9, 0x32 };

static void expect_time(struct fixture *f, const uint8_t want[8])
{
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(get(f, time_regs[i]), want[i]);
}

static void test_rtc_time_reads_in_every_format(void **state)
{
	static const struct {
		uint8_t b;
		time_t now;
		uint8_t want[8];
	} rows[] = {
		{ 0x02, 1722466739, { 0x59, 0x58, 0x22, 4, 0x31, 7, 0x24, 0x20 } },
		{ 0x06, 1722466739, { 59, 58, 22, 4, 31, 7, 24, 20 } },
		{ 0x00, 1722466739, { 0x59, 0x58, 0x90, 4, 0x31, 7, 0x24, 0x20 } },
		{ 0x04, 1722466739, { 59, 58, 0x8a, 4, 31, 7, 24, 20 } },
		/* Midnight and noon in twelve hours. */
		{ 0x00, 0, { 0, 0, 0x12, 5, 1, 1, 0x70, 0x19 } },
		{ 0x00, 43200, { 0, 0, 0x92, 5, 1, 1, 0x70, 0x19 } },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		f->now.tv_sec = rows[i].now;
		set(f, 0x0b, rows[i].b);
		expect_time(f, rows[i].want);
	}
}

static void test_rtc_default_format_is_bcd_24h(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(get(f, 0x0a), 0x26);
	assert_int_equal(get(f, 0x0b), 0x02);
	assert_int_equal(get(f, 0x0c), 0);
	assert_int_equal(get(f, 0x0d), 0x80);
}

/* As Linux's mc146818_set_time(). */
static void test_rtc_set_time_goes_on_from_there(void **state)
{
	static const uint8_t leap[8] = { 0x58, 0x59, 0x23, 0, 0x28, 2, 0, 0x20 };
	static const uint8_t after[8] = { 1, 0, 0, 3, 0x29, 2, 0, 0x20 };
	struct fixture *f = *state;

	set(f, 0x0b, SET | 0x02);
	for (size_t i = 0; i < 8; i++)
		set(f, time_regs[i], leap[i]);
	f->now.tv_sec += 10;	/* stopped meanwhile */
	expect_time(f, leap);
	set(f, 0x0b, 0x02);
	f->now.tv_sec += 3;
	expect_time(f, after);
}

static void test_rtc_one_register_may_be_set_while_running(void **state)
{
	struct fixture *f = *state;

	set(f, 4, 0x07);
	assert_int_equal(get(f, 4), 0x07);
	assert_int_equal(get(f, 2), 0x58);
	f->now.tv_sec += 3600;
	assert_int_equal(get(f, 4), 0x08);
}

static void test_rtc_any_register_values_are_survived(void **state)
{
	struct fixture *f = *state;
	static const uint8_t formats[] = { 0x00, 0x02, 0x04, 0x06 };

	for (size_t b = 0; b < sizeof(formats); b++)
		for (int v = 0; v < 256; v++) {
			set(f, 0x0b, SET | formats[b]);
			for (size_t i = 0; i < 8; i++)
				set(f, time_regs[i], (uint8_t)v);
			set(f, 0x0b, formats[b]);
			for (size_t i = 0; i < 8; i++)
				get(f, time_regs[i]);
		}
	for (int reg = 0; reg < 256; reg++)
		for (int v = 0; v < 256; v++) {
			set(f, (uint8_t)reg, (uint8_t)v);
			get(f, (uint8_t)reg);
		}
}

static void test_rtc_update_in_progress_precedes_the_second(void **state)
{
	struct fixture *f = *state;

	f->now.tv_nsec = 999755999;
	assert_int_equal(get(f, 0x0a) & 0x80, 0);
	f->now.tv_nsec = 999756000;
	assert_int_equal(get(f, 0x0a) & 0x80, 0x80);
	set(f, 0x0b, SET | 0x02);
	assert_int_equal(get(f, 0x0a) & 0x80, 0);
}

static void test_rtc_memory_is_kept_and_index_masked(void **state)
{
	struct fixture *f = *state;
	uint8_t v;

	set(f, 0x0e, 0x5a);
	set(f, 0x7f, 0xa5);
	rtc_reset(f->r);
	assert_int_equal(get(f, 0x0e), 0x5a);
	assert_int_equal(get(f, 0x80 | 0x7f), 0xa5);	/* NMI mask bit */
	set(f, 0x0d, 0);
	assert_int_equal(get(f, 0x0d), 0x80);
	bus_read(f->pio, PORT, &v, 1);
	assert_int_equal(v, 0xff);
}

static void test_rtc_reset_turns_interrupts_off(void **state)
{
	struct fixture *f = *state;

	set(f, 0x0b, 0x72);
	rtc_reset(f->r);
	assert_int_equal(get(f, 0x0b), 0x02);
}

static void test_rtc_load_keeps_the_offset(void **state)
{
	struct fixture *f = *state;
	struct state_writer w = STATE_WRITER_INIT;
	struct state_reader r;

	set(f, 9, 0x30);
	set(f, 0x20, 0x77);
	rtc_save(f->r, &w);
	set(f, 9, 0x40);
	set(f, 0x20, 0);
	f->now.tv_sec += 86400;
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(rtc_load(f->r, &r), 0);
	assert_int_equal(state_reader_finish(&r), 0);
	assert_int_equal(get(f, 9), 0x30);
	assert_int_equal(get(f, 7), 0x01);
	assert_int_equal(get(f, 0x20), 0x77);
	for (size_t len = 0; len < w.len_bytes; len++) {
		state_reader_init(&r, w.data, len);
		assert_true(rtc_load(f->r, &r) < 0);
	}
	w.data[0] = 0x80;	/* index */
	state_reader_init(&r, w.data, w.len_bytes);
	assert_true(rtc_load(f->r, &r) < 0);
	/* An offset beyond all time. */
	w.data[0] = 0;
	memset(w.data + w.len_bytes - 8, 0xff, 8);
	w.data[w.len_bytes - 1] = 0x7f;
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(rtc_load(f->r, &r), 0);
	get(f, 0);
	set(f, 0, 1);
	state_writer_deinit(&w);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_rtc_time_reads_in_every_format),
		T(test_rtc_default_format_is_bcd_24h),
		T(test_rtc_set_time_goes_on_from_there),
		T(test_rtc_one_register_may_be_set_while_running),
		T(test_rtc_any_register_values_are_survived),
		T(test_rtc_update_in_progress_precedes_the_second),
		T(test_rtc_memory_is_kept_and_index_masked),
		T(test_rtc_reset_turns_interrupts_off),
		T(test_rtc_load_keeps_the_offset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
