/* SPDX-License-Identifier: MIT */
/*
 * The balloon of a running VM. Main thread; vm_memory_discard() runs on the
 * balloon's loop's, vm_balloon_changed() on vCPU threads.
 */
#include "vm_memory.h"

#include <errno.h>
#include <time.h>

#include "vm_internal.h"

/* A guest may change its mind as often as it likes; clients hear of it so. */
#define TELL_NS UINT64_C(1000000000)

static int find(const struct vm *vm, struct virtio_device **out,
		struct error *e)
{
	*out = devices_balloon(vm->devices);
	if (*out)
		return 0;
	/* QEMU's class and words. */
	return error_class_set(e, ERROR_DEVICE_NOT_ACTIVE, -ENODEV,
			       "No balloon device has been activated");
}

static uint64_t ram_pages(const struct vm *vm)
{
	return vm->config->memory.size_bytes / BALLOON_PAGE_BYTES;
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
	struct virtio_device *d = devices_balloon(vm->devices);

	return d ? virtio_balloon_stat(d, which) : BALLOON_STAT_UNKNOWN;
}

/* ---- the guest's side ---------------------------------------------------- */

void vm_memory_discard(void *opaque, void *host, uint64_t len_bytes)
{
	struct vm *vm = opaque;

	/* Persistent memory is guest memory too, but not the guest's to drop. */
	ram_discard(vm->ram, host, len_bytes);
}

void vm_balloon_changed(void *opaque)
{
	struct vm *vm = opaque;

	if (!atomic_exchange(&vm->balloon_changed, true))
		loop_timer_set(&vm->balloon_timer, 1, 0);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void on_changed(void *opaque)
{
	struct vm *vm = opaque;
	uint64_t since = now_ns() - vm->balloon_told_ns;

	if (vm->balloon_told_ns && since < TELL_NS) {
		loop_timer_set(&vm->balloon_timer, TELL_NS - since, 0);
		return;
	}
	vm->balloon_told_ns = now_ns();
	atomic_store(&vm->balloon_changed, false);
	vm_emit(vm, VM_EVENT_BALLOON_CHANGE, true, NULL);
}

int vm_memory_init(struct vm *vm, struct error *e)
{
	int ret = loop_timer_init(vm->loop, &vm->balloon_timer, on_changed, vm);

	return ret ? error_errno(e, ret, "timer") : 0;
}

void vm_memory_deinit(struct vm *vm)
{
	loop_timer_deinit(&vm->balloon_timer);
}
