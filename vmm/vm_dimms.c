/* SPDX-License-Identifier: MIT */
/*
 * DIMMs that come and go. Main thread; vm_dimm_ejected() runs on vCPU threads
 * with the machine lock held, and leaves the rest to on_ejected().
 */
#include "vm_dimms.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vm_internal.h"
#include "vm_memory.h"

static int check_state(const struct vm *vm, struct error *e)
{
	if (vm->state == VM_SHUTDOWN)
		return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
				       "the VM has ended");
	/* What comes in has none. */
	if (vm->state == VM_INMIGRATE)
		return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
				       "the VM has not come in yet");
	/* Somebody reads all memory. */
	if (vm_is_held(vm))
		return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
				       "the VM is being saved");
	if (!board_mem_hotplug(vm->board))
		return error_class_set(e, ERROR_NOT_SUPPORTED, -ENOTSUP,
				       "there are no slots for DIMMs: --memory "
				       "max= is not above what the VM starts "
				       "with");
	return 0;
}

struct dimm *vm_dimm_find(const struct vm *vm, const char *id)
{
	return dimms_find(vm->dimms, id);
}

struct dimm *vm_dimm_at(const struct vm *vm, unsigned int slot)
{
	return dimms_at(vm->dimms, slot);
}

struct dimm *vm_dimm_of(const struct vm *vm, const char *memdev)
{
	for (unsigned int i = 0; i < CONFIG_MAX_DIMMS; i++) {
		struct dimm *dimm = vm_dimm_at(vm, i);

		if (dimm && dimm->memdev && !strcmp(dimm->memdev, memdev))
			return dimm;
	}
	return NULL;
}

static int check_spec(const struct vm *vm, const struct dimm_spec *spec,
		      struct error *e)
{
	uint64_t left = vm_memory_room(vm);

	if (vm_dimm_find(vm, spec->id))
		return error_set(e, -EEXIST, "Duplicate device ID '%s'",
				 spec->id);
	if (spec->memdev && (vm_dimm_of(vm, spec->memdev) ||
			     vm_mem_of(vm, spec->memdev) >= 0))
		return error_class_set(e, ERROR_ALREADY_ATTACHED, -EBUSY,
				       "can't use already busy memdev: %s",
				       spec->memdev);
	if (spec->backing.size_bytes > left)
		return error_class_set(e, ERROR_NO_AVAILABLE_LOCATION, -ENOSPC,
				       "%llu MiB more would be beyond --memory "
				       "max=: %llu MiB are left",
				       (unsigned long long)
					       (spec->backing.size_bytes >> 20),
				       (unsigned long long)(left >> 20));
	return 0;
}

/* From here on the guest sees it. */
static int plug(struct vm *vm, struct dimm *dimm, struct error *e)
{
	int ret;

	dimm->hotplugged = vm_guest_knows(vm);
	pthread_mutex_lock(&vm->machine_lock);
	devices_begin_memory(vm->devices);
	/* Who starts with it, or is about to look, says nothing of it. */
	dimm->taken = !vm_guest_knows(vm) ||
		      !hotplug_looked(board_mem_hotplug(vm->board), dimm->slot);
	ret = dimms_plug(vm->dimms, dimm, e);
	devices_end_memory(vm->devices);
	if (!ret) {
		vm_dirty_note_plugged(vm, dimm);
		hotplug_added(board_mem_hotplug(vm->board), dimm->slot,
			      dimm->base, dimm->len_bytes);
		vm_report_allow(vm, true, dimm->slot);
	}
	pthread_mutex_unlock(&vm->machine_lock);
	return ret;
}

/* A name that no other DIMM has. */
static void name_it(const struct vm *vm, char *name, size_t len)
{
	unsigned int n = 0;

	do
		snprintf(name, len, "dimm%u", n++);
	while (vm_dimm_find(vm, name) || devices_find(vm->devices, name));
}

int vm_dimm_add(struct vm *vm, const struct dimm_spec *spec, struct error *e)
{
	struct dimm_spec named = *spec;
	struct dimm *dimm;
	char name[32];
	int ret = check_state(vm, e);

	if (ret)
		return ret;
	named.cancelled = vm->start_cancelled;
	name_it(vm, name, sizeof(name));
	if (!named.id)
		named.id = name;
	ret = check_spec(vm, &named, e);
	if (!ret)
		ret = dimms_prepare(vm->dimms, &named, &dimm, e);
	if (!ret)
		ret = plug(vm, dimm, e);
	if (!ret && !vm_guest_knows(vm))
		vm->tables_stale = true;
	return ret;
}

