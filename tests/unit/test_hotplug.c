/* SPDX-License-Identifier: MIT */
/* LINK: platform/ged platform/registers platform/hotplug error bus irq loop state pci/root pci/config pci/function pci/bar pci/msix pci/intx pci/host_bridge */
/* WITH: pci_fixture */
/* The hot-plug registers of vCPUs and DIMMs, as the DSDT uses them. */
#include "pci_fixture.h"

#include <errno.h>
#include <stdlib.h>

#include "platform/hotplug.h"
#include "state.h"

#define GED	0xfed00000ull
#define HOTPLUG	0xfed00200ull
#define NEWS	(HOTPLUG + 0x00)
#define SELECT	(HOTPLUG + 0x04)
#define PRESENT	(HOTPLUG + 0x08)
#define EJECT	(HOTPLUG + 0x0c)
#define BASE	(HOTPLUG + 0x10)
#define LENGTH	(HOTPLUG + 0x18)
#define GSI	18u
#define NONE	0xffffffffu

struct fixture {
	struct pci_fixture m;
	struct ged *ged;
	struct hotplug *h;
	unsigned int ejections, reports, unit;
	uint32_t source, status;
};

static void ejected(void *opaque, unsigned int unit)
{
	struct fixture *f = opaque;

	f->ejections++;
	f->unit = unit;
}

static void reported(void *opaque, unsigned int unit, uint32_t source,
		     uint32_t status)
{
	struct fixture *f = opaque;

	f->reports++;
	f->unit = unit;
	f->source = source;
	f->status = status;
}

static int setup(void **state, enum hotplug_kind kind, unsigned int present)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct hotplug_owner owner = { ejected, reported, f };
	struct error e;

	pci_fixture_init(&f->m);
	assert_int_equal(ged_create(&f->ged, f->m.mmio, GED, f->m.irq, GSI,
				    f->m.loop, &e), 0);
	assert_int_equal(hotplug_create(&f->h, kind, f->m.mmio, HOTPLUG, f->ged,
					present, &owner, &e), 0);
	*state = f;
	return 0;
}

static int setup_cpus(void **state)
{
	return setup(state, HOTPLUG_CPUS, 2);
}

static int setup_dimms(void **state)
{
	return setup(state, HOTPLUG_DIMMS, 0);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hotplug_destroy(f->h);
	ged_destroy(f->ged);
	pci_fixture_deinit(&f->m);
	free(f);
	return 0;
}

static uint32_t get(struct fixture *f, uint64_t at)
{
	return (uint32_t)mmio_get(&f->m, at, 4);
}

static void put(struct fixture *f, uint64_t at, uint32_t value)
{
	mmio_put(&f->m, at, 4, value);
}

static uint32_t present(struct fixture *f, uint32_t unit)
{
	put(f, SELECT, unit);
	return get(f, PRESENT);
}

/* ---- both ---------------------------------------------------------------- */

static void news_is_taken_one_by_one(struct fixture *f, uint32_t event)
{
	assert_int_equal(get(f, NEWS), NONE);
	hotplug_added(f->h, 255, 4ull << 30, 128 << 20);
	hotplug_added(f->h, 1, 5ull << 30, 128 << 20);
	hotplug_request(f->h, 1);
	assert_int_equal(get(f, GED), event);
	assert_int_equal(get(f, NEWS), 3 << 8 | 1);
	assert_int_equal(get(f, NEWS), 1 << 8 | 255);
	assert_int_equal(get(f, NEWS), NONE);
	/* What has gone meanwhile is no news, and after a reset nothing is. */
	hotplug_request(f->h, 1);
	hotplug_gone(f->h, 1);
	assert_false(hotplug_present(f->h, 1));
	hotplug_request(f->h, 255);
	hotplug_reset(f->h);
	assert_int_equal(get(f, NEWS), NONE);
	assert_true(hotplug_present(f->h, 255));
}

/* What the guest says, at the last two registers, about units that can be. */
static void words_of_the_guest(struct fixture *f, uint64_t source)
{
	put(f, EJECT, 256);
	put(f, EJECT, NONE);
	/* Other widths and places are nothing. */
	mmio_put(&f->m, EJECT, 2, 1);
	put(f, PRESENT, 1);
	assert_int_equal(mmio_get(&f->m, NEWS, 2), 0);
	assert_int_equal(f->ejections, 0);
	put(f, EJECT, 255);
	assert_int_equal(f->ejections, 1);
	assert_int_equal(f->unit, 255);
	put(f, SELECT, 3);
	put(f, source, 0x103);
	assert_int_equal(f->reports, 0);
	put(f, source + 4, 0x82);
	assert_int_equal(f->reports, 1);
	assert_int_equal(f->unit, 3);
	assert_int_equal(f->source, 0x103);
	assert_int_equal(f->status, 0x82);
	assert_int_equal(get(f, source), 0);
	put(f, SELECT, 256);
	put(f, source + 4, 0);
	assert_int_equal(f->reports, 1);
	/* There is nothing behind them. */
	assert_int_equal(get(f, source + 8), NONE);
}

