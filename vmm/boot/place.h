/* SPDX-License-Identifier: MIT */
/*
 * Where things go in guest memory, and putting them there. Main thread; the
 * contract of boot_load() about when.
 */
#ifndef MOTE_BOOT_PLACE_H
#define MOTE_BOOT_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "boot/boot.h"
#include "boot/elf.h"
#include "boot/source.h"

/* True when [base, base+len) is RAM in the map and in guest memory. */
bool place_is_ram(const struct boot_load_params *p, gpa_t base,
		  uint64_t len_bytes);

/* First address behind the RAM that ends highest below the limit. */
gpa_t place_ram_end(const struct boot_load_params *p, gpa_t limit);

/*
 * The highest page-aligned place for len bytes of RAM in [floor, limit).
 * -ENOSPC when there is none.
 */
int place_high(const struct boot_load_params *p, uint64_t len_bytes,
	       gpa_t floor, gpa_t limit, gpa_t *out);

struct place_range {
	gpa_t gpa;
	uint64_t len_bytes;
};

struct place_elf_params {
	const struct elf_image *elf;
	int fd;
	uint64_t offset;	/* of the ELF header in fd */
	const struct source_map *data;	/* from offset on; NULL: all is */
	const char *name;	/* for messages */
	bool map;		/* whole pages may be mapped privately */
	bool zeroed;		/* guest memory is known to be all zero */
};

/*
 * Loads the segments, which the caller has found to be in RAM. *code is the
 * first range of mapped pages that the guest may yet write to, empty if none.
 */
int place_elf(const struct place_elf_params *p, struct guest_mem *m,
	      struct place_range *code, struct error *e);

#endif
