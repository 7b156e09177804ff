/* SPDX-License-Identifier: MIT */
/*
 * Where the files of a save go: all in one directory (save/directory.h), or state
 * and memory where the user says. A memory file outside the directory has a name
 * of its generation, NAME.ID, and what names it, the state, is put in place last:
 * whatever happens, a state that is there has its memory. One thread at a time.
 */
#ifndef MOTE_SAVE_FILES_H
#define MOTE_SAVE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define SAVE_FILES_ID_BYTES 16

struct save_files;

struct save_places {
	const char *directory;		/* or NULL, with a state_path */
	const char *memory_path;	/* NULL: in the directory, or beside the
					 * state: its name and ".memory" */
	/* A new file, an empty one, or an earlier state; NULL: in the directory. */
	const char *state_path;
	/* The memory file of the save that is replaced, or NULL: removed after
	 * that, if it is one of these generations. */
	const char *old_memory;
	bool no_memory;			/* it is elsewhere: save_files_memory()
					 * is not called */
};

/* Checks and prepares; nothing is in its place yet. id: of the generation. */
int save_files_create(struct save_files **out, const struct save_places *p,
		      const uint8_t *id, struct error *e);
/* Without a commit: nothing is left of it. NULL is fine. */
void save_files_destroy(struct save_files *f);

/* A new file for memory; the caller's, who waits until it is on the disk. */
int save_files_memory(struct save_files *f, struct error *e);
/* What the state calls it. */
const char *save_files_memory_name(const struct save_files *f);
/* "state", or another that only a directory has. */
int save_files_write(struct save_files *f, const char *name, const void *data,
		     size_t len_bytes, struct error *e);
int save_files_commit(struct save_files *f, struct error *e);

#endif
