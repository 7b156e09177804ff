/* SPDX-License-Identifier: MIT */
/* The life cycle: created → running ⇄ paused → stopped. Main thread. */
#include <errno.h>
#include <stdio.h>

#include "vm_internal.h"

#define POPULATE_DELAY_NS	1000000
#define POPULATE_BYTES		(2ull << 20)

void vm_emit(struct vm *vm, enum vm_event event, bool by_guest,
	     const char *reason)
{
	if (vm->event_fn)
		vm->event_fn(vm->event_opaque, event, by_guest, reason);
}

void vm_set_event_fn(struct vm *vm, vm_event_fn fn, void *opaque)
{
	vm->event_fn = fn;
	vm->event_opaque = opaque;
}

/*
 * Lets the vCPUs run, unless the guest has asked for something that is not
 * decided yet: on_request() runs them if that is the outcome.
 */
static void run_vcpus(struct vm *vm)
{
	if (!vm_is_asked(vm))
		vcpus_run(vm->vcpus);
}

/* In pieces: the loop has other things to do. */
static void on_populate(void *opaque)
{
	struct vm *vm = opaque;

	if (boot_populate(vm->image, vm->mem, POPULATE_BYTES))
		loop_timer_set(&vm->populate, 1, 0);
}

/* The kernel's first instruction first, then what it gains by. */
static void start_kernel(struct vm *vm)
{
	run_vcpus(vm);
	loop_timer_set(&vm->populate, POPULATE_DELAY_NS, 0);
}

/* vCPUs stopped. */
static int power_on(struct vm *vm, struct error *e)
{
	int ret;

	vm_devices_settle(vm);
	vm_cpus_settle(vm);
	vm_dimms_settle(vm);
	pthread_mutex_lock(&vm->machine_lock);
	devices_reset(vm->devices);
	vm_mems_reset(vm);
	board_reset(vm->board);
	pthread_mutex_unlock(&vm->machine_lock);
	ram_reset(vm->ram);
	vm_fault_stop(vm);
	vm_dirty_memory_lost(vm);
	dimms_reset(vm->dimms);
	ret = kvm_arch_reset(&vm->kvm, e);
	if (!ret)
		ret = vcpus_reset(vm->vcpus, e);
	if (!ret)
		ret = vm_load(vm, e);
	return ret;
}

void vm_start_anew(struct vm *vm, bool by_guest)
{
	struct error e;

	vcpus_stop(vm->vcpus);
	/* What was asked for before the reset is void after it. */
	atomic_store(&vm->requests, 0);
	vm->death_reason[0] = '\0';
	vm->crash_noted = false;
	if (power_on(vm, &e)) {
		vm_end(vm, VM_EXIT_HOST_ERROR, 1, e.text);
		return;
	}
	vm_emit(vm, VM_EVENT_RESET, by_guest,
		by_guest ? "guest-reset" : "host-qmp-system-reset");
	if (vm->state == VM_RUNNING)
		start_kernel(vm);
}

int vm_life_init(struct vm *vm, struct error *e)
{
	int ret = loop_timer_init(vm->loop, &vm->populate, on_populate, vm);

	return ret ? error_errno(e, ret, "timer") : 0;
}

void vm_life_deinit(struct vm *vm)
{
	loop_timer_deinit(&vm->populate);
}

enum vm_state vm_state(const struct vm *vm)
{
	return vm->state;
}

const char *vm_state_name(enum vm_state state)
{
	static const char *const names[] = {
		[VM_PRELAUNCH] = "prelaunch",
		[VM_RUNNING] = "running",
		[VM_PAUSED] = "paused",
		[VM_SHUTDOWN] = "shutdown",
		[VM_PANICKED] = "guest-panicked",
		[VM_SAVING] = "save-vm",
		[VM_FINISH_MIGRATE] = "finish-migrate",
		[VM_POSTMIGRATE] = "postmigrate",
		[VM_INMIGRATE] = "inmigrate",
	};

	return names[state];
}

const struct vm_exit_report *vm_exit_report(const struct vm *vm)
{
	return &vm->report;
}

const char *vm_exit_kind_name(enum vm_exit_kind kind)
{
	static const char *const names[] = {
		[VM_EXIT_NONE] = "none",
		[VM_EXIT_POWEROFF] = "poweroff",
		[VM_EXIT_RESET] = "reset",
		[VM_EXIT_PANIC] = "panic",
		[VM_EXIT_TRIPLE_FAULT] = "triple-fault",
		[VM_EXIT_KVM_ERROR] = "kvm-error",
		[VM_EXIT_QUIT] = "quit",
		[VM_EXIT_QUIT_KEY] = "quit",
		[VM_EXIT_TERMINATED] = "terminated",
		[VM_EXIT_HOST_ERROR] = "host-error",
		[VM_EXIT_PORT] = "exit-port",
	};

	return names[kind];
}

static int wrong_state(struct vm *vm, const char *what, struct error *e)
{
	return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
			       "%s: the VM is %s", what,
			       vm_state_name(vm->state));
}

static int check_template(const struct vm *vm, const char *what,
			  struct error *e)
{
	if (!vm->is_template)
		return 0;
	return error_class_set(e, ERROR_INVALID_STATE, -EPERM, "%s: the VM is a "
			       "template: others use its RAM", what);
}

