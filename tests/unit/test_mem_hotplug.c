/* SPDX-License-Identifier: MIT */
/* LINK: platform/ged platform/mem_hotplug error bus irq loop state pci/root pci/config pci/function pci/bar pci/msix pci/intx pci/host_bridge */
/* WITH: pci_fixture */
/* The DIMM hot-plug registers, as the DSDT uses them. */
#include "pci_fixture.h"

#include <stdlib.h>

#include "platform/mem_hotplug.h"

#define GED	0xfed00000ull
#define HOTPLUG	0xfed00300ull
#define NEWS	(HOTPLUG + 0x00)
#define SELECT	(HOTPLUG + 0x04)
#define PRESENT	(HOTPLUG + 0x08)
#define EJECT	(HOTPLUG + 0x0c)
#define BASE	(HOTPLUG + 0x10)
#define LENGTH	(HOTPLUG + 0x18)
#define SOURCE	(HOTPLUG + 0x20)
#define STATUS	(HOTPLUG + 0x24)
#define GSI	18u
#define NONE	0xffffffffu

struct fixture {
	struct pci_fixture m;
	struct ged *ged;
	struct mem_hotplug *h;
	unsigned int ejections, reports, slot;
	uint32_t source, status;
};

static void ejected(void *opaque, unsigned int slot)
{
	struct fixture *f = opaque;

	f->ejections++;
	f->slot = slot;
}

static void reported(void *opaque, unsigned int slot, uint32_t source,
		     uint32_t status)
{
	struct fixture *f = opaque;

	f->reports++;
	f->slot = slot;
	f->source = source;
	f->status = status;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct mem_hotplug_owner owner = { ejected, reported, f };
	struct error e;

	pci_fixture_init(&f->m);
	assert_int_equal(ged_create(&f->ged, f->m.mmio, GED, f->m.irq, GSI,
				    f->m.loop, &e), 0);
	assert_int_equal(mem_hotplug_create(&f->h, f->m.mmio, HOTPLUG, f->ged,
					    &owner, &e), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	mem_hotplug_destroy(f->h);
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

static void test_dimm_news_is_taken_one_by_one(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(get(f, NEWS), NONE);
	mem_hotplug_added(f->h, 255, 4ull << 30, 128 << 20);
	mem_hotplug_added(f->h, 1, 5ull << 30, 128 << 20);
	mem_hotplug_request(f->h, 1);
	assert_int_equal(get(f, GED), GED_MEM_HOTPLUG);
	assert_int_equal(get(f, NEWS), 3 << 8 | 1);
	assert_int_equal(get(f, NEWS), 1 << 8 | 255);
	assert_int_equal(get(f, NEWS), NONE);
	/* What has gone meanwhile is no news, and after a reset nothing is. */
	mem_hotplug_request(f->h, 1);
	mem_hotplug_gone(f->h, 1);
	assert_false(mem_hotplug_present(f->h, 1));
	mem_hotplug_request(f->h, 255);
	mem_hotplug_reset(f->h);
	assert_int_equal(get(f, NEWS), NONE);
	assert_true(mem_hotplug_present(f->h, 255));
}

static void test_dimm_is_described(void **state)
{
	struct fixture *f = *state;

	mem_hotplug_added(f->h, 7, 0x123456780000000ull, 0x38000000ull << 8);
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

static void test_dimm_words_of_the_guest(void **state)
{
	struct fixture *f = *state;

	put(f, EJECT, 256);
	put(f, EJECT, NONE);
	assert_int_equal(f->ejections, 0);
	put(f, EJECT, 255);
	assert_int_equal(f->ejections, 1);
	assert_int_equal(f->slot, 255);
	put(f, SELECT, 3);
	put(f, SOURCE, 0x103);
	assert_int_equal(f->reports, 0);
	put(f, STATUS, 0x82);
	assert_int_equal(f->reports, 1);
	assert_int_equal(f->slot, 3);
	assert_int_equal(f->source, 0x103);
	assert_int_equal(f->status, 0x82);
	put(f, SELECT, 256);
	put(f, STATUS, 0);
	assert_int_equal(f->reports, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_dimm_news_is_taken_one_by_one),
		T(test_dimm_is_described),
		T(test_dimm_words_of_the_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
