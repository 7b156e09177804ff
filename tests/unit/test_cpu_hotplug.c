/* SPDX-License-Identifier: MIT */
/* LINK: platform/ged platform/cpu_hotplug error bus irq loop state pci/root pci/config pci/function pci/bar pci/msix pci/intx pci/host_bridge */
/* WITH: pci_fixture */
/* The vCPU hot-plug registers, as the DSDT uses them. */
#include "pci_fixture.h"

#include <errno.h>
#include <stdlib.h>

#include "platform/cpu_hotplug.h"
#include "state.h"

#define GED	0xfed00000ull
#define HOTPLUG	0xfed00200ull
#define NEWS	(HOTPLUG + 0x00)
#define SELECT	(HOTPLUG + 0x04)
#define PRESENT	(HOTPLUG + 0x08)
#define EJECT	(HOTPLUG + 0x0c)
#define SOURCE	(HOTPLUG + 0x10)
#define STATUS	(HOTPLUG + 0x14)
#define GSI	18u
#define NONE	0xffffffffu

struct fixture {
	struct pci_fixture m;
	struct ged *ged;
	struct cpu_hotplug *h;
	unsigned int ejections, cpu, reports;
	uint32_t source, status;
};

static void ejected(void *opaque, unsigned int cpu)
{
	struct fixture *f = opaque;

	f->ejections++;
	f->cpu = cpu;
}

static void reported(void *opaque, unsigned int cpu, uint32_t source,
		     uint32_t status)
{
	struct fixture *f = opaque;

	f->reports++;
	f->cpu = cpu;
	f->source = source;
	f->status = status;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct cpu_hotplug_owner owner = { ejected, reported, f };
	struct error e;

	pci_fixture_init(&f->m);
	assert_int_equal(ged_create(&f->ged, f->m.mmio, GED, f->m.irq, GSI,
				    f->m.loop, &e), 0);
	assert_int_equal(cpu_hotplug_create(&f->h, f->m.mmio, HOTPLUG, f->ged,
					    2, &owner, &e), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	cpu_hotplug_destroy(f->h);
	ged_destroy(f->ged);
	pci_fixture_deinit(&f->m);
	free(f);
	return 0;
}

static uint32_t get(struct fixture *f, uint64_t at)
{
	return (uint32_t)mmio_get(&f->m, at, 4);
}

static uint32_t present(struct fixture *f, uint32_t cpu)
{
	mmio_put(&f->m, SELECT, 4, cpu);
	return get(f, PRESENT);
}

static void test_cpu_news_is_taken_one_by_one(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(get(f, NEWS), NONE);
	cpu_hotplug_added(f->h, 254);
	cpu_hotplug_request(f->h, 1);
	assert_int_equal(get(f, GED), GED_CPU_HOTPLUG);
	assert_int_equal(get(f, NEWS), 3 << 8 | 1);
	assert_int_equal(get(f, NEWS), 1 << 8 | 254);
	assert_int_equal(get(f, NEWS), NONE);
	assert_int_equal(present(f, 254), 1);
	/* What has gone meanwhile is no news. */
	cpu_hotplug_added(f->h, 7);
	cpu_hotplug_gone(f->h, 7);
	assert_int_equal(get(f, NEWS), NONE);
	cpu_hotplug_request(f->h, 1);
	cpu_hotplug_reset(f->h);
	assert_int_equal(get(f, NEWS), NONE);
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
	cpu_hotplug_gone(f->h, 1);
	assert_int_equal(present(f, 1), 0);
}

static void test_cpu_ejection_is_told_as_it_is(void **state)
{
	struct fixture *f = *state;

	mmio_put(&f->m, EJECT, 4, NONE);
	assert_int_equal(f->ejections, 1);
	assert_int_equal(f->cpu, NONE);
	/* Other widths and places are nothing. */
	mmio_put(&f->m, EJECT, 2, 1);
	mmio_put(&f->m, PRESENT, 4, 1);
	assert_int_equal(f->ejections, 1);
	assert_int_equal(mmio_get(&f->m, NEWS, 2), 0);
}

static void test_cpu_report_is_told_as_it_is(void **state)
{
	struct fixture *f = *state;

	mmio_put(&f->m, SELECT, 4, 0x1ff);
	mmio_put(&f->m, SOURCE, 4, 3);
	assert_int_equal(f->reports, 0);
	mmio_put(&f->m, STATUS, 4, 0x82);
	assert_int_equal(f->reports, 1);
	assert_int_equal(f->cpu, 0x1ff);
	assert_int_equal(f->source, 3);
	assert_int_equal(f->status, 0x82);
}

/* Loaded into registers that know of other vCPUs. */
static void test_cpu_registers_come_back(void **state)
{
	struct fixture *f = *state;
	struct state_writer w = STATE_WRITER_INIT;
	struct state_reader r;

	cpu_hotplug_added(f->h, 7);
	mmio_put(&f->m, SELECT, 4, 7);
	cpu_hotplug_save(f->h, &w);
	cpu_hotplug_gone(f->h, 7);
	mmio_put(&f->m, SELECT, 4, 0);
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(cpu_hotplug_load(f->h, &r), 0);
	assert_int_equal(state_reader_finish(&r), 0);
	assert_int_equal(mmio_get(&f->m, PRESENT, 4), 1);
	assert_int_equal(mmio_get(&f->m, NEWS, 4), 1 << 8 | 7);
	assert_int_equal(mmio_get(&f->m, NEWS, 4), NONE);
	/* The news of the last is none that there is. */
	w.data[w.len_bytes - 1] = 2;
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(cpu_hotplug_load(f->h, &r), -EPROTO);
	state_writer_deinit(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_cpu_news_is_taken_one_by_one),
		T(test_cpu_presence),
		T(test_cpu_ejection_is_told_as_it_is),
		T(test_cpu_report_is_told_as_it_is),
		T(test_cpu_registers_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
