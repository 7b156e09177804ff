/* SPDX-License-Identifier: MIT */
/* LINK: bus */
/* Bus dispatch: borders, overlaps, changes from inside a callback. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus.h"

struct device {
	struct bus *bus;
	struct bus_range range;
	uint64_t last_offset, last_value;
	unsigned int last_len;
	struct bus_range *remove_on_write;
};

static void dev_read(void *opaque, uint64_t offset, uint8_t *data,
		     unsigned int len)
{
	struct device *d = opaque;

	d->last_offset = offset;
	d->last_len = len;
	bus_put_le(data, len, 0x1122334455667788ull);
}

static void dev_write(void *opaque, uint64_t offset, const uint8_t *data,
		      unsigned int len)
{
	struct device *d = opaque;

	d->last_offset = offset;
	d->last_value = bus_get_le(data, len);
	if (d->remove_on_write)
		bus_remove(d->bus, d->remove_on_write);
}

static const struct bus_ops ops = { dev_read, dev_write };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct device make(struct bus *b, uint64_t base, uint64_t len)
{
	return (struct device){
		.bus = b,
		.range = { .base = base, .len_bytes = len, .ops = &ops },
	};
}

static void test_bus_access_border_table(void **state)
{
	static const struct {
		uint64_t addr;
		unsigned int len;
		bool hit;
	} table[] = {
		{ 0x100, 1, true },  { 0x107, 1, true },  { 0x104, 4, true },
		{ 0x105, 4, false }, { 0x108, 1, false }, { 0xff, 1, false },
		{ 0xff, 2, false },  { 0x100, 8, true },  { UINT64_MAX, 8, false },
	};
	struct bus *b;
	struct device d;
	uint8_t data[8];

	(void)state;
	assert_int_equal(bus_create(&b, &lock), 0);
	d = make(b, 0x100, 8);
	d.range.opaque = &d;
	assert_int_equal(bus_add(b, &d.range), 0);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		memset(data, 0, sizeof(data));
		assert_int_equal(bus_read(b, table[i].addr, data, table[i].len),
				 table[i].hit);
		assert_int_equal(data[0], table[i].hit ? 0x88 : 0xff);
		assert_int_equal(bus_write(b, table[i].addr, data,
					   table[i].len), table[i].hit);
	}
	bus_remove(b, &d.range);
	assert_false(bus_read(b, 0x100, data, 1));
	bus_destroy(b);
}

static void test_bus_add_overlap_is_refused(void **state)
{
	struct bus *b;
	struct device a, c;

	(void)state;
	assert_int_equal(bus_create(&b, &lock), 0);
	a = make(b, 0x100, 0x10);
	assert_int_equal(bus_add(b, &a.range), 0);
	assert_int_equal(bus_add(b, &a.range), -EINVAL);
	c = make(b, 0x10f, 1);
	assert_int_equal(bus_add(b, &c.range), -EEXIST);
	c = make(b, 0xff, 2);
	assert_int_equal(bus_add(b, &c.range), -EEXIST);
	c = make(b, 0, 0x1000);
	assert_int_equal(bus_add(b, &c.range), -EEXIST);
	c = make(b, UINT64_MAX, 2);
	assert_int_equal(bus_add(b, &c.range), -EINVAL);
	c = make(b, 5, 0);
	assert_int_equal(bus_add(b, &c.range), -EINVAL);
	c = make(b, UINT64_MAX, 1);
	assert_int_equal(bus_add(b, &c.range), 0);
	bus_destroy(b);
}

static void test_bus_many_ranges_are_found(void **state)
{
	enum { N = 300 };
	struct device *d = calloc(N, sizeof(*d));
	struct bus *b;
	uint8_t byte = 0;

	(void)state;
	assert_int_equal(bus_create(&b, &lock), 0);
	for (unsigned int i = 0; i < N; i++) {	/* not in address order */
		unsigned int n = i * 7 % N;

		d[n] = make(b, n * 16ull, 8);
		d[n].range.opaque = &d[n];
		assert_int_equal(bus_add(b, &d[n].range), 0);
	}
	for (unsigned int i = 0; i < N; i++) {
		assert_true(bus_write(b, i * 16ull + 7, &byte, 1));
		assert_int_equal(d[i].last_offset, 7);
		assert_false(bus_write(b, i * 16ull + 8, &byte, 1));
	}
	bus_destroy(b);
	free(d);
}

static void test_bus_callback_may_remove_ranges(void **state)
{
	struct bus *b;
	struct device a, c;
	uint8_t byte = 1;

	(void)state;
	assert_int_equal(bus_create(&b, &lock), 0);
	a = make(b, 0, 4);
	c = make(b, 8, 4);
	a.range.opaque = &a;
	c.range.opaque = &c;
	a.remove_on_write = &c.range;
	assert_int_equal(bus_add(b, &a.range), 0);
	assert_int_equal(bus_add(b, &c.range), 0);
	assert_true(bus_write(b, 0, &byte, 1));
	assert_false(bus_write(b, 8, &byte, 1));
	a.remove_on_write = &a.range;
	assert_true(bus_write(b, 0, &byte, 1));
	assert_false(bus_write(b, 0, &byte, 1));
	bus_destroy(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bus_access_border_table),
		cmocka_unit_test(test_bus_add_overlap_is_refused),
		cmocka_unit_test(test_bus_many_ranges_are_found),
		cmocka_unit_test(test_bus_callback_may_remove_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
