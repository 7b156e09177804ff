/* SPDX-License-Identifier: MIT */
/*
 * RAM as an ELF core file: what crash and gdb open (System V ABI, "Object Files"
 * and, for what a core is, Linux' elfcore.h). One PT_NOTE, then a PT_LOAD for each
 * part of RAM, whose virtual address is the physical one, as there is no
 * translation in it.
 */
#ifndef MOTE_SAVE_ELF_CORE_H
#define MOTE_SAVE_ELF_CORE_H

#include <stddef.h>
#include <stdint.h>

#include "save/channel.h"
#include "state.h"

#define ELF_CORE_MAX_PARTS	512

struct elf_core_part {
	uint64_t base;		/* guest-physical; whole pages */
	const uint8_t *host;
	uint64_t len_bytes;
};

struct elf_core {
	const struct elf_core_part *parts;
	size_t part_count;		/* at most ELF_CORE_MAX_PARTS */
	const uint8_t *notes;		/* elf_core_put_note() made them */
	size_t notes_bytes;
};

/* A note: name, type, description. Any thread. */
void elf_core_put_note(struct state_writer *w, const char *name, uint32_t type,
		       const void *desc, size_t desc_bytes);

/* Bytes of RAM in it. */
uint64_t elf_core_ram_bytes(const struct elf_core *c);

/*
 * Writes all of it, pages of zeros as holes where the channel can have some.
 * progress is told how much of RAM was done. 0 or what the channel says.
 */
int elf_core_write(const struct elf_core *c, struct channel *to,
		   void (*progress)(void *opaque, uint64_t bytes),
		   void *opaque);

#endif
