/* SPDX-License-Identifier: MIT */
/*
 * The guest's memory and registers as a core file (save/elf_core.h), written by a
 * thread while the VM is held. Main thread.
 */
#ifndef MOTE_DUMP_H
#define MOTE_DUMP_H

#include <stdint.h>

#include "vm.h"

enum vm_dump_state {
	VM_DUMP_NONE,
	VM_DUMP_ACTIVE,
	VM_DUMP_COMPLETED,
	VM_DUMP_FAILED,
};

/* Of the last one. */
struct vm_dump_status {
	enum vm_dump_state state;
	uint64_t completed, total;	/* bytes of RAM */
	struct error error;		/* why it failed */
};

struct vm_dump_params {
	const char *uri;	/* file:PATH; NULL: fd instead */
	int fd;			/* taken over, also on failure */
	uint64_t begin, len_bytes;	/* the RAM in there, in whole pages */
};

/*
 * Begins one. The VM runs again after it, if it does now. VM_EVENT_DUMP_COMPLETED
 * says that it has ended, well or not.
 */
int vm_dump(struct vm *vm, const struct vm_dump_params *p, struct error *e);
void vm_dump_status(const struct vm *vm, struct vm_dump_status *out);

#endif