/* The guest has let it go, or never had it. */
static void remove_now(struct vm *vm, struct dimm *dimm)
{
	char *id = dimm->id;

	dimm->id = NULL;
	pthread_mutex_lock(&vm->machine_lock);
	hotplug_gone(board_mem_hotplug(vm->board), dimm->slot);
	vm->dimms_ejected[dimm->slot] = false;
	devices_begin_memory(vm->devices);
	vm_dirty_note_unplugged(vm, dimm);
	dimms_remove(vm->dimms, dimm);
	devices_end_memory(vm->devices);
	pthread_mutex_unlock(&vm->machine_lock);
	if (!vm_guest_knows(vm))
		vm->tables_stale = true;
	vm_emit(vm, VM_EVENT_DEVICE_DELETED, false, id);
	free(id);
}

int vm_dimm_remove(struct vm *vm, struct dimm *dimm, struct error *e)
{
	int ret = check_state(vm, e);

	if (ret)
		return ret;
	if (!vm_guest_knows(vm)) {
		remove_now(vm, dimm);
		return 0;
	}
	dimm->removing = true;
	dimm->refused = false;
	pthread_mutex_lock(&vm->machine_lock);
	hotplug_request(board_mem_hotplug(vm->board), dimm->slot);
	vm_report_allow(vm, true, dimm->slot);
	pthread_mutex_unlock(&vm->machine_lock);
	return 0;
}

void vm_dimms_settle(struct vm *vm)
{
	for (unsigned int i = 0; i < CONFIG_MAX_DIMMS; i++) {
		struct dimm *dimm = vm_dimm_at(vm, i);

		if (dimm && (dimm->removing || vm->dimms_ejected[i]))
			remove_now(vm, dimm);
		else if (dimm)
			dimm->taken = true;
	}
}

/* ---- the guest's side ---------------------------------------------------- */

/* What was refused is not to happen at the next reset either, unless it is
 * memory-set's: the guest is to have less. */
void vm_dimm_note_report(struct vm *vm, const struct vm_report *r)
{
	struct dimm *dimm = vm_dimm_at(vm, r->slot);

	if (!dimm)
		return;
	/* ACPI 6.4, 5.6.6: 0 and 1 are bus and device checks. */
	if (r->source <= 1 && !r->status)
		dimm->taken = true;
	if (!dimm->removing || !vm_report_is_refusal(r))
		return;
	dimm->refused = dimm->automatic;
	dimm->removing = dimm->automatic;
}

void vm_dimm_ejected(void *opaque, unsigned int slot)
{
	struct vm *vm = opaque;
	struct hotplug *h = board_mem_hotplug(vm->board);

	if (!hotplug_present(h, slot))
		return;
	hotplug_gone(h, slot);
	vm->dimms_ejected[slot] = true;
	loop_event_set(&vm->dimm_ejection);
}

void vm_dimms_take_ejected(struct vm *vm)
{
	bool ejected[DIMMS_MAX];

	pthread_mutex_lock(&vm->machine_lock);
	memcpy(ejected, vm->dimms_ejected, sizeof(ejected));
	pthread_mutex_unlock(&vm->machine_lock);
	for (unsigned int i = 0; i < DIMMS_MAX; i++)
		if (ejected[i] && vm_dimm_at(vm, i))
			remove_now(vm, vm_dimm_at(vm, i));
}

static void on_ejected(void *opaque)
{
	struct vm *vm = opaque;

	/* vm_dimms_released() comes back to it. */
	if (!vm_is_held(vm))
		vm_dimms_take_ejected(vm);
}

void vm_dimms_released(struct vm *vm)
{
	loop_event_set(&vm->dimm_ejection);
}

int vm_dimms_init(struct vm *vm, struct error *e)
{
	int ret = loop_event_init(vm->loop, &vm->dimm_ejection, on_ejected, vm);

	return ret ? error_errno(e, ret, "event loop") : 0;
}

void vm_dimms_deinit(struct vm *vm)
{
	loop_event_deinit(&vm->dimm_ejection);
}
