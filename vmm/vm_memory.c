/* SPDX-License-Identifier: MIT */
/*
 * The balloon and the virtio-mem of a running VM. Main thread; what they call,
 * vm_memory_discard() to vm_mem_changed(), runs on theirs.
 */
#include "vm_memory.h"

#include <errno.h>
#include <time.h>

#include "dirty.h"
#include "virtio/virtio_pci.h"
#include "vm_internal.h"

/* A guest may change its mind as often as it likes; clients hear of it so. */
#define TELL_NS UINT64_C(1000000000)

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

/* ---- virtio-mem ---------------------------------------------------------- */

/* The device's own limit is that of its room, which is rounded up. */
static uint64_t mem_max(const struct vm *vm)
{
	const struct config_memory *c = &vm->config->memory;

	return c->max_bytes > c->size_bytes ? c->max_bytes - c->size_bytes : 0;
}

bool vm_mem_info(const struct vm *vm, struct vm_mem_info *out)
{
	for (struct device *i = devices_first(vm->devices); i; i = i->next) {
		struct virtio_device *d;

		if (i->type != DEVICE_MEM)
			continue;
		d = virtio_pci_device(i->pci);
		*out = (struct vm_mem_info){
			.id = i->id,
			.base = hot_memory_base(vm->hot_memory),
			.max = mem_max(vm),
			.requested = virtio_mem_requested_bytes(d),
			.plugged = virtio_mem_plugged_bytes(d),
		};
		return true;
	}
	return false;
}

uint64_t vm_memory_room(const struct vm *vm)
{
	struct vm_mem_info mem = { 0 };

	vm_mem_info(vm, &mem);
	return mem_max(vm) - dimms_bytes(vm->dimms) - mem.requested;
}

/* Machine lock held. */
static int open_room(struct vm *vm, uint64_t bytes, struct error *e)
{
	int ret;

	if (bytes <= hot_memory_open_bytes(vm->hot_memory))
		return 0;
	devices_begin_memory(vm->devices);
	ret = hot_memory_open(vm->hot_memory, bytes, e);
	devices_end_memory(vm->devices);
	return ret;
}

/*
 * What the guest can reach is a block of Linux' more than it needs, so that it
 * can plug all of it where some cannot be used.
 */
int vm_mem_request(struct vm *vm, uint64_t bytes, struct error *e)
{
	struct virtio_device *d = devices_first_of(vm->devices, DEVICE_MEM);
	uint64_t most = mem_max(vm) - dimms_bytes(vm->dimms), open;
	int ret;

	if (!d)
		return error_set(e, -ENODEV, "the VM has no virtio-mem "
				 "(--memory max=)");
	if (bytes % VIRTIO_MEM_BLOCK_BYTES || bytes > most)
		return error_config(e, -EINVAL, "%llu bytes: up to %llu, in "
				    "steps of 2 MiB", (unsigned long long)bytes,
				    (unsigned long long)most);
	open = bytes ? bytes + HOT_MEMORY_ALIGN : 0;
	if (open > hot_memory_bytes(vm->hot_memory))
		open = hot_memory_bytes(vm->hot_memory);
	pthread_mutex_lock(&vm->machine_lock);
	ret = open_room(vm, open, e);
	if (!ret)
		virtio_mem_request(d, bytes,
				   hot_memory_open_bytes(vm->hot_memory));
	pthread_mutex_unlock(&vm->machine_lock);
	return ret;
}

/* ---- the guest's side ---------------------------------------------------- */

void vm_memory_discard(void *opaque, void *host, uint64_t len_bytes)
{
	struct vm *vm = opaque;

	vm_save_note_discarded(vm, host, len_bytes);
	/* Persistent memory is guest memory too, but not the guest's to drop. */
	if (!ram_discard(vm->ram, host, len_bytes) &&
	    !dimms_discard(vm->dimms, host, len_bytes) && vm->hot_memory)
		hot_memory_discard(vm->hot_memory, host, len_bytes);
}

void vm_memory_clear(void *opaque, uint64_t offset, uint64_t len_bytes)
{
	struct vm *vm = opaque;

	if (vm->dirty)
		dirty_note(vm->dirty, hot_memory_base(vm->hot_memory) + offset,
			   len_bytes);
	hot_memory_clear(vm->hot_memory, offset, len_bytes);
}

static void note(struct vm_notice *n)
{
	if (!atomic_exchange(&n->set, true))
		loop_timer_set(&n->timer, 1, 0);
}

void vm_balloon_changed(void *opaque)
{
	note(&((struct vm *)opaque)->balloon_notice);
}

void vm_mem_changed(void *opaque)
{
	note(&((struct vm *)opaque)->mem_notice);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void on_notice(void *opaque)
{
	struct vm_notice *n = opaque;
	uint64_t since = now_ns() - n->told_ns;

	if (n->told_ns && since < TELL_NS) {
		loop_timer_set(&n->timer, TELL_NS - since, 0);
		return;
	}
	n->told_ns = now_ns();
	atomic_store(&n->set, false);
	vm_emit(n->vm, n->event, true, NULL);
}

/* The guest starts with its RAM; what it is asked to plug, it will find. */
void vm_memory_reset(struct vm *vm)
{
	struct virtio_device *d = devices_first_of(vm->devices, DEVICE_MEM);

	if (d)
		virtio_mem_unplug_all(d);
	if (vm->hot_memory)
		hot_memory_reset(vm->hot_memory);
}

int vm_memory_init(struct vm *vm, struct error *e)
{
	struct vm_notice *const notices[] = {
		&vm->balloon_notice, &vm->mem_notice,
	};
	int ret = 0;

	vm->balloon_notice.event = VM_EVENT_BALLOON_CHANGE;
	vm->mem_notice.event = VM_EVENT_MEMORY_CHANGE;
	for (size_t i = 0; !ret && i < 2; i++) {
		notices[i]->vm = vm;
		ret = loop_timer_init(vm->loop, &notices[i]->timer, on_notice,
				      notices[i]);
	}
	return ret ? error_errno(e, ret, "timer") : 0;
}

void vm_memory_deinit(struct vm *vm)
{
	loop_timer_deinit(&vm->balloon_notice.timer);
	loop_timer_deinit(&vm->mem_notice.timer);
}
