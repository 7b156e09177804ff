/* SPDX-License-Identifier: MIT */
/* What migrate.c, migrate_out.c and migrate_in.c share. Main thread. */
#ifndef MOTE_MIGRATE_INTERNAL_H
#define MOTE_MIGRATE_INTERNAL_H

#include <stdatomic.h>

#include "job.h"
#include "migrate.h"
#include "save/stream.h"
#include "vm_internal.h"

struct saved_vm;

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
	struct stream_part parts[RAM_MAX_RANGES];
	size_t part_count;		/* 0: RAM is not in the stream */
	_Atomic uint64_t sent;
	struct saved_vm *saved;		/* what came in */

	bool started;			/* something has come in before */
	bool broken;			/* a part of it was loaded */
};

/* Made at the first use. */
int migration_get(struct vm *vm, struct vm_migration **out, struct error *e);
/* All RAM is to be moved. */
void migration_set_parts(struct vm_migration *m);
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