/* ---- vCPUs ---------------------------------------------------------------- */

static void test_cpu_news_is_taken_one_by_one(void **state)
{
	news_is_taken_one_by_one(*state, GED_CPU_HOTPLUG);
}

static void test_cpu_words_of_the_guest(void **state)
{
	words_of_the_guest(*state, HOTPLUG + 0x10);
}

static void test_cpu_presence(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(present(f, 0), 1);
	assert_int_equal(present(f, 1), 1);
	assert_int_equal(present(f, 2), 0);
	assert_int_equal(present(f, 255), 0);
	assert_int_equal(present(f, 256), 0);
	assert_int_equal(present(f, NONE), 0);
	hotplug_gone(f->h, 1);
	assert_int_equal(present(f, 1), 0);
}

/* Loaded into registers that know of other vCPUs. */
static void test_cpu_registers_come_back(void **state)
{
	struct fixture *f = *state;
	struct state_writer w = STATE_WRITER_INIT;
	struct state_reader r;

	hotplug_added(f->h, 7, 0, 0);
	put(f, SELECT, 7);
	hotplug_save(f->h, &w);
	hotplug_gone(f->h, 7);
	put(f, SELECT, 0);
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(hotplug_load(f->h, &r), 0);
	assert_int_equal(state_reader_finish(&r), 0);
	assert_int_equal(get(f, PRESENT), 1);
	assert_int_equal(get(f, NEWS), 1 << 8 | 7);
	assert_int_equal(get(f, NEWS), NONE);
	/* The news of the last is none that there is. */
	w.data[w.len_bytes - 1] = 2;
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(hotplug_load(f->h, &r), -EPROTO);
	state_writer_deinit(&w);
}

/* ---- DIMMs ----------------------------------------------------------------- */

static void test_dimm_news_is_taken_one_by_one(void **state)
{
	news_is_taken_one_by_one(*state, GED_MEM_HOTPLUG);
}

static void test_dimm_words_of_the_guest(void **state)
{
	words_of_the_guest(*state, HOTPLUG + 0x20);
}

static void test_dimm_is_described(void **state)
{
	struct fixture *f = *state;

	hotplug_added(f->h, 7, 0x123456780000000ull, 0x38000000ull << 8);
	put(f, SELECT, 7);
	assert_int_equal(get(f, PRESENT), 1);
	assert_int_equal(get(f, BASE), 0x80000000);
	assert_int_equal(get(f, BASE + 4), 0x1234567);
	assert_int_equal(get(f, LENGTH), 0);
	assert_int_equal(get(f, LENGTH + 4), 0x38);
	put(f, SELECT, 8);
	assert_int_equal(get(f, PRESENT), 0);
	assert_int_equal(get(f, BASE), 0);
	/* There is no such slot. */
	put(f, SELECT, NONE);
	assert_int_equal(get(f, PRESENT), 0);
	assert_int_equal(get(f, LENGTH), 0);
	/* Other widths are nothing. */
	put(f, SELECT, 7);
	assert_int_equal(mmio_get(&f->m, PRESENT, 2), 0);
}

/* Those who plug them again say which there are. */
static void test_dimm_registers_come_back(void **state)
{
	struct fixture *f = *state;
	struct state_writer w = STATE_WRITER_INIT;
	struct state_reader r;

	hotplug_added(f->h, 7, 4ull << 30, 128 << 20);
	put(f, SELECT, 7);
	hotplug_save(f->h, &w);
	hotplug_gone(f->h, 7);
	put(f, SELECT, 0);
	assert_false(hotplug_looked(f->h, 7));
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(hotplug_load(f->h, &r), 0);
	assert_int_equal(state_reader_finish(&r), 0);
	assert_int_equal(get(f, PRESENT), 0);
	assert_true(hotplug_looked(f->h, 7));
	assert_int_equal(get(f, NEWS), 1 << 8 | 7);
	state_writer_deinit(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CPUS(name) cmocka_unit_test_setup_teardown(name, setup_cpus, teardown)
#define DIMMS(name) cmocka_unit_test_setup_teardown(name, setup_dimms, teardown)
		CPUS(test_cpu_news_is_taken_one_by_one),
		CPUS(test_cpu_words_of_the_guest),
		CPUS(test_cpu_presence),
		CPUS(test_cpu_registers_come_back),
		DIMMS(test_dimm_news_is_taken_one_by_one),
		DIMMS(test_dimm_words_of_the_guest),
		DIMMS(test_dimm_is_described),
		DIMMS(test_dimm_registers_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
