/* SPDX-License-Identifier: MIT */
/* LINK: state platform/reset platform/pvpanic bus error */
/* The ports by which a guest ends or restarts itself. */
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "layout_x86.h"
#include "platform/pvpanic.h"
#include "platform/reset.h"

#define NOTHING 99

struct fixture {
	pthread_mutex_t lock;
	struct bus *pio;
	struct reset_dev *reset;
	struct pvpanic *pvpanic;
	int count;
	int last;
	uint8_t value;
};

static void on_request(void *opaque, enum platform_request r, uint8_t value)
{
	struct fixture *f = opaque;

	f->count++;
	f->last = (int)r;
	f->value = value;
}

static int make(void **state, bool exit_port)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct platform_owner owner = { on_request, f };

	pthread_mutex_init(&f->lock, NULL);
	*state = f;
	return bus_create(&f->pio, &f->lock) ||
	       reset_create(&f->reset, f->pio, &owner, exit_port, NULL) ||
	       pvpanic_create(&f->pvpanic, f->pio, LAYOUT_PORT_PVPANIC, &owner,
			      NULL);
}

static int setup(void **state)
{
	return make(state, true);
}

static int setup_without_exit_port(void **state)
{
	return make(state, false);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pvpanic_destroy(f->pvpanic);
	reset_destroy(f->reset);
	bus_destroy(f->pio);
	free(f);
	return 0;
}

static uint8_t in(struct fixture *f, uint64_t port)
{
	uint8_t v = 0xee;

	bus_read(f->pio, port, &v, 1);
	return v;
}

static void test_platform_writes_become_requests(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint64_t port;
		uint8_t value;
		int request;
	} rows[] = {
		{ 0x64, 0xfe, PLATFORM_RESET },
		{ 0x64, 0xaa, NOTHING },
		{ 0x64, 0xff, NOTHING },
		{ 0x60, 0xfe, NOTHING },
		{ 0x61, 0xff, NOTHING },
		{ 0x600, 0x34, PLATFORM_POWEROFF },
		{ 0x600, 0x14, NOTHING },	/* S5 without SLP_EN */
		{ 0x600, 0x2c, NOTHING },	/* S3 */
		{ 0x600, 0x20, NOTHING },	/* S0 */
		{ 0x600, 0xff, NOTHING },	/* type 7 */
		{ 0x601, 0x34, NOTHING },	/* status */
		{ 0xf4, 0, PLATFORM_EXIT_PORT },
		{ 0xf4, 200, PLATFORM_EXIT_PORT },
		{ 0xf5, 1, NOTHING },
		{ 0x505, 1, PLATFORM_PANICKED },
		{ 0x505, 2, PLATFORM_CRASH_LOADED },
		{ 0x505, 0xfc, NOTHING },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		f->last = NOTHING;
		assert_true(bus_write(f->pio, rows[i].port, &rows[i].value, 1));
		assert_int_equal(f->last, rows[i].request);
		if (f->last != NOTHING)
			assert_int_equal(f->value, rows[i].value);
	}
}

static void test_platform_status_ports_read_as_idle(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(in(f, 0x64), 0);
	assert_int_equal(in(f, 0x60), 0);
	assert_int_equal(in(f, 0x600), 0);
	assert_int_equal(in(f, 0x601), 0);
	assert_int_equal(in(f, 0x505), 3);
	assert_int_equal(in(f, 0xf4), 0xff);
}

static void test_platform_port_b_toggles_and_has_no_errors(void **state)
{
	struct fixture *f = *state;
	uint8_t v = 0xff, first, second;

	bus_write(f->pio, 0x61, &v, 1);
	first = in(f, 0x61);
	second = in(f, 0x61);
	assert_int_equal((first ^ second) & 0x10, 0x10);
	assert_int_equal(first & 0xef, 0x2f);
	reset_reset(f->reset);
	assert_int_equal(in(f, 0x61) & 0x0f, 0);
}

static void test_reset_cf9_resets_on_bit_2(void **state)
{
	struct fixture *f = *state;

	reset_cf9_write(f->reset, 0x02);
	assert_int_equal(f->count, 0);
	assert_int_equal(reset_cf9_read(f->reset), 0x02);
	reset_cf9_write(f->reset, 0x0e);
	assert_int_equal(f->count, 1);
	assert_int_equal(f->last, PLATFORM_RESET);
	assert_int_equal(reset_cf9_read(f->reset), 0x0a);
	reset_cf9_write(f->reset, 0x06);
	assert_int_equal(f->count, 2);
	reset_reset(f->reset);
	assert_int_equal(reset_cf9_read(f->reset), 0);
}

static void test_reset_exit_port_takes_wide_writes(void **state)
{
	struct fixture *f = *state;
	uint8_t wide[4] = { 7, 1, 2, 3 };

	assert_true(bus_write(f->pio, 0xf4, wide, 4));
	assert_int_equal(f->count, 1);
	assert_int_equal(f->value, 7);
}

static void test_reset_exit_port_is_absent_unless_asked_for(void **state)
{
	struct fixture *f = *state;
	uint8_t v = 1;

	assert_false(bus_write(f->pio, 0xf4, &v, 1));
	assert_int_equal(f->count, 0);
}

static void test_reset_create_taken_port_names_it(void **state)
{
	struct fixture *f = *state;
	struct platform_owner owner = { on_request, f };
	struct reset_dev *other;
	struct error e;

	assert_true(reset_create(&other, f->pio, &owner, true, &e) < 0);
	assert_non_null(strstr(e.text, "0x60"));
	/* What the first has is untouched. */
	assert_int_equal(in(f, 0x64), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_platform_writes_become_requests),
		T(test_platform_status_ports_read_as_idle),
		T(test_platform_port_b_toggles_and_has_no_errors),
		T(test_reset_cf9_resets_on_bit_2),
		T(test_reset_exit_port_takes_wide_writes),
		cmocka_unit_test_setup_teardown(
			test_reset_exit_port_is_absent_unless_asked_for,
			setup_without_exit_port, teardown),
		T(test_reset_create_taken_port_names_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
