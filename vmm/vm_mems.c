/* SPDX-License-Identifier: MIT */
/*
 * The virtio-mem devices of a VM. Main thread; what they call, vm_mem_clear() and
 * vm_mem_changed(), runs on theirs.
 */
#include "vm_mems.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dirty.h"
#include "virtio/virtio_pci.h"
#include "vm_devices.h"
#include "vm_dimms.h"
#include "vm_internal.h"
#include "vm_memory.h"

/* In the order of their making, as none goes. */
static struct device *device_of(const struct vm *vm, unsigned int n)
{
	for (struct device *i = devices_first(vm->devices); i; i = i->next)
		if (i->type == DEVICE_MEM && !n--)
			return i;
	return NULL;
}

static struct virtio_device *virtio_of(const struct vm *vm, unsigned int n)
{
	struct device *device = device_of(vm, n);

	return device ? virtio_pci_device(device->pci) : NULL;
}

/* The first one's room is rounded up. */
static uint64_t max_of(const struct vm *vm, unsigned int n)
{
	const struct config_memory *c = &vm->config->memory;

	return n ? vm->mems[n].bytes : c->max_bytes - c->size_bytes;
}

bool vm_mem_info(const struct vm *vm, unsigned int n, struct vm_mem_info *out)
{
	struct device *device = device_of(vm, n);
	struct virtio_device *d;

	if (!device)
		return false;
	d = virtio_pci_device(device->pci);
	*out = (struct vm_mem_info){
		.id = device->id,
		.memdev = vm->mems[n].memdev,
		.base = hot_memory_base(vm->mems[n].memory),
		.max = max_of(vm, n),
		.requested = virtio_mem_requested_bytes(d),
		.plugged = virtio_mem_plugged_bytes(d),
	};
	return true;
}

int vm_mem_find(const struct vm *vm, const char *id)
{
	struct vm_mem_info info;

	for (unsigned int n = 0; vm_mem_info(vm, n, &info); n++)
		if (info.id && !strcmp(info.id, id))
			return (int)n;
	return -1;
}

int vm_mem_of(const struct vm *vm, const char *memdev)
{
	struct vm_mem_info info;

	for (unsigned int n = 0; vm_mem_info(vm, n, &info); n++)
		if (info.memdev && !strcmp(info.memdev, memdev))
			return (int)n;
	return -1;
}

uint64_t vm_mems_requested(const struct vm *vm)
{
	struct vm_mem_info info;
	uint64_t sum = 0;

	for (unsigned int n = 0; vm_mem_info(vm, n, &info); n++)
		sum += info.requested;
	return sum;
}

uint64_t vm_mems_plugged(const struct vm *vm)
{
	struct vm_mem_info info;
	uint64_t sum = 0;

	for (unsigned int n = 0; vm_mem_info(vm, n, &info); n++)
		sum += info.plugged;
	return sum;
}

/* ---- asking the guest ------------------------------------------------------ */

/* Machine lock held. */
static int open_room(struct vm *vm, struct hot_memory *memory, uint64_t bytes,
		     struct error *e)
{
	int ret;

	if (bytes <= hot_memory_open_bytes(memory))
		return 0;
	devices_begin_memory(vm->devices);
	ret = hot_memory_open(memory, bytes, e);
	devices_end_memory(vm->devices);
	return ret;
}

/*
 * What the guest can reach is a block of Linux' more than it needs, so that it
 * can plug all of it where some cannot be used.
 */
int vm_mem_request(struct vm *vm, unsigned int n, uint64_t bytes,
		   struct error *e)
{
	struct hot_memory *memory = vm->mems[n].memory;
	struct vm_mem_info info;
	uint64_t most, open;
	int ret;

	if (!vm_mem_info(vm, n, &info))
		return error_set(e, -ENODEV, "the VM has no virtio-mem "
				 "(--memory max=)");
	most = vm_memory_room(vm) + info.requested;
	if (most > info.max)
		most = info.max;
	if (bytes % VIRTIO_MEM_BLOCK_BYTES || bytes > most)
		return error_config(e, -EINVAL, "%llu bytes: up to %llu, in "
				    "steps of 2 MiB", (unsigned long long)bytes,
				    (unsigned long long)most);
	open = bytes ? bytes + HOT_MEMORY_ALIGN : 0;
	if (open > hot_memory_bytes(memory))
		open = hot_memory_bytes(memory);
	pthread_mutex_lock(&vm->machine_lock);
	ret = open_room(vm, memory, open, e);
	if (!ret)
		virtio_mem_request(virtio_of(vm, n), bytes,
				   hot_memory_open_bytes(memory));
	pthread_mutex_unlock(&vm->machine_lock);
	return ret;
}

/* ---- one more -------------------------------------------------------------- */

static int check_new(const struct vm *vm, unsigned int n, const char *memdev,
		     uint64_t bytes, struct error *e)
{
	if (!vm->dimms)
		return error_class_set(e, ERROR_NOT_SUPPORTED, -ENOTSUP,
				       "there is no room for more memory: "
				       "--memory max= is not above what the VM "
				       "starts with");
	if (n == VM_MEMS_MAX)
		return error_class_set(e, ERROR_NO_AVAILABLE_LOCATION, -ENOSPC,
				       "there are %u virtio-mem already", n);
	if (vm_dimm_of(vm, memdev) || vm_mem_of(vm, memdev) >= 0)
		return error_class_set(e, ERROR_ALREADY_ATTACHED, -EBUSY,
				       "can't use already busy memdev: %s",
				       memdev);
	if (bytes % VIRTIO_MEM_BLOCK_BYTES)
		return error_config(e, -EINVAL, "memdev: '%s' has %llu bytes, "
				    "no multiple of 2 MiB", memdev,
				    (unsigned long long)bytes);
	return 0;
}

