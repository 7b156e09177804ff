/* SPDX-License-Identifier: MIT */
/* How much memory the guest is to have in all, by whatever means. Main thread. */
#include <errno.h>

#include "virtio/virtio_pci.h"
#include "vm_dimms.h"
#include "vm_internal.h"
#include "vm_memory.h"

static uint64_t round_up(uint64_t n, uint64_t step)
{
	return (n + step - 1) / step * step;
}

/* ---- DIMMs ----------------------------------------------------------------- */

/* What clients have asked other virtio-mem for is not ours. */
static uint64_t others_requested(const struct vm *vm)
{
	struct vm_mem_info mem = { .requested = 0 };

	vm_mem_info(vm, 0, &mem);
	return vm_mems_requested(vm) - mem.requested;
}

/* DIMMs that are to stay, and those others; then all DIMMs that the guest uses. */
static uint64_t staying(const struct vm *vm)
{
	uint64_t sum = others_requested(vm);

	for (unsigned int i = 0; i < CONFIG_MAX_DIMMS; i++) {
		const struct dimm *dimm = vm_dimm_at(vm, i);

		if (dimm && !dimm->removing)
			sum += dimm->len_bytes;
	}
	return sum;
}

static uint64_t dimms_taken(const struct vm *vm)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < CONFIG_MAX_DIMMS; i++) {
		const struct dimm *dimm = vm_dimm_at(vm, i);

		if (dimm && dimm->taken)
			sum += dimm->len_bytes;
	}
	return sum;
}

/* What the guest did not let go anyway. */
static void keep_refused(struct vm *vm, uint64_t extra)
{
	for (unsigned int i = 0; i < CONFIG_MAX_DIMMS; i++) {
		struct dimm *dimm = vm_dimm_at(vm, i);

		if (dimm && dimm->refused &&
		    staying(vm) + dimm->len_bytes <= extra)
			dimm->removing = dimm->refused = false;
	}
}

/* Of our own, those that are not needed for so much; the last first. */
static int drop_dimms(struct vm *vm, uint64_t extra, struct error *e)
{
	int ret = 0;

	for (unsigned int i = CONFIG_MAX_DIMMS; !ret && i--;) {
		struct dimm *dimm = vm_dimm_at(vm, i);

		if (dimm && dimm->automatic &&
		    staying(vm) >= extra +
					 (dimm->removing ? 0 : dimm->len_bytes))
			ret = vm_dimm_remove(vm, dimm, e);
	}
	return ret;
}

static int add_dimm(struct vm *vm, uint64_t bytes, struct error *e)
{
	struct dimm_spec spec = {
		.backing = vm->config->memory, .automatic = true,
	};

	spec.backing.size_bytes = round_up(bytes, DIMM_ALIGN);
	hot_memory_backing(&spec.backing);
	return vm_dimm_add(vm, &spec, e);
}

/* ---- all of it ------------------------------------------------------------- */

/* The guest's driver for virtio-mem is at work. */
static bool has_driver(struct vm *vm)
{
	struct virtio_device *d = devices_first_of(vm->devices, DEVICE_MEM);
	bool active;

	pthread_mutex_lock(&vm->machine_lock);
	active = d && d->active;
	pthread_mutex_unlock(&vm->machine_lock);
	return active;
}

/* Makes it so much more than the RAM at the start. */
static int set_extra(struct vm *vm, uint64_t extra, struct error *e)
{
	struct vm_mem_info mem = { .requested = 0 };
	uint64_t rest;
	int ret;

	if (!vm->hot_memory)
		return 0;
	keep_refused(vm, extra);
	ret = drop_dimms(vm, extra, e);
	if (ret)
		return ret;
	rest = extra - (staying(vm) < extra ? staying(vm) : extra);
	vm_mem_info(vm, 0, &mem);
	if (rest > mem.requested && !has_driver(vm)) {
		ret = add_dimm(vm, rest - mem.requested, e);
		if (!ret)
			return 0;
		/* No slot, or not so much of that size; else a real error. */
		if (ret != -ENOSPC && ret != -ENOTSUP)
			return ret;
	}
	return vm_mem_request(vm, 0, rest, e);
}

static int check(struct vm *vm, uint64_t bytes, struct error *e)
{
	const struct config_memory *c = &vm->config->memory;
	uint64_t most = c->max_bytes > c->size_bytes ? c->max_bytes :
						       c->size_bytes;

	if (vm->state == VM_SHUTDOWN)
		return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
				       "the VM has ended");
	if (!bytes || bytes > most)
		return error_config(e, -EINVAL, "size: %llu bytes: up to %llu "
				    "(--memory max=)",
				    (unsigned long long)bytes,
				    (unsigned long long)most);
	if (bytes < c->size_bytes && !devices_first_of(vm->devices,
						       DEVICE_BALLOON))
		return error_class_set(e, ERROR_NOT_SUPPORTED, -ENOTSUP,
				       "less than the RAM at the start needs "
				       "a --balloon");
	return 0;
}

int vm_memory_set(struct vm *vm, uint64_t bytes, struct error *e)
{
	uint64_t ram = vm->config->memory.size_bytes, extra, total, all;
	struct vm_mem_info mem = { .requested = 0 };
	int ret = check(vm, bytes, e);

	if (ret)
		return ret;
	extra = bytes > ram ? round_up(bytes - ram, VIRTIO_MEM_BLOCK_BYTES) : 0;
	ret = set_extra(vm, extra, e);
	if (ret || !devices_first_of(vm->devices, DEVICE_BALLOON))
		return ret;
	/* What is too much, as DIMMs are large, is the balloon's as well. */
	if (bytes > ram)
		bytes = ram + extra;
	vm_mem_info(vm, 0, &mem);
	total = ram + staying(vm) + mem.requested;
	all = ram + dimms_bytes(vm->dimms);
	return vm_balloon_set(vm, total > bytes ? all - (total - bytes) : all,
			      e);
}

void vm_memory_sizes(struct vm *vm, uint64_t *requested, uint64_t *plugged)
{
	struct vm_mem_info mem = { .requested = 0 };
	struct virtio_device *d = devices_first_of(vm->devices, DEVICE_BALLOON);
	uint64_t ram = vm->config->memory.size_bytes, target = 0, actual = 0;

	vm_mem_info(vm, 0, &mem);
	if (d) {
		pthread_mutex_lock(&vm->machine_lock);
		target = virtio_balloon_target(d);
		actual = virtio_balloon_actual(d);
		pthread_mutex_unlock(&vm->machine_lock);
	}
	target *= BALLOON_PAGE_BYTES;
	actual *= BALLOON_PAGE_BYTES;
	*requested = ram + staying(vm) + mem.requested;
	*plugged = ram + dimms_taken(vm) + vm_mems_plugged(vm);
	/* The second is the guest's word: it may be anything. */
	*requested -= target < *requested ? target : *requested;
	*plugged -= actual < *plugged ? actual : *plugged;
}
