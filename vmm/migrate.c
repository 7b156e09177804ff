/* SPDX-License-Identifier: MIT */
/* What sending and receiving a VM have in common. Main thread. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "migrate_internal.h"
#include "snapshot.h"

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t passed_ms(const struct vm_migration *m)
{
	return (now_ns() - m->started_ns) / 1000000;
}

static bool under_way(const struct vm_migration *m)
{
	return m && (m->info.status == VM_MIGRATE_SETUP ||
		     m->info.status == VM_MIGRATE_ACTIVE ||
		     m->info.status == VM_MIGRATE_CANCELLING);
}

static void tell(struct vm_migration *m)
{
	if (m->capabilities.events)
		vm_emit(m->vm, VM_EVENT_MIGRATION, false, NULL);
}

void migration_tick(void *opaque)
{
	tell(opaque);
}

int migration_get(struct vm *vm, struct vm_migration **out, struct error *e)
{
	struct vm_migration *m = vm->migration;

	*out = NULL;
	if (!m) {
		m = calloc(1, sizeof(*m));
		if (!m)
			return error_set(e, -ENOMEM, "out of memory");
		m->vm = vm;
		m->capabilities.events = true;
		vm->migration = m;
	}
	*out = m;
	if (under_way(m))
		return error_set(e, -EBUSY, "There's a migration process in "
				 "progress");
	return 0;
}

void migration_set_status(struct vm_migration *m,
			  enum vm_migrate_status status)
{
	if (status == VM_MIGRATE_ACTIVE)
		m->info.setup_ms = passed_ms(m);
	m->info.status = status;
	tell(m);
}

void migration_begin(struct vm_migration *m, struct channel *c)
{
	m->channel = c;
	m->info = (struct vm_migrate_info){ .status = VM_MIGRATE_NONE };
	m->part_count = 0;
	atomic_store(&m->sent, 0);
	m->started_ns = now_ns();
	migration_set_status(m, VM_MIGRATE_SETUP);
}

int migration_work(struct vm_migration *m, const struct job_ops *ops,
		   struct error *e)
{
	job_destroy(m->job);
	m->job = NULL;
	return job_start(&m->job, m->vm->loop, ops, m, e);
}

void migration_progress(void *opaque, uint64_t ram_bytes, uint64_t sent_bytes)
{
	struct vm_migration *m = opaque;

	/* The job is there for as long as its thread. */
	job_add_progress(m->job, ram_bytes);
	atomic_fetch_add(&m->sent, sent_bytes);
}

static void release(struct vm_migration *m)
{
	job_destroy(m->job);
	m->job = NULL;
	channel_close(m->channel);
	m->channel = NULL;
	saved_vm_close(m->saved);
	m->saved = NULL;
	free(m->state);
	m->state = NULL;
}

void migration_end(struct vm_migration *m, int ret, const struct error *e)
{
	bool cancelled = m->info.status == VM_MIGRATE_CANCELLING;
	struct vm_migrate_info last;

	vm_migrate_info(m->vm, &last);
	m->info = last;
	release(m);
	if (ret && !cancelled)
		m->info.error = *e;
	migration_set_status(m, !ret ? VM_MIGRATE_COMPLETED :
				cancelled ? VM_MIGRATE_CANCELLED :
					    VM_MIGRATE_FAILED);
}

void vm_migration_deinit(struct vm *vm)
{
	if (!vm->migration)
		return;
	release(vm->migration);
	free(vm->migration);
	vm->migration = NULL;
}

void vm_migrate_cancel(struct vm *vm)
{
	struct vm_migration *m = vm->migration;

	if (!under_way(m) || m->info.status == VM_MIGRATE_CANCELLING)
		return;
	job_cancel(m->job);
	migration_set_status(m, VM_MIGRATE_CANCELLING);
}

void vm_migrate_info(const struct vm *vm, struct vm_migrate_info *out)
{
	const struct vm_migration *m = vm->migration;

	*out = (struct vm_migrate_info){ .status = VM_MIGRATE_NONE };
	if (!m)
		return;
	*out = m->info;
	if (!under_way(m))
		return;
	out->total_ms = passed_ms(m);
	out->sent = atomic_load(&m->sent);
	if (m->job && m->part_count)
		out->done = job_progress(m->job);
}

void vm_migrate_capabilities(const struct vm *vm,
			     struct vm_migrate_capabilities *out)
{
	*out = (struct vm_migrate_capabilities){ .events = true };
	if (vm->migration)
		*out = vm->migration->capabilities;
}

int vm_migrate_set_capabilities(struct vm *vm,
				const struct vm_migrate_capabilities *c,
				struct error *e)
{
	struct vm_migration *m;
	int ret = migration_get(vm, &m, e);

	if (!ret)
		m->capabilities = *c;
	return ret;
}
