/* SPDX-License-Identifier: MIT */
/*
 * What Linux's 64-bit entry point expects to find in memory (boot.rst, "64-bit
 * Boot Protocol"). Main thread.
 */
#ifndef MOTE_BOOT_LINUX_X86_H
#define MOTE_BOOT_LINUX_X86_H

#include "boot/boot.h"
#include "boot/bzimage_x86.h"

struct linux_params {
	const struct bzimage *bz;
	gpa_t kernel;		/* its lowest address */
	gpa_t entry;
	gpa_t initrd;
	uint64_t initrd_len;	/* 0: none */
};

/*
 * Writes boot_params, page tables, GDT and command line and fills *out. The
 * low addresses of layout_x86.h must be RAM. -E2BIG: the memory map.
 */
int linux_write(const struct linux_params *l, const struct boot_load_params *p,
		struct boot_entry *out, struct error *e);

#endif
