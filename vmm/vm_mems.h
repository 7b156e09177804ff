/* SPDX-License-Identifier: MIT */
/*
 * The virtio-mem devices of a VM: the first is that of --memory max=, others come
 * while it is there, each over memory of its own, and stay. Main thread.
 *
 * VM_EVENT_MEMORY_CHANGE says that a guest has plugged or unplugged some, at
 * most once a second for each; its reason is the id.
 */
#ifndef MOTE_VM_MEMS_H
#define MOTE_VM_MEMS_H

#include "devices.h"
#include "ram.h"
#include "vm.h"

#define VM_MEMS_MAX HOT_MEMORY_MAX_ROOMS

/* Sizes in bytes. */
struct vm_mem_info {
	const char *id;		/* as long as the device; NULL: it has none */
	const char *memdev;	/* the same; NULL: that of --memory */
	uint64_t base;
	uint64_t max, requested, plugged;
};

/* False: there are not so many; they are numbered from 0 on. */
bool vm_mem_info(const struct vm *vm, unsigned int n, struct vm_mem_info *out);
/* Negative: there is none. */
int vm_mem_find(const struct vm *vm, const char *id);
int vm_mem_of(const struct vm *vm, const char *memdev);

/*
 * Asks the guest to plug so much of it, a multiple of the block size. -ENODEV:
 * there is none; InvalidConfig: no such multiple, more than it has, or than
 * --memory max= leaves.
 */
int vm_mem_request(struct vm *vm, unsigned int n, uint64_t bytes,
		   struct error *e);

/*
 * One more: spec has the id and the place. NotSupported: there is no max=;
 * NoAvailableLocation: no room, or too many; AlreadyAttached: another has this
 * memory; else as vm_device_add() and ram_create().
 */
int vm_mem_add(struct vm *vm, struct device_spec spec, const char *memdev,
	       const struct config_memory *backing, uint64_t requested,
	       struct error *e);

/* The sums over all. */
uint64_t vm_mems_requested(const struct vm *vm);
uint64_t vm_mems_plugged(const struct vm *vm);

#endif
