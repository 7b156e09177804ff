/* SPDX-License-Identifier: MIT */
/*
 * PVH start information (xen/include/public/arch-x86/hvm/start_info.h). Main
 * thread.
 */
#include "boot/pvh_x86.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "layout_x86.h"

#define START_MAGIC	0x336ec578u
#define MAX_MEMMAP	128u

struct start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist_paddr;
	uint64_t cmdline_paddr;
	uint64_t rsdp_paddr;
	/* Version 1: */
	uint64_t memmap_paddr;
	uint32_t memmap_entries;
	uint32_t reserved;
};

struct module {
	uint64_t paddr;
	uint64_t size;
	uint64_t cmdline_paddr;
	uint64_t reserved;
};

struct memmap {
	uint64_t addr;
	uint64_t size;
	uint32_t type;		/* as in the e820 map */
	uint32_t reserved;
};

/* All of it, as it lies at LAYOUT_PVH_INFO. */
struct block {
	struct start_info start;
	struct module module;
	struct memmap memmap[MAX_MEMMAP];
};

_Static_assert(sizeof(struct start_info) == 56, "version 1");
_Static_assert(LAYOUT_PVH_INFO + sizeof(struct block) <= LAYOUT_BOOT_PARAMS,
	       "the next table starts there");

static void fill(struct block *b, const struct pvh_params *v,
		 const struct boot_load_params *p)
{
	b->start = (struct start_info){
		.magic = START_MAGIC,
		.version = 1,
		.rsdp_paddr = p->rsdp,
		.memmap_paddr = LAYOUT_PVH_INFO +
				offsetof(struct block, memmap),
		.memmap_entries = (uint32_t)p->map_count,
	};
	if (p->cmdline && *p->cmdline)
		b->start.cmdline_paddr = LAYOUT_CMDLINE;
	if (v->module_len) {
		b->start.nr_modules = 1;
		b->start.modlist_paddr = LAYOUT_PVH_INFO +
					 offsetof(struct block, module);
		b->module.paddr = v->module;
		b->module.size = v->module_len;
	}
	for (size_t i = 0; i < p->map_count; i++) {
		b->memmap[i].addr = p->map[i].base;
		b->memmap[i].size = p->map[i].len_bytes;
		b->memmap[i].type = p->map[i].type;
	}
}

int pvh_write(const struct pvh_params *v, const struct boot_load_params *p,
	      struct boot_entry *out, struct error *e)
{
	/* Flat 32-bit segments; the specification wants no particular GDT. */
	const uint64_t gdt[] = { 0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff };
	struct block b = { 0 };
	int ret;

	if (p->map_count > MAX_MEMMAP)
		return error_set(e, -E2BIG, "memory map: %zu entries, there is "
				 "room for %u", p->map_count, MAX_MEMMAP);
	fill(&b, v, p);
	ret = guest_mem_write(p->mem, LAYOUT_PVH_INFO, &b, sizeof(b));
	if (!ret)
		ret = guest_mem_write(p->mem, LAYOUT_GDT, gdt, sizeof(gdt));
	if (!ret && b.start.cmdline_paddr)
		ret = guest_mem_write(p->mem, LAYOUT_CMDLINE, p->cmdline,
				      strlen(p->cmdline) + 1);
	if (ret)
		return error_errno(e, ret, "boot parameters");
	*out = (struct boot_entry){
		.protocol = BOOT_PVH,
		.entry = v->entry,
		.info = LAYOUT_PVH_INFO,
		.stack = LAYOUT_BOOT_STACK,
		.gdt = LAYOUT_GDT,
	};
	return 0;
}
