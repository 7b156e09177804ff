/* SPDX-License-Identifier: MIT */
/* Saving the rooms of virtio-mem devices and making them anew. Main thread; nobody
 * uses their memory. */
#include <errno.h>
#include <string.h>

#include "snapshot_internal.h"
#include "virtio/mem.h"
#include "vm_internal.h"

void vm_mems_save(const struct vm *vm, struct state_writer *w)
{
	uint32_t count = 0;

	while (count < VM_MEMS_MAX && vm->mems[count].memory)
		count++;
	state_put_u32(w, count);
	for (uint32_t n = 0; n < count; n++) {
		const struct vm_mem *m = &vm->mems[n];

		state_put_string(w, m->memdev ? m->memdev : "");
		state_put_u64(w, hot_memory_base(m->memory));
		state_put_u64(w, hot_memory_bytes(m->memory));
		state_put_u64(w, hot_memory_open_bytes(m->memory));
	}
}

static int make(struct vm *vm, unsigned int n, const struct saved_mem *saved,
		struct error *e)
{
	struct config_memory backing = vm->config->memory;

	/* It is among the devices already, or will be with this. */
	if (!n || vm->devices || !vm->dimms || !*saved->memdev ||
	    !saved->base || !saved->bytes ||
	    saved->bytes % VIRTIO_MEM_BLOCK_BYTES)
		return error_errno(e, -EPROTO, "virtio-mem %u", n);
	hot_memory_backing(&backing);
	backing.size_bytes = saved->bytes;
	return vm_mem_make_room(vm, n, saved->memdev, &backing, saved->base, e);
}

static int check(const struct vm_mem *m, unsigned int n,
		 const struct saved_mem *saved, struct error *e)
{
	if (hot_memory_base(m->memory) == saved->base &&
	    hot_memory_bytes(m->memory) == saved->bytes &&
	    !strcmp(m->memdev ? m->memdev : "", saved->memdev))
		return 0;
	return error_config(e, -EINVAL, "virtio-mem %u has %llu MiB of '%s' at "
			    "%#llx, not %llu MiB of '%s' at %#llx", n,
			    (unsigned long long)saved->bytes >> 20,
			    saved->memdev, (unsigned long long)saved->base,
			    (unsigned long long)
			    hot_memory_bytes(m->memory) >> 20,
			    m->memdev ? m->memdev : "", (unsigned long long)
			    hot_memory_base(m->memory));
}

/* Its content is that of the file, or comes later. */
static int open_room(struct vm *vm, struct hot_memory *memory, uint64_t bytes,
		     struct error *e)
{
	const struct saved_vm *s = vm->saved;
	uint64_t at = vm_memory_offset(vm, hot_memory_base(memory)), len;
	int fd = saved_vm_lowest_file(s, &len);
	int ret = hot_memory_open(memory, bytes, e);

	if (!ret && hot_memory_open_bytes(memory) != bytes)
		ret = error_errno(e, -EPROTO, "%llu bytes are open",
				  (unsigned long long)bytes);
	if (ret || s->mode != RESTORE_MAP || len <= at || !bytes)
		return ret;
	return hot_memory_map(memory, fd, at, len - at, e);
}

int vm_mems_load(struct vm *vm, struct error *e)
{
	const struct saved_vm *s = vm->saved;
	int ret = 0;

	for (unsigned int n = 0; !ret && n < s->mem_count; n++) {
		struct vm_mem *m = &vm->mems[n];

		ret = m->memory ? check(m, n, &s->mems[n], e) :
				  make(vm, n, &s->mems[n], e);
		if (!ret)
			ret = open_room(vm, m->memory, s->mems[n].open, e);
	}
	if (ret)
		return saved_vm_section_error(s, TAG_MEMS, 0, ret, e);
	/* An older save says it elsewhere. */
	if (!s->mem_count && s->hot_bytes && vm->hot_memory)
		ret = open_room(vm, vm->hot_memory, s->hot_bytes, e);
	return ret ? saved_vm_section_error(s, TAG_MEMORY, 0, ret, e) : 0;
}
