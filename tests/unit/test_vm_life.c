/* SPDX-License-Identifier: MIT */
/* LINK: vm_life vm_requests vm_hold loop error log */
/* The life cycle over vCPUs, devices and a board that only keep books. */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vm_internal.h"

/* Called by vcpus_stop(): what a vCPU does before it is out of the guest. */
static struct {
	struct vm *vm;
	bool running;
	void (*before_stopped)(struct vm *vm);
} vcpu;

void vcpus_request_stop(struct vcpus *v)
{
	(void)v;
}

static void *last_steps(void *opaque)
{
	vcpu.before_stopped(opaque);
	return NULL;
}

void vcpus_stop(struct vcpus *v)
{
	pthread_t thread;

	(void)v;
	vcpu.running = false;
	if (!vcpu.before_stopped)
		return;
	assert_int_equal(pthread_create(&thread, NULL, last_steps, vcpu.vm),
			 0);
	pthread_join(thread, NULL);
}

void vcpus_run(struct vcpus *v)
{
	(void)v;
	vcpu.running = true;
}

void vcpus_note_pause(struct vcpus *v)
{
	(void)v;
}

int vcpus_start_clocks(struct vcpus *v, struct error *e)
{
	(void)v;
	(void)e;
	return 0;
}

int vcpus_inject_nmi(struct vcpus *v, struct error *e)
{
	(void)v;
	(void)e;
	return 0;
}

int vcpus_reset(struct vcpus *v, struct error *e)
{
	(void)v;
	(void)e;
	return 0;
}

unsigned int vcpus_count(const struct vcpus *v)
{
	(void)v;
	return 1;
}

void devices_quiesce(struct devices *d)
{
	(void)d;
}

void devices_resume(struct devices *d)
{
	(void)d;
}

void devices_reset(struct devices *d)
{
	(void)d;
}

void vm_devices_settle(struct vm *vm)
{
	(void)vm;
}

void vm_cpus_settle(struct vm *vm)
{
	(void)vm;
}

void vm_dimms_released(struct vm *vm)
{
	(void)vm;
}

void vm_dimms_settle(struct vm *vm)
{
	(void)vm;
}

void vm_mems_reset(struct vm *vm)
{
	(void)vm;
}

static unsigned int tables_updated;

int board_update_tables(struct board *b, struct error *e)
{
	(void)b;
	(void)e;
	tables_updated++;
	return 0;
}

void board_reset(struct board *b)
{
	(void)b;
}

void board_power_button(struct board *b)
{
	(void)b;
}

bool board_reset_after_panic(struct board *b)
{
	(void)b;
	return false;
}

void dimms_reset(struct dimms *d)
{
	(void)d;
}

void ram_reset(struct ram *r)
{
	(void)r;
}

void vm_dirty_memory_lost(struct vm *vm)
{
	(void)vm;
}

int kvm_arch_reset(struct kvm_vm *vm, struct error *e)
{
	(void)vm;
	(void)e;
	return 0;
}

int vm_load(struct vm *vm, struct error *e)
{
	(void)vm;
	(void)e;
	return 0;
}

void vm_fault_stop(struct vm *vm)
{
	(void)vm;
}

static struct {
	unsigned int calls, wanted;
} populate;

bool boot_populate(struct boot_image *b, struct guest_mem *mem,
		   uint64_t max_bytes)
{
	(void)b;
	(void)mem;
	(void)max_bytes;
	return ++populate.calls < populate.wanted;
}

void chardev_update_size(struct chardev *c)
{
	(void)c;
}

struct fixture {
	struct vm vm;
	struct vm_config config;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error e;

