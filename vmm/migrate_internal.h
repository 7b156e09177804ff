/* SPDX-License-Identifier: MIT */
/* What migrate.c, migrate_out.c and migrate_in.c share. Main thread. */
#ifndef MOTE_MIGRATE_INTERNAL_H
#define MOTE_MIGRATE_INTERNAL_H

#include <stdatomic.h>

#include "job.h"
#include "hot_memory.h"
#include "migrate.h"
#include "save/stream.h"
#include "vm_internal.h"

struct saved_vm;

#define STREAM_MAX_PARTS (RAM_MAX_RANGES + HOT_MEMORY_MAX_ROOMS + \
			  CONFIG_MAX_DIMMS)

struct vm_migration {
	struct vm *vm;
	struct vm_migrate_capabilities capabilities;
	struct vm_migrate_info info;
	uint64_t started_ns;		/* CLOCK_MONOTONIC */

	/* While one is under way. */
	struct job *job;
	struct channel *channel;
	struct stream_header header;
	uint8_t *state;			/* malloc()ed */
	struct stream_part parts[STREAM_MAX_PARTS];
	size_t part_count;
	_Atomic uint64_t sent;
	struct saved_vm *saved;		/* what came in */

	bool started;			/* something has come in before */
	bool memory_made;		/* migration_make_memory() */
	bool broken;			/* a part of it was loaded */
};

/* Made at the first use. */
int migration_get(struct vm *vm, struct vm_migration **out, struct error *e);
/*
 * migrate_memory.c. All memory that the VM has now is to be moved, but RAM that
 * both share.
 */
void migration_set_parts(struct vm_migration *m);
/* What was added to the RAM of m->saved, which was checked, is added here. What
 * fails leaves none. */
int migration_make_memory(struct vm_migration *m, struct error *e);
/* And is gone again; no-op when it was not. */
void migration_drop_memory(struct vm_migration *m);
void migration_set_status(struct vm_migration *m,
			  enum vm_migrate_status status);
/* From opening the channel, which is the migration's now, on. */
void migration_begin(struct vm_migration *m, struct channel *c);
/* Starts a thread; replaces the one that has ended. */
int migration_work(struct vm_migration *m, const struct job_ops *ops,
		   struct error *e);
/* A job's tick. */
void migration_tick(void *opaque);
/* A stream_progress; opaque is the migration, on the job's thread. */
void migration_progress(void *opaque, uint64_t ram_bytes, uint64_t sent_bytes);
/* Lets go of all that is only there while it is under way; then the status. */
void migration_end(struct vm_migration *m, int ret, const struct error *e);

#endif
