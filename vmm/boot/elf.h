/* SPDX-License-Identifier: MIT */
/*
 * ELF executables as boot images: the program headers, checked, and the PVH
 * entry point. Main thread. The file is hostile; what is in a struct elf_image
 * is consistent, but knows nothing of the guest's memory yet.
 */
#ifndef MOTE_BOOT_ELF_H
#define MOTE_BOOT_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot/source.h"
#include "error.h"
#include "guest_mem.h"

#define ELF_MAX_SEGMENTS 32

/* A PT_LOAD: [file_offset, +file_bytes) goes to paddr, zeros follow it. */
struct elf_segment {
	uint64_t file_offset;	/* from the start of the ELF header */
	uint64_t file_bytes;
	uint64_t mem_bytes;	/* ≥ file_bytes, not 0 */
	gpa_t paddr;
	uint64_t vaddr;
	bool writable, executable;	/* PF_W, PF_X */
};

struct elf_image {
	bool is64;
	uint16_t machine;	/* EM_… */
	uint64_t entry;
	bool has_pvh;
	uint32_t pvh_entry;
	/* By paddr; none overlaps another or wraps. At least one. */
	struct elf_segment segments[ELF_MAX_SEGMENTS];
	size_t count;
	uint64_t extent;	/* bytes of the file that all of this needs */
	/*
	 * Long ranges of the file, from the ELF header on, that the section
	 * headers call neither code nor, in a writable segment, writable. A
	 * hint, unchecked: what they hold will hardly be written to.
	 */
	struct source_map constant;
};

/* True when the first bytes of a file are an ELF's. */
bool elf_sniff(const uint8_t *head, size_t len_bytes);

/*
 * Reads the ELF that is at offset of fd and has len bytes; name is the file's
 * for messages. Class InvalidConfig, or the error of reading.
 */
int elf_read(struct elf_image *out, int fd, uint64_t offset,
	     uint64_t len_bytes, const char *name, struct error *e);

/* The segment whose guest-physical range holds gpa, or NULL. */
const struct elf_segment *elf_find(const struct elf_image *elf, gpa_t gpa);
/* First address behind the last segment. */
gpa_t elf_end(const struct elf_image *elf);

#endif
