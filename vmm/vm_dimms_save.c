/* SPDX-License-Identifier: MIT */
/* Saving DIMMs and making them anew. Main thread, machine lock held or vCPUs not
 * there yet. */
#include <errno.h>

#include "hot_memory.h"
#include "snapshot_internal.h"
#include "vm_internal.h"

#define ID_BYTES 256

enum flag {
	FLAG_AUTOMATIC = 1 << 0,
	FLAG_REMOVING = 1 << 1,
	FLAG_REFUSED = 1 << 2,
	FLAG_TAKEN = 1 << 3,
	FLAG_HOTPLUGGED = 1 << 4,
	FLAGS_ALL = (1 << 5) - 1,
};

static uint8_t flags_of(const struct dimm *d)
{
	return (uint8_t)((d->automatic ? FLAG_AUTOMATIC : 0) |
			 (d->removing ? FLAG_REMOVING : 0) |
			 (d->refused ? FLAG_REFUSED : 0) |
			 (d->taken ? FLAG_TAKEN : 0) |
			 (d->hotplugged ? FLAG_HOTPLUGGED : 0));
}

void vm_dimms_save(const struct vm *vm, struct state_writer *w)
{
	uint32_t count = 0;

	for (unsigned int i = 0; i < DIMMS_MAX; i++)
		count += dimms_at(vm->dimms, i) != NULL;
	state_put_u32(w, count);
	for (unsigned int i = 0; i < DIMMS_MAX; i++) {
		const struct dimm *d = dimms_at(vm->dimms, i);

		if (!d)
			continue;
		state_put_u32(w, d->slot);
		state_put_string(w, d->id);
		state_put_string(w, d->memdev ? d->memdev : "");
		state_put_u64(w, d->base);
		state_put_u64(w, d->len_bytes);
		state_put_u8(w, flags_of(d));
	}
}

static int make(struct vm *vm, const struct dimm_spec *spec, uint8_t flags,
		struct error *e)
{
	uint64_t at = vm_memory_offset(vm, spec->base), len;
	int fd = saved_vm_lowest_file(vm->saved, &len);
	struct dimm *dimm;
	int ret = dimms_prepare(vm->dimms, spec, &dimm, e);

	if (ret)
		return ret;
	dimm->removing = flags & FLAG_REMOVING;
	dimm->refused = flags & FLAG_REFUSED;
	dimm->taken = flags & FLAG_TAKEN;
	dimm->hotplugged = flags & FLAG_HOTPLUGGED;
	ret = dimms_plug(vm->dimms, dimm, e);
	if (ret)
		return ret;
	hotplug_added(board_mem_hotplug(vm->board), dimm->slot, dimm->base,
		      dimm->len_bytes);
	vm_report_allow(vm, true, dimm->slot);
	if (vm->saved->mode == RESTORE_FAULT)
		ram_set_filled(dimm->ram);
	if (vm->saved->mode != RESTORE_MAP || len <= at)
		return 0;
	return ram_map_saved(dimm->ram, fd, at, len - at, e);
}

static int load_one(struct vm *vm, struct state_reader *r, struct error *e)
{
	struct dimm_spec spec = { .backing = vm->config->memory,
				  .has_slot = true };
	char id[ID_BYTES], memdev[ID_BYTES];
	uint8_t flags;
	int ret;

	spec.slot = state_get_u32(r);
	state_get_string(r, id, sizeof(id));
	state_get_string(r, memdev, sizeof(memdev));
	spec.base = state_get_u64(r);
	spec.backing.size_bytes = state_get_u64(r);
	flags = state_get_u8(r);
	ret = state_reader_error(r);
	if (!ret && (!*id || !spec.base || flags & ~FLAGS_ALL ||
		     dimms_find(vm->dimms, id)))
		ret = -EPROTO;
	if (ret)
		return error_errno(e, ret, "malformed");
	hot_memory_backing(&spec.backing);
	spec.id = id;
	spec.memdev = *memdev ? memdev : NULL;
	spec.automatic = flags & FLAG_AUTOMATIC;
	return make(vm, &spec, flags, e);
}

int vm_dimms_load(struct vm *vm, struct state_reader *r, struct error *e)
{
	uint32_t count = state_get_u32(r);
	int ret = state_reader_error(r);

	if (ret || (count && !board_mem_hotplug(vm->board)))
		return error_errno(e, ret ? ret : -EPROTO, "malformed");
	for (uint32_t i = 0; !ret && i < count; i++)
		ret = load_one(vm, r, e);
	if (!ret && state_reader_finish(r))
		ret = error_errno(e, state_reader_finish(r), "malformed");
	return ret;
}
