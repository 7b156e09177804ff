/* SPDX-License-Identifier: MIT */
/* RAM that comes as it is touched: mote restore --memory fault. Main thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "job.h"
#include "save/fault.h"
#include "snapshot_internal.h"
#include "vm_internal.h"

/* Without that page the guest must not go on. */
static void failed(void *opaque, const char *reason)
{
	vm_vcpu_died(opaque, VCPU_KVM_ERROR, reason);
}

static int open_source(struct vm *vm, uint64_t pages,
		       struct page_source **out, struct error *e)
{
	struct memory_layer layers[SAVED_MAX_LAYERS];
	int count = saved_vm_layers(vm->saved, layers, e);

	return count < 0 ? count : page_source_create(out, layers,
						      (size_t)count, pages, e);
}

int vm_fault_start(struct vm *vm, struct error *e)
{
	const struct saved_vm *s = vm->saved;
	struct memory_part parts[RAM_MAX_PARTS];
	struct fault_range ranges[RAM_MAX_PARTS];
	struct fault_params p = { .ranges = ranges, .id = s->identity.id,
				  .failed = failed, .opaque = vm };
	char *order;
	int ret;

	if (s->mode != RESTORE_FAULT)
		return 0;
	p.count = vm_memory_parts(vm, parts);
	/* The source has no page behind the file's last one. */
	if (memory_file_bytes(parts, p.count) != s->map.len_bytes)
		return error_config(e, -EPROTO, "%s: section '%s': is not as "
				    "large as the VM's memory", s->path,
				    TAG_MEMORY);
	for (size_t i = 0; i < p.count; i++)
		ranges[i] = (struct fault_range){
			parts[i].host, parts[i].len_bytes,
			parts[i].offset / MEMORY_PAGE_BYTES,
		};
	if (asprintf(&order, "%s.pages", s->path) < 0)
		return error_set(e, -ENOMEM, "out of memory");
	p.order_path = order;
	ret = open_source(vm, s->map.len_bytes / MEMORY_PAGE_BYTES,
				  &p.source, e);
	if (!ret)
		ret = fault_create(&vm->fault, &p, e);
	free(order);
	for (unsigned int n = 0; !ret && n < VM_MEMS_MAX; n++)
		if (vm->mems[n].memory)
			hot_memory_note_filled(vm->mems[n].memory);
	return ret;
}

/* What was reset has nothing of the file any more. */
int vm_fault_fill(struct vm *vm, struct job *j, const char *what,
		  struct error *e)
{
	struct memory_part parts[RAM_MAX_PARTS];
	size_t count = vm->fault ? vm_memory_parts(vm, parts) : 0;

	for (size_t i = 0; i < count; i++)
		for (uint64_t at = 0; !parts[i].anonymous &&
				      at < parts[i].len_bytes;
		     at += FAULT_FILL_BYTES) {
			uint64_t len = parts[i].len_bytes - at;
			int ret = job_cancelled(j) ?
				error_set(e, -ECANCELED, "cancelled") :
				fault_fill(vm->fault, parts[i].host + at,
					   len < FAULT_FILL_BYTES ? len :
					   FAULT_FILL_BYTES, e);

			if (ret)
				return error_prefix(e, ret, "%s", what);
		}
	return 0;
}

void vm_fault_quiet(struct vm *vm)
{
	fault_quiet(vm->fault);
}

void vm_fault_stop(struct vm *vm)
{
	fault_destroy(vm->fault);
	vm->fault = NULL;
}
