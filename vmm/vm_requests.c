/* SPDX-License-Identifier: MIT */
/*
 * What the guest asks for, and what becomes of its vCPUs. Main thread;
 * vm_platform_request() and vm_vcpu_died() run on vCPU threads, note the request
 * and leave the rest to on_request() on the loop.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "vm_internal.h"

static void request(struct vm *vm, enum vm_request r)
{
	atomic_fetch_or(&vm->requests, (unsigned int)r);
	loop_event_set(&vm->request);
}

void vm_platform_request(void *opaque, enum platform_request r, uint8_t value)
{
	static const enum vm_request bits[] = {
		[PLATFORM_POWEROFF] = VM_REQUEST_POWEROFF,
		[PLATFORM_RESET] = VM_REQUEST_RESET,
		[PLATFORM_PANICKED] = VM_REQUEST_PANICKED,
		[PLATFORM_CRASH_LOADED] = VM_REQUEST_CRASH_LOADED,
		[PLATFORM_EXIT_PORT] = VM_REQUEST_EXIT_PORT,
	};
	struct vm *vm = opaque;

	if (r == PLATFORM_EXIT_PORT)
		atomic_store(&vm->exit_value, value);
	/* The guest takes no further step until the request is decided. */
	if (r != PLATFORM_CRASH_LOADED)
		vcpus_request_stop(vm->vcpus);
	request(vm, bits[r]);
}

void vm_vcpu_died(void *opaque, enum vcpu_death why, const char *reason)
{
	struct vm *vm = opaque;

	pthread_mutex_lock(&vm->death_lock);
	if (!vm->death_reason[0])
		snprintf(vm->death_reason, sizeof(vm->death_reason), "%s",
			 reason);
	pthread_mutex_unlock(&vm->death_lock);
	vcpus_request_stop(vm->vcpus);
	request(vm, why == VCPU_TRIPLE_FAULT ? VM_REQUEST_TRIPLE_FAULT :
					       VM_REQUEST_KVM_ERROR);
}

static void panicked(struct vm *vm)
{
	bool pause = vm->config->on_panic == ON_PANIC_PAUSE;

	vcpus_stop(vm->vcpus);
	vm_emit(vm, VM_EVENT_PANICKED, true, pause ? "pause" : "poweroff");
	if (!pause) {
		vm_end(vm, VM_EXIT_PANIC, 3, "the guest panicked");
		return;
	}
	vm->state = VM_PANICKED;
	pthread_mutex_lock(&vm->machine_lock);
	devices_quiesce(vm->devices);
	pthread_mutex_unlock(&vm->machine_lock);
	vm_emit(vm, VM_EVENT_STOP, true, NULL);
}

static void guest_reset(struct vm *vm)
{
	vcpus_stop(vm->vcpus);
	if (board_reset_after_panic(vm->board))
		panicked(vm);
	else if (vm->config->on_reboot == ON_REBOOT_EXIT)
		vm_end(vm, VM_EXIT_RESET, 0, "the guest rebooted");
	else
		vm_start_anew(vm, true);
}

static void exit_port(struct vm *vm)
{
	uint8_t value = atomic_load(&vm->exit_value);
	char reason[64];

	snprintf(reason, sizeof(reason), "the guest wrote %u to the exit port",
		 value);
	vm_end(vm, VM_EXIT_PORT, 64 + (value & 63), reason);
}

/*
 * The reason is copied out: vm_end() waits for all vCPUs, and another one may
 * be dying just now and want to say why.
 */
static void died(struct vm *vm, enum vm_exit_kind kind)
{
	char reason[sizeof(vm->death_reason)];

	pthread_mutex_lock(&vm->death_lock);
	memcpy(reason, vm->death_reason, sizeof(reason));
	pthread_mutex_unlock(&vm->death_lock);
	vm_end(vm, kind, 4, reason);
}

/* Once a boot: the guest can say it as often as it likes. */
static void crash_loaded(struct vm *vm)
{
	if (!vm->crash_noted)
		log_info("the guest panicked and starts its crash kernel");
	vm->crash_noted = true;
}

/* The gravest first: what follows it does not matter any more. */
static void on_request(void *opaque)
{
	struct vm *vm = opaque;
	unsigned int r;

	/* vm_release() comes back to it. */
	if (vm_is_held(vm))
		return;
	r = atomic_exchange(&vm->requests, 0);
	if (vm->state == VM_SHUTDOWN)
		return;
	if (r & VM_REQUEST_KVM_ERROR)
		died(vm, VM_EXIT_KVM_ERROR);
	else if (r & VM_REQUEST_TRIPLE_FAULT)
		died(vm, VM_EXIT_TRIPLE_FAULT);
	else if (r & VM_REQUEST_EXIT_PORT)
		exit_port(vm);
	else if (r & VM_REQUEST_PANICKED)
		panicked(vm);
	else if (r & VM_REQUEST_POWEROFF)
		vm_end(vm, VM_EXIT_POWEROFF, 0, "the guest powered off");
	else if (r & VM_REQUEST_RESET)
		guest_reset(vm);
	else if (r & VM_REQUEST_CRASH_LOADED)
		crash_loaded(vm);
}

int vm_requests_init(struct vm *vm, struct error *e)
{
	int ret = loop_event_init(vm->loop, &vm->request, on_request, vm);

	return ret ? error_errno(e, ret, "event loop") : 0;
}

void vm_requests_deinit(struct vm *vm)
{
	loop_event_deinit(&vm->request);
}