	f->vm.config = &f->config;
	f->vm.request = (struct loop_event)LOOP_EVENT_INIT;
	pthread_mutex_init(&f->vm.machine_lock, NULL);
	pthread_mutex_init(&f->vm.death_lock, NULL);
	assert_int_equal(loop_create(&f->vm.loop), 0);
	assert_int_equal(vm_life_init(&f->vm, &e), 0);
	assert_int_equal(vm_requests_init(&f->vm, &e), 0);
	memset(&vcpu, 0, sizeof(vcpu));
	vcpu.vm = &f->vm;
	memset(&populate, 0, sizeof(populate));
	assert_int_equal(vm_cont(&f->vm, &e), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	vm_requests_deinit(&f->vm);
	vm_life_deinit(&f->vm);
	loop_destroy(f->vm.loop);
	pthread_mutex_destroy(&f->vm.death_lock);
	pthread_mutex_destroy(&f->vm.machine_lock);
	free(f);
	return 0;
}

static void stop_loop(void *opaque)
{
	loop_stop(opaque);
}

/* One turn of the loop, after what is there to do. */
static void turn(struct fixture *f)
{
	struct loop_timer t;

	assert_int_equal(loop_timer_init(f->vm.loop, &t, stop_loop,
					 f->vm.loop), 0);
	loop_timer_set(&t, 20000000, 0);
	loop_run(f->vm.loop);
	loop_timer_deinit(&t);
}

static void die_too(struct vm *vm)
{
	vm_vcpu_died(vm, VCPU_TRIPLE_FAULT, "vCPU 1: triple fault");
}

static void test_death_of_two_vcpus_ends_with_the_first_reason(void **state)
{
	struct fixture *f = *state;

	vcpu.before_stopped = die_too;
	vm_vcpu_died(&f->vm, VCPU_TRIPLE_FAULT, "vCPU 0: triple fault");
	turn(f);
	assert_int_equal(vm_state(&f->vm), VM_SHUTDOWN);
	assert_int_equal(vm_exit_report(&f->vm)->kind, VM_EXIT_TRIPLE_FAULT);
	assert_string_equal(vm_exit_report(&f->vm)->reason,
			    "vCPU 0: triple fault");
}

static void ask_for_poweroff(struct vm *vm)
{
	vm_platform_request(vm, PLATFORM_POWEROFF, 0);
}

/* The guest's last step before a stop is not lost by a cont. */
static void test_request_during_stop_is_decided_after_cont(void **state)
{
	struct fixture *f = *state;
	struct error e;

	vcpu.before_stopped = ask_for_poweroff;
	assert_int_equal(vm_stop(&f->vm, &e), 0);
	vcpu.before_stopped = NULL;
	assert_int_equal(vm_cont(&f->vm, &e), 0);
	assert_false(vcpu.running);
	turn(f);
	assert_int_equal(vm_exit_report(&f->vm)->kind, VM_EXIT_POWEROFF);
}

static void ask_for_reset(struct vm *vm)
{
	vm_platform_request(vm, PLATFORM_RESET, 0);
}

static void test_requests_before_a_reset_are_void(void **state)
{
	struct fixture *f = *state;
	struct error e;

	vcpu.before_stopped = ask_for_poweroff;
	assert_int_equal(vm_reset(&f->vm, &e), 0);
	assert_true(vcpu.running);
	turn(f);
	assert_int_equal(vm_state(&f->vm), VM_RUNNING);
}

static void test_two_resets_at_once_are_one(void **state)
{
	struct fixture *f = *state;

	vcpu.before_stopped = ask_for_reset;
	vm_platform_request(&f->vm, PLATFORM_RESET, 0);
	turn(f);
	assert_int_equal(vm_state(&f->vm), VM_RUNNING);
	assert_true(vcpu.running);
}

/* What came or went before the first run is in the tables, once. */
static void test_first_cont_brings_the_tables_up_to_date(void **state)
{
	struct fixture *f = *state;
	struct error e;

	tables_updated = 0;
	f->vm.state = VM_PRELAUNCH;
	f->vm.tables_stale = true;
	assert_int_equal(vm_cont(&f->vm, &e), 0);
	assert_int_equal(tables_updated, 1);
	assert_int_equal(vm_stop(&f->vm, &e), 0);
	assert_int_equal(vm_cont(&f->vm, &e), 0);
	assert_int_equal(tables_updated, 1);
}

/* After the start and after a reset, not when a paused guest goes on. */
static void test_kernel_is_populated_once_it_runs(void **state)
{
	struct fixture *f = *state;
	struct error e;

	populate.wanted = 3;
	turn(f);
	assert_int_equal(populate.calls, 3);
	assert_int_equal(vm_stop(&f->vm, &e), 0);
	assert_int_equal(vm_cont(&f->vm, &e), 0);
	turn(f);
	assert_int_equal(populate.calls, 3);
	populate.wanted = 5;
	assert_int_equal(vm_reset(&f->vm, &e), 0);
	assert_int_equal(populate.calls, 3);
	turn(f);
	assert_int_equal(populate.calls, 5);
}

/* Held, it does nothing, and what the guest asked for is decided afterwards. */
static void test_held_vm_waits_and_goes_on_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct error e;

