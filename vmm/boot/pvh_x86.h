/* SPDX-License-Identifier: MIT */
/* Xen's PVH direct boot (Xen's docs/misc/pvh.pandoc). Main thread. */
#ifndef MOTE_BOOT_PVH_X86_H
#define MOTE_BOOT_PVH_X86_H

#include "boot/boot.h"

struct pvh_params {
	gpa_t entry;		/* below 4 GiB */
	gpa_t module;		/* the initial ramdisk */
	uint64_t module_len;	/* 0: none */
};

/*
 * Writes hvm_start_info, what it points to, and a GDT, and fills *out. The low
 * addresses of layout_x86.h must be RAM. -E2BIG: the memory map.
 */
int pvh_write(const struct pvh_params *v, const struct boot_load_params *p,
	      struct boot_entry *out, struct error *e);

#endif