/* The balloon looks through all of them, on its loop. */
static void set_memory(struct vm *vm, struct vm_mem *m,
		       struct hot_memory *memory)
{
	if (!vm->devices) {
		m->memory = memory;
		return;
	}
	pthread_mutex_lock(&vm->machine_lock);
	devices_begin_memory(vm->devices);
	m->memory = memory;
	devices_end_memory(vm->devices);
	pthread_mutex_unlock(&vm->machine_lock);
}

/* Nobody looks. */
static void forget(struct vm *vm, struct vm_mem *m)
{
	hot_memory_destroy(m->memory);
	if (m->base)
		dimms_unreserve(vm->dimms, m->base);
	free(m->memdev);
	*m = (struct vm_mem){ .vm = vm };
}

static void undo(struct vm *vm, struct vm_mem *m)
{
	struct hot_memory *memory = m->memory;

	if (memory)
		set_memory(vm, m, NULL);
	hot_memory_destroy(memory);
	forget(vm, m);
}

int vm_mem_make_room(struct vm *vm, unsigned int n, const char *memdev,
		     const struct config_memory *backing, gpa_t base,
		     struct error *e)
{
	struct vm_mem *m = &vm->mems[n];
	struct hot_memory *memory = NULL;
	int ret;

	m->vm = vm;
	m->bytes = backing->size_bytes;
	m->memdev = strdup(memdev);
	if (!m->memdev)
		return error_set(e, -ENOMEM, "out of memory");
	ret = dimms_reserve(vm->dimms, m->bytes, &base, e);
	if (!ret)
		m->base = base;
	if (!ret)
		ret = hot_memory_create_at(&memory, backing, m->base, n, vm->mem,
					   &vm->kvm, e);
	if (!ret)
		set_memory(vm, m, memory);
	return ret ? error_prefix(e, ret, "memdev '%s'", memdev) : 0;
}

int vm_mem_add(struct vm *vm, struct device_spec spec, const char *memdev,
	       const struct config_memory *backing, uint64_t requested,
	       struct error *e)
{
	struct device_mem config;
	unsigned int n = 0;
	int ret;

	while (device_of(vm, n))
		n++;
	ret = check_new(vm, n, memdev, backing->size_bytes, e);
	if (ret)
		return ret;
	if (requested > backing->size_bytes || requested > vm_memory_room(vm) ||
	    requested % VIRTIO_MEM_BLOCK_BYTES)
		return error_config(e, -EINVAL, "requested-size: %llu bytes: up "
				    "to the memdev's size and --memory max=, in "
				    "steps of 2 MiB",
				    (unsigned long long)requested);
	ret = vm_mem_make_room(vm, n, memdev, backing, 0, e);
	if (!ret) {
		vm_mem_config(vm, n, &config);
		spec.type = DEVICE_MEM;
		spec.config = &config;
		ret = vm_device_add(vm, &spec, NULL, e);
	}
	if (ret) {
		undo(vm, &vm->mems[n]);
		return ret;
	}
	return requested ? vm_mem_request(vm, n, requested, e) : 0;
}

void vm_mem_config(struct vm *vm, unsigned int n, struct device_mem *out)
{
	struct vm_mem *m = &vm->mems[n];

	*out = (struct device_mem){
		.base = hot_memory_base(m->memory),
		.bytes = hot_memory_bytes(m->memory),
		.host = { vm_mem_clear, vm_mem_changed, m },
	};
}

bool vm_memory_added(const struct vm *vm)
{
	for (unsigned int n = 0; n < VM_MEMS_MAX && vm->mems[n].memory; n++)
		if (hot_memory_open_bytes(vm->mems[n].memory))
			return true;
	return dimms_bytes(vm->dimms);
}

void vm_mems_deinit(struct vm *vm)
{
	for (unsigned int n = 0; n < VM_MEMS_MAX; n++)
		forget(vm, &vm->mems[n]);
	vm->hot_memory = NULL;
}

/* ---- the guest's side ------------------------------------------------------ */

bool vm_mems_discard(const struct vm *vm, void *host, uint64_t len_bytes)
{
	for (unsigned int n = 0; n < VM_MEMS_MAX; n++) {
		const struct hot_memory *memory = vm->mems[n].memory;

		if (memory && hot_memory_discard(memory, host, len_bytes))
			return true;
	}
	return false;
}

void vm_mem_clear(void *opaque, uint64_t offset, uint64_t len_bytes)
{
	struct vm_mem *m = opaque;

	if (m->vm->dirty)
		dirty_note(m->vm->dirty, hot_memory_base(m->memory) + offset,
			   len_bytes);
	hot_memory_clear(m->memory, offset, len_bytes);
}

void vm_mems_tell(struct vm *vm)
{
	struct vm_mem_info info;

	for (unsigned int n = 0; vm_mem_info(vm, n, &info); n++) {
		if (info.plugged == vm->mems[n].told_bytes)
			continue;
		vm->mems[n].told_bytes = info.plugged;
		vm_emit(vm, VM_EVENT_MEMORY_CHANGE, true, info.id);
	}
}

/* The guest starts with its RAM; what it is asked to plug, it will find. */
void vm_mems_reset(struct vm *vm)
{
	for (unsigned int n = 0; n < VM_MEMS_MAX; n++) {
		if (virtio_of(vm, n))
			virtio_mem_unplug_all(virtio_of(vm, n));
		if (vm->mems[n].memory)
			hot_memory_reset(vm->mems[n].memory);
	}
}
