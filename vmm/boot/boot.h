/* SPDX-License-Identifier: MIT */
/*
 * The boot loader: a kernel image and its companions into guest memory. Main
 * thread, before the vCPUs run or while all are stopped (reset), where nothing
 * else is said.
 *
 * boot_open() reads, checks and (through the cache or a confined child)
 * decompresses; boot_load() places, and may be called again for every reset
 * with the same result. Every field of an image is hostile: an error names the
 * file and the field, has the class InvalidConfig, and nothing was changed.
 */
#ifndef MOTE_BOOT_H
#define MOTE_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "guest_mem.h"

struct boot_image;

struct boot_open_params {
	const char *kernel;
	const char *const *initrds;	/* concatenated, each 4-byte aligned */
	size_t initrd_count;
	const char *cache;	/* directory, "off", or NULL: the default */
	/* Asked about ten times a second while a pipe is read or a kernel is
	 * decompressed, which can take minutes; true: -ECANCELED. Or NULL. */
	bool (*cancelled)(void);
};

int boot_open(struct boot_image **out, const struct boot_open_params *p,
	      struct error *e);
void boot_close(struct boot_image *b);

enum boot_memory_type {		/* e820 / PVH memory map types */
	BOOT_RAM = 1,
	BOOT_RESERVED = 2,
	BOOT_ACPI = 3,
};

struct boot_memory {
	gpa_t base;
	uint64_t len_bytes;
	enum boot_memory_type type;
};

/*
 * Loads what boot_load() would anyway and can be before the rest of the machine
 * is there: the segments of an ELF. Once, before the first boot_load();
 * map_private as below. What does not fit is left for boot_load() to name. Any
 * thread, as long as it alone uses b.
 */
int boot_preload(struct boot_image *b, struct guest_mem *mem, bool map_private,
		 struct error *e);

struct boot_load_params {
	struct guest_mem *mem;
	const struct boot_memory *map;	/* address order: the whole map */
	size_t map_count;
	const char *cmdline;
	gpa_t rsdp;			/* 0: none */
	/* Guest RAM is private anonymous memory: pages of the cached kernel may
	 * be mapped over it (MAP_PRIVATE | MAP_FIXED) instead of copied. */
	bool map_private;
};

enum boot_protocol {
	BOOT_LINUX64,	/* long mode, rsi = boot_params (x86 boot.rst 1.15) */
	BOOT_PVH,	/* 32-bit protected mode, ebx = hvm_start_info */
};

/* What the boot vCPU starts with; vmm/kvm/vcpu_<arch>.c makes registers of it. */
struct boot_entry {
	enum boot_protocol protocol;
	gpa_t entry;
	gpa_t info;		/* boot_params or hvm_start_info */
	gpa_t stack;
	gpa_t page_tables;	/* PML4, identity-mapped first 4 GiB; LINUX64 */
	gpa_t gdt;		/* 0x10 code, 0x18 data flat segments */
};

int boot_load(struct boot_image *b, const struct boot_load_params *p,
	      struct boot_entry *entry, struct error *e);

/*
 * Linux patches nearly all of its code, much of which is mapped and not copied.
 * Makes copies of up to max bytes of that in one system call, where the guest's
 * writes would take faults for each page; its content stays. False when no more
 * is to be done. Main thread; the vCPUs may run.
 */
bool boot_populate(struct boot_image *b, struct guest_mem *mem,
		   uint64_t max_bytes);

/* True when the first boot_open() found the kernel in the cache. */
bool boot_was_cached(const struct boot_image *b);
/* The longest command line the kernel takes, without the final NUL. */
size_t boot_cmdline_limit(const struct boot_image *b);

#endif
