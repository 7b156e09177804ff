/* SPDX-License-Identifier: MIT */
/* LINK: vm_reports loop error */
/* What a guest says of vCPUs and DIMMs, and that it cannot say too much. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "vm_cpus.h"
#include "vm_internal.h"

static struct dimm dimm = { .id = (char *)"d", .slot = 3 };
static char told[4096];

struct dimm *dimms_at(const struct dimms *d, unsigned int slot)
{
	(void)d;
	return slot == dimm.slot ? &dimm : NULL;
}

unsigned int dimms_slots(const struct config_memory *c)
{
	return c->slots;
}

void vm_cpu_info(const struct vm *vm, size_t index, struct vm_cpu_info *out)
{
	(void)vm;
	*out = (struct vm_cpu_info){ .present = index == 1 };
	snprintf(out->id, sizeof(out->id), "cpu%zu", index);
}

void vm_cpu_note_report(struct vm *vm, const struct vm_report *r)
{
	(void)vm;
	assert_false(r->dimm);
}

void vm_dimm_note_report(struct vm *vm, const struct vm_report *r)
{
	(void)vm;
	assert_true(r->dimm);
}

void vm_emit(struct vm *vm, enum vm_event event, bool by_guest,
	     const char *reason)
{
	const struct vm_report *r = vm_report(vm);
	size_t len = strlen(told);

	assert_true(by_guest);
	if (event == VM_EVENT_REPORT)
		snprintf(told + len, sizeof(told) - len, "%s:%u:%x:%x ",
			 reason ? reason : "-", r->slot, r->source, r->status);
	else
		snprintf(told + len, sizeof(told) - len, "no-%s ", reason);
}

static struct vm_config config = {
	.cpus = { .count = 1, .max = 2 }, .memory.slots = 4,
};

static void stop(void *opaque)
{
	loop_stop(opaque);
}

/* What was told since. */
static const char *settle(struct vm *vm)
{
	struct loop_timer timer;

	told[0] = '\0';
	assert_int_equal(loop_timer_init(vm->loop, &timer, stop, vm->loop), 0);
	loop_timer_set(&timer, 2000000, 0);
	loop_run(vm->loop);
	loop_timer_deinit(&timer);
	return told;
}

static int setup(void **state)
{
	static struct vm vm;
	struct error e;

	vm = (struct vm){ .config = &config };
	pthread_mutex_init(&vm.machine_lock, NULL);
	assert_int_equal(loop_create(&vm.loop), 0);
	assert_int_equal(vm_reports_init(&vm, &e), 0);
	*state = &vm;
	return 0;
}

static int teardown(void **state)
{
	struct vm *vm = *state;

	vm_reports_deinit(vm);
	loop_destroy(vm->loop);
	return 0;
}

static void test_reports_are_told_with_what_they_are_about(void **state)
{
	struct vm *vm = *state;

	vm_report_allow(vm, true, 3);
	vm_report_allow(vm, true, 4);
	vm_report_allow(vm, false, 1);
	vm_dimm_reported(vm, 3, 1, 0);
	vm_cpu_reported(vm, 1, 1, 0x81);
	/* Its DIMM has gone. */
	vm_dimm_reported(vm, 4, 3, 0);
	assert_string_equal(settle(vm), "d:3:1:0 cpu1:1:1:81 -:4:3:0 ");
	assert_string_equal(settle(vm), "");
}

static void test_reports_of_a_refusal(void **state)
{
	struct vm *vm = *state;

	vm_report_allow(vm, true, 3);
	vm_dimm_reported(vm, 3, 3, 0x84);
	vm_dimm_reported(vm, 3, 3, 0x82);
	vm_dimm_reported(vm, 3, 0x103, 1);
	assert_string_equal(settle(vm),
			    "d:3:3:84 d:3:3:82 no-d d:3:103:1 no-d ");
}

/* Only when it was told something, and a few times. */
static void test_reports_of_a_talkative_guest(void **state)
{
	struct vm *vm = *state;

	vm_dimm_reported(vm, 3, 1, 0);
	vm_cpu_reported(vm, 1, 1, 0);
	assert_string_equal(settle(vm), "");
	vm_report_allow(vm, true, 3);
	for (unsigned int i = 0; i < 100; i++)
		vm_dimm_reported(vm, 3, 1, i);
	assert_string_equal(settle(vm), "d:3:1:0 d:3:1:1 d:3:1:2 d:3:1:3 ");
	/* There is no such vCPU. */
	vm_cpu_reported(vm, 2, 1, 0);
	vm_cpu_reported(vm, ~0u, 1, 0);
	assert_string_equal(settle(vm), "");
}

/* Which there are, and what is known of each. */
static void test_reports_the_last_are_kept(void **state)
{
	struct vm *vm = *state;
	struct vm_report r;

	vm_dimm_reported(vm, 3, 1, 2);
	vm_cpu_reported(vm, 1, 3, 4);
	assert_true(vm_report_last(vm, 3, &r));
	assert_true(r.dimm && r.slot == 3 && r.source == 1 && r.status == 2);
	assert_true(vm_report_last(vm, 4, &r));
	assert_true(!r.dimm && r.slot == 0 && !r.source && !r.status);
	assert_true(vm_report_last(vm, 5, &r));
	assert_true(!r.dimm && r.slot == 1 && r.source == 3 && r.status == 4);
	assert_false(vm_report_last(vm, 6, &r));
	vm_report_allow(vm, true, 3);
	assert_true(vm_report_last(vm, 3, &r));
	assert_true(!r.source && !r.status);
	/* No more vCPUs may come, so that the guest says nothing of them. */
	config.cpus.count = 2;
	assert_false(vm_report_last(vm, 4, &r));
	config.cpus.count = 1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_reports_are_told_with_what_they_are_about),
		T(test_reports_of_a_refusal),
		T(test_reports_of_a_talkative_guest),
		T(test_reports_the_last_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
