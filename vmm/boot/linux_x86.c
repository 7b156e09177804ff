/* SPDX-License-Identifier: MIT */
/* Linux's 64-bit boot protocol. Main thread. */
#include "boot/linux_x86.h"

#include <errno.h>
#include <string.h>

#include "layout_x86.h"

#define LOADER_UNDEFINED	0xff	/* type_of_loader: none registered */
#define HEAP_END_PTR		0xde00	/* unused: real mode never runs */

#define PAGE			4096u
#define PTES			(PAGE / sizeof(uint64_t))
#define PTE_PRESENT		0x01ull
#define PTE_WRITE		0x02ull
#define PTE_LARGE		0x80ull
#define LARGE_PAGE		(2ull << 20)
#define DIRECTORIES		4u	/* 1 GiB each */

_Static_assert(sizeof(struct boot_params) == PAGE, "the zero page");
_Static_assert(LAYOUT_PAGE_TABLES + (2 + DIRECTORIES) * PAGE <=
	       LAYOUT_CMDLINE, "page tables and command line overlap");

/* Fields that boot.rst marks "write", and all pointers in the others. */
static void fill_header(struct boot_params *bp, const struct linux_params *l,
			const struct boot_load_params *p)
{
	struct setup_header *h = &bp->hdr;

	memcpy((uint8_t *)bp + BZIMAGE_HEADER, l->bz->header,
	       l->bz->header_len);
	h->type_of_loader = LOADER_UNDEFINED;
	h->loadflags |= LOADED_HIGH | CAN_USE_HEAP;
	h->heap_end_ptr = HEAP_END_PTR;
	h->ext_loader_type = 0;
	h->ext_loader_ver = 0;
	h->vid_mode = 0xffff;			/* normal */
	h->code32_start = (uint32_t)l->kernel;
	h->cmd_line_ptr = p->cmdline && *p->cmdline ? LAYOUT_CMDLINE : 0;
	h->setup_data = 0;
	h->ramdisk_image = (uint32_t)l->initrd;
	h->ramdisk_size = (uint32_t)l->initrd_len;
	bp->ext_ramdisk_image = (uint32_t)(l->initrd >> 32);
	bp->ext_ramdisk_size = (uint32_t)(l->initrd_len >> 32);
	bp->acpi_rsdp_addr = p->rsdp;
}

static int fill_e820(struct boot_params *bp, const struct boot_load_params *p,
		     struct error *e)
{
	if (p->map_count > E820_MAX_ENTRIES_ZEROPAGE)
		return error_set(e, -E2BIG, "memory map: %zu entries, the boot "
				 "protocol has room for %u", p->map_count,
				 E820_MAX_ENTRIES_ZEROPAGE);
	for (size_t i = 0; i < p->map_count; i++)
		bp->e820_table[i] = (struct boot_e820_entry){
			.addr = p->map[i].base,
			.size = p->map[i].len_bytes,
			.type = p->map[i].type,
		};
	bp->e820_entries = (uint8_t)p->map_count;
	return 0;
}

/* Intel SDM volume 3, 4.5: the first 4 GiB at their own addresses. */
static int write_page_tables(struct guest_mem *m)
{
	const gpa_t pdpt = LAYOUT_PAGE_TABLES + PAGE;
	const gpa_t directories = pdpt + PAGE;
	uint64_t table[PTES] = { pdpt | PTE_PRESENT | PTE_WRITE };
	int ret;

	ret = guest_mem_write(m, LAYOUT_PAGE_TABLES, table, sizeof(table));
	if (ret)
		return ret;
	for (unsigned int i = 0; i < DIRECTORIES; i++)
		table[i] = (directories + i * PAGE) | PTE_PRESENT | PTE_WRITE;
	ret = guest_mem_write(m, pdpt, table, sizeof(table));
	for (unsigned int i = 0; i < DIRECTORIES && !ret; i++) {
		for (unsigned int j = 0; j < PTES; j++)
			table[j] = (i * PTES + j) * LARGE_PAGE | PTE_PRESENT |
				   PTE_WRITE | PTE_LARGE;
		ret = guest_mem_write(m, directories + i * PAGE, table,
				      sizeof(table));
	}
	return ret;
}

/* boot.rst: __BOOT_CS is 0x10, 64-bit code, __BOOT_DS is 0x18, both flat. */
static int write_gdt(struct guest_mem *m)
{
	const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff };

	return guest_mem_write(m, LAYOUT_GDT, gdt, sizeof(gdt));
}

int linux_write(const struct linux_params *l, const struct boot_load_params *p,
		struct boot_entry *out, struct error *e)
{
	struct boot_params bp = { 0 };
	int ret;

	fill_header(&bp, l, p);
	ret = fill_e820(&bp, p, e);
	if (ret)
		return ret;
	ret = guest_mem_write(p->mem, LAYOUT_BOOT_PARAMS, &bp, sizeof(bp));
	if (!ret)
		ret = write_page_tables(p->mem);
	if (!ret)
		ret = write_gdt(p->mem);
	if (!ret && bp.hdr.cmd_line_ptr)
		ret = guest_mem_write(p->mem, LAYOUT_CMDLINE, p->cmdline,
				      strlen(p->cmdline) + 1);
	if (ret)
		return error_errno(e, ret, "boot parameters");
	*out = (struct boot_entry){
		.protocol = BOOT_LINUX64,
		.entry = l->entry,
		.info = LAYOUT_BOOT_PARAMS,
		.stack = LAYOUT_BOOT_STACK,
		.page_tables = LAYOUT_PAGE_TABLES,
		.gdt = LAYOUT_GDT,
	};
	return 0;
}
