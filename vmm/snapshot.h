/* SPDX-License-Identifier: MIT */
/*
 * Saving a VM and making a new one from what was saved (docs/SNAPSHOT.md). Main
 * thread.
 */
#ifndef MOTE_SNAPSHOT_H
#define MOTE_SNAPSHOT_H

#include "vm.h"

/* How the RAM of a restored VM comes from the memory file. */
enum restore_memory {
	RESTORE_MAP,	/* mapped copy-on-write: at once, whatever its size */
	RESTORE_COPY,	/* read, every checksum verified */
	RESTORE_FAULT,	/* read page by page, as they are touched */
};

enum save_type {
	SAVE_FULL,
	/* RAM is a file of the user's, --memory path=FILE,share=on, and stays
	 * where it is: the VM never runs again. */
	SAVE_TEMPLATE,
	/* Of RAM, what has changed since another save. */
	SAVE_DIFF,
};

struct save_params {
	enum save_type type;
	const char *directory;	/* or NULL, with a state_path */
	const char *base;	/* of a diff: an earlier save of this VM */
	/* Outside the directory (save/files.h), or NULL. */
	const char *memory_path, *state_path;
};

typedef void (*vm_save_fn)(void *opaque, int ret, const struct error *e);

/*
 * Everything into a directory, which replaces an earlier save there at once or
 * not at all. -EPERM (InvalidState) unless the VM is paused. It is VM_SAVING until
 * done() is called, by the loop, not before vm_save() has returned 0; then paused.
 * Who destroys the VM first hears nothing.
 */
int vm_save(struct vm *vm, const struct save_params *p, vm_save_fn on_done,
	    void *opaque, struct error *e);

/* Of the save that is being made, VM_EVENT_SAVE_PROGRESS once a second; false:
 * none is. */
struct vm_save_progress {
	uint64_t done, total;	/* bytes of memory */
	uint64_t passed_ms;
};
bool vm_save_progress(const struct vm *vm, struct vm_save_progress *out);

/* ---- what was saved, checked ---------------------------------------------- */

struct saved_vm;

/*
 * Reads and checks all that can be checked without a VM: every checksum of the
 * state, what is in it, the memory file's size. path: the directory, or its
 * state file. Class InvalidConfig; the file and section are named.
 */
int saved_vm_open(struct saved_vm **out, const char *path, struct error *e);
void saved_vm_close(struct saved_vm *s);
/* The configuration it was saved with, as JSON. */
const char *saved_vm_config(const struct saved_vm *s);
/*
 * c is that configuration with what was changed for this VM: may it be restored
 * so? Also sets where its RAM comes from, and persistent memory goes.
 */
int saved_vm_use(struct saved_vm *s, enum restore_memory mode,
		 struct vm_config *c, struct error *e);

/* As vm_create(); the VM is paused, and s may be closed afterwards. cancelled is
 * asked while memory is read. */
int vm_restore(struct vm **out, const struct vm_config *c, struct loop *loop,
	       const struct saved_vm *s, bool (*cancelled)(void),
	       struct error *e);

#endif
