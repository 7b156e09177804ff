/* SPDX-License-Identifier: MIT */
/*
 * The balloon of a running VM, and what the guest changes by it and by virtio-mem.
 * Main thread; what they call, vm_memory_discard() to vm_mem_changed(), runs on
 * theirs.
 */
#include "vm_memory.h"

#include <errno.h>

#include "dirty.h"
#include "virtio/virtio_pci.h"
#include "vm_internal.h"

static int find(const struct vm *vm, struct virtio_device **out,
		struct error *e)
{
	*out = devices_first_of(vm->devices, DEVICE_BALLOON);
	if (*out)
		return 0;
	/* QEMU's class and words. */
	return error_class_set(e, ERROR_DEVICE_NOT_ACTIVE, -ENODEV,
			       "No balloon device has been activated");
}

/* What a balloon is relative to, as QEMU has it: virtio-mem not included. */
static uint64_t ram_pages(const struct vm *vm)
{
	return (vm->config->memory.size_bytes + dimms_bytes(vm->dimms)) /
	       BALLOON_PAGE_BYTES;
}

int vm_balloon_get(struct vm *vm, uint64_t *bytes, struct error *e)
{
	uint64_t pages = ram_pages(vm), taken;
	struct virtio_device *d;
	int ret = find(vm, &d, e);

	if (ret)
		return ret;
	pthread_mutex_lock(&vm->machine_lock);
	taken = virtio_balloon_actual(d);
	pthread_mutex_unlock(&vm->machine_lock);
	*bytes = (pages - (taken < pages ? taken : pages)) * BALLOON_PAGE_BYTES;
	return 0;
}

int vm_balloon_set(struct vm *vm, uint64_t bytes, struct error *e)
{
	uint64_t pages = ram_pages(vm), kept = bytes / BALLOON_PAGE_BYTES;
	struct virtio_device *d;
	int ret = find(vm, &d, e);

	if (ret)
		return ret;
	if (!bytes)
		return error_set(e, -EINVAL, "Parameter 'target' expects a "
				 "size");
	pages -= kept < pages ? kept : pages;
	pthread_mutex_lock(&vm->machine_lock);
	virtio_balloon_set_target(d, (uint32_t)pages);
	pthread_mutex_unlock(&vm->machine_lock);
	return 0;
}

uint64_t vm_balloon_stat(const struct vm *vm, enum balloon_stat which)
{
	struct virtio_device *d = devices_first_of(vm->devices, DEVICE_BALLOON);

	return d ? virtio_balloon_stat(d, which) : BALLOON_STAT_UNKNOWN;
}

int64_t vm_balloon_stats_time(const struct vm *vm)
{
	struct virtio_device *d = devices_first_of(vm->devices, DEVICE_BALLOON);

	return d ? virtio_balloon_stats_time(d) : 0;
}

void vm_balloon_set_stats_interval(struct vm *vm, uint32_t seconds)
{
	virtio_balloon_set_stats_interval(
		devices_first_of(vm->devices, DEVICE_BALLOON), seconds);
}

uint32_t vm_balloon_stats_interval(const struct vm *vm)
{
	return virtio_balloon_stats_interval(
		devices_first_of(vm->devices, DEVICE_BALLOON));
}

static uint64_t mem_max(const struct vm *vm)
{
	const struct config_memory *c = &vm->config->memory;

	return c->max_bytes > c->size_bytes ? c->max_bytes - c->size_bytes : 0;
}

uint64_t vm_memory_room(const struct vm *vm)
{
	return mem_max(vm) - dimms_bytes(vm->dimms) - vm_mems_requested(vm);
}

/* ---- the guest's side ---------------------------------------------------- */

void vm_memory_discard(void *opaque, void *host, uint64_t len_bytes)
{
	struct vm *vm = opaque;

	vm_dirty_note_discarded(vm, host, len_bytes);
	/* Persistent memory is guest memory too, but not the guest's to drop. */
	if (!ram_discard(vm->ram, host, len_bytes) &&
	    !dimms_discard(vm->dimms, host, len_bytes))
		vm_mems_discard(vm, host, len_bytes);
}

void vm_balloon_changed(void *opaque)
{
	vm_notice_set(&((struct vm *)opaque)->balloon_notice);
}

void vm_mem_changed(void *opaque)
{
	vm_notice_set(&((struct vm_mem *)opaque)->vm->mem_notice);
}

static void tell_balloon(struct vm *vm)
{
	vm_emit(vm, VM_EVENT_BALLOON_CHANGE, true, NULL);
}

int vm_memory_init(struct vm *vm, struct error *e)
{
	int ret = vm_notice_init(&vm->balloon_notice, vm, vm->loop,
				 tell_balloon);

	if (!ret)
		ret = vm_notice_init(&vm->mem_notice, vm, vm->loop,
				     vm_mems_tell);
	return ret ? error_errno(e, ret, "timer") : 0;
}

void vm_memory_deinit(struct vm *vm)
{
	vm_notice_deinit(&vm->balloon_notice);
	vm_notice_deinit(&vm->mem_notice);
}
