/* SPDX-License-Identifier: MIT */
/*
 * Where a VM's memory is, and what of it has changed since earlier saves. Main
 * thread; vm_dirty_note_discarded() on any.
 */
#include <errno.h>

#include "snapshot_internal.h"
#include "virtio/virtio_pci.h"
#include "vm_internal.h"

size_t vm_ram_parts(const struct vm *vm, struct ram_part *parts)
{
	size_t count = ram_parts(vm->ram, parts);

	for (unsigned int n = 0; n < VM_MEMS_MAX && vm->mems[n].memory; n++)
		count += hot_memory_parts(vm->mems[n].memory, parts + count);
	return count + dimms_parts(vm->dimms, parts + count);
}

/* After the RAM, which has no gap in the file, by the guest's address: so that it
 * is the same in all saves of a chain. */
uint64_t vm_memory_offset(const struct vm *vm, gpa_t gpa)
{
	const uint64_t mask = MEMORY_CHUNK_BYTES - 1;

	return ((vm->config->memory.size_bytes + mask) & ~mask) +
	       (gpa - hot_memory_base(vm->hot_memory));
}

size_t vm_memory_parts(const struct vm *vm, struct memory_part *parts)
{
	struct ram_part ram[RAM_MAX_PARTS];
	size_t count = vm_ram_parts(vm, ram), at_start = ram_parts(vm->ram, ram);
	uint64_t offset = 0;

	for (size_t i = 0; i < count; i++) {
		parts[i] = (struct memory_part){
			.host = ram[i].host,
			.len_bytes = ram[i].len_bytes,
			.offset = i < at_start ? offset :
				  vm_memory_offset(vm, ram[i].base),
			.anonymous = ram[i].anonymous,
		};
		offset += ram[i].len_bytes;
	}
	return count;
}

static gpa_t ram_end(const struct vm *vm)
{
	struct ram_part ram[RAM_MAX_PARTS];
	size_t count = ram_parts(vm->ram, ram);

	if (vm->dimms)
		return dimms_end(vm->dimms);
	return ram[count - 1].base + ram[count - 1].len_bytes;
}

int vm_dirty_note_base(struct vm *vm, const uint8_t *id, struct error *e)
{
	int ret = 0;

	if (!vm->dirty)
		ret = dirty_create(&vm->dirty, vm->mem, &vm->kvm, ram_end(vm));
	if (!ret)
		ret = dirty_add_base(vm->dirty, id);
	return ret ? error_errno(e, ret, "the account of changed pages") : 0;
}

void vm_dirty_memory_lost(struct vm *vm)
{
	if (vm->dirty)
		dirty_note(vm->dirty, 0, UINT64_MAX);
}

/* Whatever had its place before is in earlier saves; and of memory that others
 * share, its pages do not tell what was written. */
void vm_dirty_note_plugged(struct vm *vm, const struct dimm *dimm)
{
	if (vm->dirty)
		dirty_note(vm->dirty, dimm->base, dimm->len_bytes);
}

void vm_dirty_note_unplugged(struct vm *vm, const struct dimm *dimm)
{
	struct ram_part ram[RAM_MAX_PARTS];
	size_t count = vm->dirty ? vm_ram_parts(vm, ram) : 0;

	for (size_t i = 0; i < count; i++)
		if (ram[i].base == dimm->base)
			dirty_forget(vm->dirty, ram[i].slot);
}

void vm_dirty_note_discarded(struct vm *vm, const void *host,
			     uint64_t len_bytes)
{
	const struct guest_mem_region *r;

	for (size_t i = 0; vm->dirty && (r = guest_mem_region(vm->mem, i)); i++) {
		uintptr_t offset = (uintptr_t)host - (uintptr_t)r->host;

		if (offset < r->len_bytes)
			dirty_note(vm->dirty, r->base + offset, len_bytes);
	}
}

int vm_dirty_collect(struct vm *vm, const struct ram_part *parts, size_t count,
		     struct error *e)
{
	int ret = vm->dirty ? 0 : dirty_create(&vm->dirty, vm->mem, &vm->kvm,
					       ram_end(vm));

	for (struct device *d = devices_first(vm->devices); d; d = d->next)
		virtio_device_note_written(virtio_pci_device(d->pci));
	if (!ret)
		ret = dirty_collect(vm->dirty, parts, count);
	return ret ? error_errno(e, ret, "the account of changed pages") : 0;
}
