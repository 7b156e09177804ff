/* SPDX-License-Identifier: MIT */
/*
 * A VM that goes to another process as a stream (save/stream.h): paused, sent by
 * a thread, and over there received by a VM that was made with --incoming defer
 * and the same configuration. Main thread.
 */
#ifndef MOTE_MIGRATE_H
#define MOTE_MIGRATE_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "vm.h"

enum vm_migrate_status {
	VM_MIGRATE_NONE,
	VM_MIGRATE_SETUP,
	VM_MIGRATE_ACTIVE,
	VM_MIGRATE_CANCELLING,
	VM_MIGRATE_CANCELLED,
	VM_MIGRATE_COMPLETED,
	VM_MIGRATE_FAILED,
};

/* Of the last one, out or in. */
struct vm_migrate_info {
	enum vm_migrate_status status;
	uint64_t total, done;	/* bytes of RAM */
	uint64_t sent;		/* bytes of the stream for them */
	uint64_t setup_ms, total_ms;
	struct error error;	/* why it failed */
};

struct vm_migrate_capabilities {
	/* RAM that is a file of the user's, mapped shared, is not sent. */
	bool ignore_shared;
	bool events;		/* VM_EVENT_MIGRATION; at first: yes */
};

/*
 * Begins to send the VM. It is paused; when all is sent it stays so, in state
 * postmigrate, and otherwise it is as before. VM_EVENT_MIGRATION tells of each new
 * status, and once a second how far it is. uri: channel_open(). -EPERM
 * (InvalidState) in a state in which it cannot.
 */
int vm_migrate(struct vm *vm, const char *uri, struct error *e);
/* Begins to receive it, in state inmigrate. It then runs if it ran over there, and
 * is not to be paused. */
int vm_migrate_incoming(struct vm *vm, const char *uri, struct error *e);
/* Asks what is under way to end; its event follows. */
void vm_migrate_cancel(struct vm *vm);
void vm_migrate_info(const struct vm *vm, struct vm_migrate_info *out);
void vm_migrate_capabilities(const struct vm *vm,
			     struct vm_migrate_capabilities *out);
/* -EBUSY while one is under way. */
int vm_migrate_set_capabilities(struct vm *vm,
				const struct vm_migrate_capabilities *c,
				struct error *e);

#endif
