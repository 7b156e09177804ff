/* SPDX-License-Identifier: MIT */
/* Which memory a VM that is moved has, and making that where it comes in. Main
 * thread. */
#include <errno.h>

#include "migrate_internal.h"
#include "snapshot_internal.h"

static void add_part(struct vm_migration *m, void *host, uint64_t len_bytes,
		     bool anonymous, bool elsewhere)
{
	m->parts[m->part_count++] = (struct stream_part){
		.host = host,
		.len_bytes = len_bytes,
		.zeros = anonymous && !m->started,
		.elsewhere = elsewhere,
	};
	if (!elsewhere)
		m->info.total += len_bytes;
}

/* However many steps a room was opened in, what is open of it is one part: over
 * there it may have been others. */
static void add_room(struct vm_migration *m, const struct hot_memory *h)
{
	struct ram_part parts[HOT_MEMORY_MAX_SLOTS];

	if (hot_memory_parts(h, parts))
		add_part(m, parts[0].host, hot_memory_open_bytes(h),
			 parts[0].anonymous, false);
}

void migration_set_parts(struct vm_migration *m)
{
	struct vm *vm = m->vm;
	struct ram_part parts[CONFIG_MAX_DIMMS + RAM_MAX_RANGES];
	unsigned int count = ram_parts(vm->ram, parts);

	m->part_count = 0;
	m->info.total = 0;
	for (unsigned int i = 0; i < count; i++)
		add_part(m, parts[i].host, parts[i].len_bytes,
			 parts[i].anonymous, m->header.shared);
	for (unsigned int n = 0; n < VM_MEMS_MAX && vm->mems[n].memory; n++)
		add_room(m, vm->mems[n].memory);
	count = dimms_parts(vm->dimms, parts);
	for (unsigned int i = 0; i < count; i++)
		add_part(m, parts[i].host, parts[i].len_bytes,
			 parts[i].anonymous, false);
}

/* Machine lock held, devices quiet. */
static void drop(struct vm *vm)
{
	for (unsigned int i = 0; i < DIMMS_MAX; i++) {
		struct dimm *dimm = dimms_at(vm->dimms, i);

		if (!dimm)
			continue;
		hotplug_gone(board_mem_hotplug(vm->board), i);
		dimms_remove(vm->dimms, dimm);
	}
	for (unsigned int n = 0; n < VM_MEMS_MAX && vm->mems[n].memory; n++)
		hot_memory_close(vm->mems[n].memory);
}

/* With memory, or without. */
static int replace(struct vm_migration *m, bool with, struct error *e)
{
	struct vm *vm = m->vm;
	int ret = 0;

	if (!vm->hot_memory)
		return 0;
	vm->saved = m->saved;
	pthread_mutex_lock(&vm->machine_lock);
	devices_begin_memory(vm->devices);
	drop(vm);
	if (with)
		ret = vm_mems_load(vm, e);
	if (with && !ret)
		ret = snapshot_load_dimms(vm, e);
	if (ret)
		drop(vm);
	devices_end_memory(vm->devices);
	pthread_mutex_unlock(&vm->machine_lock);
	vm->saved = NULL;
	m->memory_made = with && !ret;
	return ret;
}

int migration_make_memory(struct vm_migration *m, struct error *e)
{
	return replace(m, true, e);
}

void migration_drop_memory(struct vm_migration *m)
{
	struct error ignored;

	if (m->memory_made)
		replace(m, false, &ignored);
}