int vm_stop(struct vm *vm, struct error *e)
{
	switch (vm->state) {
	case VM_PRELAUNCH:
	case VM_PAUSED:
	case VM_PANICKED:
	case VM_POSTMIGRATE:
		return 0;
	case VM_INMIGRATE:
		vm->run_incoming = false;
		return 0;
	case VM_RUNNING:
		break;
	default:
		return wrong_state(vm, "stop", e);
	}
	vcpus_stop(vm->vcpus);
	pthread_mutex_lock(&vm->machine_lock);
	devices_quiesce(vm->devices);
	pthread_mutex_unlock(&vm->machine_lock);
	vm->state = VM_PAUSED;
	vm_emit(vm, VM_EVENT_STOP, false, NULL);
	return 0;
}

int vm_cont(struct vm *vm, struct error *e)
{
	bool first = vm->state == VM_PRELAUNCH;
	int ret;

	switch (vm->state) {
	case VM_RUNNING:
		return 0;
	case VM_PRELAUNCH:
		ret = vm->tables_stale ? board_update_tables(vm->board, e) : 0;
		if (ret)
			return ret;
		vm->tables_stale = false;
		clock_gettime(CLOCK_REALTIME, &vm->report.started);
		break;
	case VM_INMIGRATE:
		vm->run_incoming = true;
		return 0;
	case VM_PAUSED:
	case VM_POSTMIGRATE:
		ret = check_template(vm, "cont", e);
		if (!ret)
			ret = vcpus_start_clocks(vm->vcpus, e);
		if (ret)
			return ret;
		if (!vm->report.started.tv_sec)
			clock_gettime(CLOCK_REALTIME, &vm->report.started);
		pthread_mutex_lock(&vm->machine_lock);
		devices_resume(vm->devices);
		pthread_mutex_unlock(&vm->machine_lock);
		vcpus_note_pause(vm->vcpus);
		break;
	default:
		return wrong_state(vm, "cont", e);
	}
	vm->state = VM_RUNNING;
	vm_emit(vm, VM_EVENT_RESUME, false, NULL);
	if (first)
		start_kernel(vm);
	else
		run_vcpus(vm);
	return 0;
}

int vm_powerdown(struct vm *vm, struct error *e)
{
	if (vm->state == VM_SHUTDOWN || vm->state == VM_PANICKED ||
	    vm->state == VM_INMIGRATE || vm->state == VM_FINISH_MIGRATE)
		return wrong_state(vm, "system_powerdown", e);
	board_power_button(vm->board);
	vm_emit(vm, VM_EVENT_POWERDOWN, false, NULL);
	return 0;
}

int vm_reset(struct vm *vm, struct error *e)
{
	int ret = check_template(vm, "system_reset", e);

	if (ret)
		return ret;
	if (vm->state == VM_SHUTDOWN || vm->state == VM_INMIGRATE ||
	    vm_is_held(vm))
		return wrong_state(vm, "system_reset", e);
	/* QEMU, too, leaves a panicked guest paused after a reset. */
	if (vm->state == VM_PANICKED || vm->state == VM_POSTMIGRATE)
		vm->state = VM_PAUSED;
	vm_start_anew(vm, false);
	return 0;
}

int vm_inject_nmi(struct vm *vm, struct error *e)
{
	int ret;

	if (vm->state == VM_SHUTDOWN || vm->state == VM_INMIGRATE ||
	    vm->state == VM_FINISH_MIGRATE)
		return wrong_state(vm, "inject-nmi", e);
	vcpus_stop(vm->vcpus);
	ret = vcpus_inject_nmi(vm->vcpus, e);
	if (vm->state == VM_RUNNING)
		run_vcpus(vm);
	return ret;
}

static bool ended_by_guest(enum vm_exit_kind kind)
{
	return kind == VM_EXIT_POWEROFF || kind == VM_EXIT_RESET ||
	       kind == VM_EXIT_PANIC || kind == VM_EXIT_TRIPLE_FAULT ||
	       kind == VM_EXIT_PORT;
}

void vm_end(struct vm *vm, enum vm_exit_kind kind, int code,
	    const char *reason)
{
	struct vm_exit_report *r = &vm->report;

	if (vm->state == VM_SHUTDOWN)
		return;
	vcpus_stop(vm->vcpus);
	vm->state = VM_SHUTDOWN;
	r->kind = kind;
	r->code = code;
	snprintf(r->reason, sizeof(r->reason), "%s", reason);
	clock_gettime(CLOCK_REALTIME, &r->stopped);
	vm_emit(vm, VM_EVENT_SHUTDOWN, ended_by_guest(kind), reason);
	loop_stop(vm->loop);
}

void vm_console_key(void *opaque, enum chardev_key key)
{
	struct vm *vm = opaque;

	if (key == CHARDEV_KEY_QUIT)
		vm_end(vm, VM_EXIT_QUIT_KEY, 0,
		       "quit from the console (Ctrl-a x)");
	else
		fprintf(stderr, "\r\nmote: %s, %u vCPU%s, %llu MiB\r\n",
			vm_state_name(vm->state), vcpus_count(vm->vcpus),
			vcpus_count(vm->vcpus) == 1 ? "" : "s",
			(unsigned long long)
				(vm->config->memory.size_bytes >> 20));
}

void vm_terminal_resized(struct vm *vm)
{
	if (vm->serial)
		chardev_update_size(vm->serial);
	if (vm->console)
		chardev_update_size(vm->console);
}
