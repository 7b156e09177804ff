/* SPDX-License-Identifier: MIT */
/* A VM that is held still while its memory is read. Main thread; vm_check_memory()
 * on any. */
#include <errno.h>

#include "log.h"
#include "vm_internal.h"

int vm_check_hold(const struct vm *vm, const char *what, struct error *e)
{
	if (vm_is_held(vm))
		return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
				       "%s: the VM's memory is being written "
				       "already", what);
	if (vm->state == VM_SHUTDOWN || vm->state == VM_INMIGRATE)
		return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
				       "%s: the VM is %s", what,
				       vm_state_name(vm->state));
	return 0;
}

int vm_check_memory(const struct vm *vm, const char *what, struct error *e)
{
	if (!(atomic_load(&vm->requests) & VM_REQUEST_KVM_ERROR))
		return 0;
	return error_set(e, -EIO, "%s: not all of the VM's memory could be read",
			 what);
}

int vm_hold(struct vm *vm, enum vm_state state, const char *what,
	    struct error *e)
{
	enum vm_state before = vm->state;
	int ret = vm_check_hold(vm, what, e);

	if (!ret)
		ret = vm_stop(vm, e);
	if (ret)
		return ret;
	vm->held_state = before;
	vm->state = state;
	return 0;
}

void vm_release(struct vm *vm)
{
	struct error e;

	if (!vm_is_held(vm))
		return;
	vm->state = vm->held_state;
	if (vm->held_state == VM_RUNNING) {
		vm->state = VM_PAUSED;
		if (vm_cont(vm, &e))
			log_error("%s", e.text);
	}
	vm_dimms_released(vm);
	if (atomic_load(&vm->requests))
		loop_event_set(&vm->request);
}