	assert_int_equal(vm_hold(&f->vm, VM_SAVING, "dump", &e), 0);
	assert_string_equal(vm_state_name(vm_state(&f->vm)), "save-vm");
	assert_false(vcpu.running);
	assert_int_equal(vm_hold(&f->vm, VM_SAVING, "dump", &e), -EPERM);
	assert_int_equal(e.class, ERROR_INVALID_STATE);
	assert_int_equal(vm_cont(&f->vm, &e), -EPERM);
	assert_int_equal(vm_reset(&f->vm, &e), -EPERM);
	vm_release(&f->vm);
	assert_int_equal(vm_state(&f->vm), VM_RUNNING);
	assert_true(vcpu.running);
	assert_int_equal(vm_stop(&f->vm, &e), 0);
	assert_int_equal(vm_hold(&f->vm, VM_SAVING, "dump", &e), 0);
	vm_release(&f->vm);
	assert_int_equal(vm_state(&f->vm), VM_PAUSED);
	assert_int_equal(vm_cont(&f->vm, &e), 0);

	vcpu.before_stopped = ask_for_poweroff;
	assert_int_equal(vm_hold(&f->vm, VM_SAVING, "dump", &e), 0);
	vcpu.before_stopped = NULL;
	turn(f);
	assert_int_equal(vm_state(&f->vm), VM_SAVING);
	vm_release(&f->vm);
	turn(f);
	assert_int_equal(vm_exit_report(&f->vm)->kind, VM_EXIT_POWEROFF);
	assert_int_equal(vm_hold(&f->vm, VM_SAVING, "dump", &e), -EPERM);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* A page of a saved VM that cannot be read is zeros: nobody is to keep those. */
static void test_memory_that_was_not_read_is_not_passed_on(void **state)
{
	struct fixture *f = *state;
	struct error e;

	assert_int_equal(vm_check_memory(&f->vm, "save", &e), 0);
	assert_int_equal(vm_hold(&f->vm, VM_SAVING, "save", &e), 0);
	vm_platform_request(&f->vm, PLATFORM_RESET, 0);
	assert_int_equal(vm_check_memory(&f->vm, "save", &e), 0);
	vm_vcpu_died(&f->vm, VCPU_KVM_ERROR, "a page");
	turn(f);
	assert_int_equal(vm_check_memory(&f->vm, "save", &e), -EIO);
	vm_release(&f->vm);
	turn(f);
	assert_int_equal(vm_exit_report(&f->vm)->kind, VM_EXIT_KVM_ERROR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_death_of_two_vcpus_ends_with_the_first_reason),
		T(test_request_during_stop_is_decided_after_cont),
		T(test_requests_before_a_reset_are_void),
		T(test_two_resets_at_once_are_one),
		T(test_first_cont_brings_the_tables_up_to_date),
		T(test_kernel_is_populated_once_it_runs),
		T(test_held_vm_waits_and_goes_on_as_it_was),
		T(test_memory_that_was_not_read_is_not_passed_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
