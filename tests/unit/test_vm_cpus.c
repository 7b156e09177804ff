/* SPDX-License-Identifier: MIT */
/* LINK: vm_cpus loop state error */
/* What a guest says that it has let go, whatever its registers know. */
#include "unit.h"

#include <string.h>

#include "vm_cpus.h"
#include "vm_internal.h"

static unsigned int gone, removed;	/* how often; the last one */
static char deleted[32];

struct hotplug *board_cpu_hotplug(struct board *b)
{
	return (struct hotplug *)b;
}

/* As a forged state has it: all of them. */
bool hotplug_present(const struct hotplug *h, unsigned int unit)
{
	(void)h;
	return unit < HOTPLUG_UNITS;
}

void hotplug_gone(struct hotplug *h, unsigned int unit)
{
	(void)h;
	(void)unit;
	gone++;
}

void hotplug_added(struct hotplug *h, unsigned int unit, uint64_t base,
		   uint64_t len_bytes)
{
	(void)h;
	(void)unit;
	(void)base;
	(void)len_bytes;
}

void hotplug_request(struct hotplug *h, unsigned int unit)
{
	(void)h;
	(void)unit;
}

bool vcpus_present(const struct vcpus *v, unsigned int index)
{
	(void)v;
	(void)index;
	return true;
}

int vcpus_add(struct vcpus *v, unsigned int index, struct error *e)
{
	(void)v;
	(void)index;
	(void)e;
	return 0;
}

void vcpus_remove(struct vcpus *v, unsigned int index)
{
	(void)v;
	removed = index;
}

unsigned int vcpus_count(const struct vcpus *v)
{
	(void)v;
	return 1;
}

pid_t vcpus_thread_id(struct vcpus *v, unsigned int index)
{
	(void)v;
	(void)index;
	return 1;
}

void vm_report_allow(struct vm *vm, bool dimm, unsigned int slot)
{
	(void)vm;
	(void)dimm;
	(void)slot;
}

bool vm_report_is_refusal(const struct vm_report *r)
{
	(void)r;
	return false;
}

void vm_emit(struct vm *vm, enum vm_event event, bool by_guest,
	     const char *reason)
{
	(void)vm;
	assert_int_equal(event, VM_EVENT_DEVICE_DELETED);
	assert_false(by_guest);
	strcpy(deleted, reason);
}

static struct vm_config config = {
	.cpus = { .count = 1, .threads = 1, .cores = 1 },
};

static int setup(void **state)
{
	static struct vm vm;
	struct error e;

	vm = (struct vm){ .config = &config };
	gone = removed = 0;
	deleted[0] = '\0';
	pthread_mutex_init(&vm.machine_lock, NULL);
	assert_int_equal(loop_create(&vm.loop), 0);
	assert_int_equal(vm_cpus_init(&vm, &e), 0);
	*state = &vm;
	return 0;
}

static int teardown(void **state)
{
	struct vm *vm = *state;

	vm_cpus_deinit(vm);
	loop_destroy(vm->loop);
	return 0;
}

static void test_cpu_let_go_is_removed(void **state)
{
	struct vm *vm = *state;

	config.cpus.max = 4;
	vm_cpu_ejected(vm, 3);
	assert_int_equal(gone, 1);
	vm_cpus_take_ejected(vm);
	assert_int_equal(removed, 3);
	assert_string_equal(deleted, "cpu3");
}

static void test_cpu_that_cannot_be_is_not_let_go(void **state)
{
	struct vm *vm = *state;

	config.cpus.max = 4;
	vm_cpu_ejected(vm, 0);
	vm_cpu_ejected(vm, 4);
	config.cpus.max = CONFIG_MAX_CPUS;
	for (unsigned int i = CONFIG_MAX_CPUS; i < HOTPLUG_UNITS; i++)
		vm_cpu_ejected(vm, i);
	assert_int_equal(gone, 0);
	vm_cpus_take_ejected(vm);
	assert_string_equal(deleted, "");
	assert_false(vm->cpu_removing[0]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_cpu_let_go_is_removed),
		T(test_cpu_that_cannot_be_is_not_let_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
