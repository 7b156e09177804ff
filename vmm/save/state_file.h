/* SPDX-License-Identifier: MIT */
/*
 * The state file: a header, a table, sections. docs/SNAPSHOT.md has the format.
 * A file is checked as a whole before any section is looked into: every byte of
 * it is under a CRC32C. One thread at a time.
 */
#ifndef MOTE_STATE_FILE_H
#define MOTE_STATE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "state.h"

#define STATE_FILE_VERSION	1
#define STATE_TAG_BYTES		16	/* with a NUL */
#define STATE_MAX_SECTIONS	4096
#define STATE_MAX_BYTES		(1u << 30)

/* The architecture, as in an ELF header. save/machine_<arch>.c */
extern const uint32_t state_file_machine;

/* ---- writing -------------------------------------------------------------- */

struct state_file;

/* -ENOMEM */
int state_file_create(struct state_file **out);
void state_file_destroy(struct state_file *f);
/*
 * A new section; what it holds is put into the writer, which belongs to the
 * file. NULL: out of memory. Valid until the next call.
 */
struct state_writer *state_file_add(struct state_file *f, const char *tag,
				    uint32_t instance);
/* All of it into one block, malloc()ed; -ENOMEM, -E2BIG */
int state_file_encode(struct state_file *f, uint8_t **data, size_t *len_bytes);

/* ---- reading -------------------------------------------------------------- */

struct state_section {
	char tag[STATE_TAG_BYTES];
	uint32_t instance;
	const uint8_t *data;	/* in the block that was given */
	size_t len_bytes;
};

struct state_view {
	struct state_section *sections;	/* malloc()ed */
	size_t count;
};

/*
 * Checks header, table and all sections of a block, which must stay as long as
 * the view. Class InvalidConfig; what is wrong, and in which section, is named.
 */
int state_view_init(struct state_view *v, const uint8_t *data,
		    size_t len_bytes, struct error *e);
void state_view_deinit(struct state_view *v);
/* NULL when there is none. */
const struct state_section *state_view_find(const struct state_view *v,
					    const char *tag,
					    uint32_t instance);
/* How many instances, from 0 on without a gap, there are. */
uint32_t state_view_count(const struct state_view *v, const char *tag);

#endif
