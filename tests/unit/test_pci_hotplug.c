/* SPDX-License-Identifier: MIT */
/* LINK: platform/ged platform/registers platform/pci_hotplug error bus irq loop pci/root pci/config pci/function pci/bar pci/msix pci/intx pci/host_bridge pci/state state */
/* WITH: pci_fixture */
/* The event device and the PCI hot-plug registers, as the DSDT uses them. */
#include "pci_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "platform/ged.h"
#include "platform/pci_hotplug.h"

#define GED	0xfed00000ull
#define HOTPLUG	0xfed00100ull
#define BUSES	(HOTPLUG + 0x00)
#define SELECT	(HOTPLUG + 0x04)
#define ADDED	(HOTPLUG + 0x08)
#define REMOVE	(HOTPLUG + 0x0c)
#define EJECT	(HOTPLUG + 0x10)
#define GSI	18u

struct fixture {
	struct pci_fixture m;
	struct ged *ged;
	struct pci_hotplug *h;
	unsigned int ejections;
	unsigned int bus, slot;
};

static void ejected(void *opaque, unsigned int bus, unsigned int slot)
{
	struct fixture *f = opaque;

	f->ejections++;
	f->bus = bus;
	f->slot = slot;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct pci_hotplug_owner owner = { ejected, f };
	struct error e;

	pci_fixture_init(&f->m);
	assert_int_equal(ged_create(&f->ged, f->m.mmio, GED, f->m.irq, GSI,
				    f->m.loop, &e), 0);
	assert_int_equal(pci_hotplug_create(&f->h, f->m.mmio, HOTPLUG, f->ged,
					    &owner, &e), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pci_hotplug_destroy(f->h);
	ged_destroy(f->ged);
	pci_fixture_deinit(&f->m);
	free(f);
	return 0;
}

static uint32_t get(struct fixture *f, uint64_t at)
{
	return (uint32_t)mmio_get(&f->m, at, 4);
}

static void test_ged_event_is_read_once(void **state)
{
	struct fixture *f = *state;

	ged_raise(f->ged, GED_POWER_BUTTON);
	ged_raise(f->ged, GED_PCI_HOTPLUG);
	assert_int_equal(take_interrupts(GSI), 2);
	assert_int_equal(get(f, GED), GED_POWER_BUTTON | GED_PCI_HOTPLUG);
	assert_int_equal(get(f, GED), 0);
}

static void test_ged_line_stays_up_until_events_are_read(void **state)
{
	struct fixture *f = *state;

	ged_raise(f->ged, GED_POWER_BUTTON);
	assert_int_equal(take_interrupts(GSI), 1);
	end_of_interrupt(GSI);
	run_loop(f->m.loop);
	assert_int_equal(take_interrupts(GSI), 1);
	assert_int_equal(get(f, GED), GED_POWER_BUTTON);
	end_of_interrupt(GSI);
	run_loop(f->m.loop);
	assert_int_equal(take_interrupts(GSI), 0);
}

static void test_hotplug_says_what_came_and_what_is_to_go(void **state)
{
	struct fixture *f = *state;

	pci_hotplug_added(f->h, 0, 3);
	pci_hotplug_added(f->h, 15, 31);
	pci_hotplug_request(f->h, 15, 1);
	assert_int_equal(get(f, GED), GED_PCI_HOTPLUG);
	assert_int_equal(get(f, BUSES), 1u << 15 | 1);
	assert_int_equal(get(f, BUSES), 0);
	mmio_put(&f->m, SELECT, 4, 15);
	assert_int_equal(get(f, ADDED), 1u << 31);
	assert_int_equal(get(f, ADDED), 0);
	assert_int_equal(get(f, REMOVE), 1u << 1);
	assert_int_equal(get(f, REMOVE), 0);
	mmio_put(&f->m, SELECT, 4, 0);
	assert_int_equal(get(f, ADDED), 1u << 3);
	assert_int_equal(get(f, REMOVE), 0);
	/* Asked again, told again. */
	pci_hotplug_request(f->h, 15, 1);
	assert_int_equal(get(f, BUSES), 1u << 15);
}

static void test_hotplug_forgets_what_is_gone(void **state)
{
	struct fixture *f = *state;

	pci_hotplug_added(f->h, 2, 3);
	pci_hotplug_added(f->h, 2, 4);
	pci_hotplug_request(f->h, 2, 3);
	pci_hotplug_gone(f->h, 2, 3);
	mmio_put(&f->m, SELECT, 4, 2);
	assert_int_equal(get(f, ADDED), 1u << 4);
	assert_int_equal(get(f, REMOVE), 0);
	pci_hotplug_added(f->h, 2, 5);
	pci_hotplug_reset(f->h);
	assert_int_equal(get(f, BUSES), 0);
	mmio_put(&f->m, SELECT, 4, 2);
	assert_int_equal(get(f, ADDED), 0);
}

static void test_hotplug_passes_ejections_on(void **state)
{
	struct fixture *f = *state;

	mmio_put(&f->m, EJECT, 4, 0x0f1f);
	assert_int_equal(f->ejections, 1);
	assert_int_equal(f->bus, 15);
	assert_int_equal(f->slot, 31);
	mmio_put(&f->m, EJECT, 4, 0xffffffff);
	assert_int_equal(f->ejections, 2);
	assert_int_equal(f->bus, 0xffffff);
	assert_int_equal(f->slot, 0xff);
}

static void test_hotplug_survives_any_access(void **state)
{
	struct fixture *f = *state;

	pci_hotplug_added(f->h, 0, 3);
	for (uint32_t i = 0; i < 0x1000; i++) {
		mmio_put(&f->m, SELECT, 4, i << 20 | 16);
		assert_int_equal(get(f, ADDED), 0);
		assert_int_equal(get(f, REMOVE), 0);
	}
	for (uint64_t at = 0; at + 8 <= 0x14; at++) {
		for (unsigned int len = 1; len <= 8; len++) {
			if (len == 4)
				continue;
			assert_int_equal(mmio_get(&f->m, HOTPLUG + at, len), 0);
			mmio_put(&f->m, HOTPLUG + at, len, ~0ull);
		}
	}
	assert_int_equal(f->ejections, 0);
	assert_int_equal(get(f, BUSES), 1);
}

static void test_pci_hidden_function_answers_no_more(void **state)
{
	static const struct pci_ids ids = { .vendor = 0x1af4, .device = 0x1042 };
	struct fixture *f = *state;
	struct pci_function function;
	struct error e;

	pci_function_init(&function, NULL, &ids);
	assert_int_equal(pci_attach(f->m.pci, &function, 1, 2, &e), 0);
	assert_int_equal(ecam_get(&f->m, 1, 2, 0, 2), 0x1af4);
	pci_hide(&function);
	assert_int_equal(ecam_get(&f->m, 1, 2, 0, 4), 0xffffffff);
	ecam_put(&f->m, 1, 2, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(function.config[PCI_COMMAND], 0);
	pci_detach(&function);
	pci_function_deinit(&function);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_ged_event_is_read_once),
		T(test_ged_line_stays_up_until_events_are_read),
		T(test_hotplug_says_what_came_and_what_is_to_go),
		T(test_hotplug_forgets_what_is_gone),
		T(test_hotplug_passes_ejections_on),
		T(test_hotplug_survives_any_access),
		T(test_pci_hidden_function_answers_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
