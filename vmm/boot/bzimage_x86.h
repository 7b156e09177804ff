/* SPDX-License-Identifier: MIT */
/*
 * The setup header of an x86 Linux bzImage (Linux's Documentation/arch/x86/
 * boot.rst), checked. Main thread. The file is hostile.
 */
#ifndef MOTE_BOOT_BZIMAGE_X86_H
#define MOTE_BOOT_BZIMAGE_X86_H

#include <asm/bootparam.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "guest_mem.h"

#define BZIMAGE_HEADER		0x1f1u	/* in the file and in boot_params */
#define BZIMAGE_HEADER_END	0x290u	/* what boot_params has room for */
/* As much of the file's start as bzimage_parse() wants to see. */
#define BZIMAGE_HEAD_BYTES	0x1000u

struct bzimage {
	/* The bytes for boot_params, also of fields newer than hdr's. */
	uint8_t header[BZIMAGE_HEADER_END - BZIMAGE_HEADER];
	size_t header_len;
	struct setup_header hdr;	/* the same; absent fields: 0 */
	/* The protected-mode part and the payload inside it, in the file. */
	uint64_t kernel_offset, kernel_len;
	uint64_t payload_offset, payload_len;
	/* Derived: */
	bool entry64;		/* at 0x200 of the protected-mode part */
	uint32_t cmdline_limit;	/* without the NUL */
	gpa_t initrd_limit;	/* first byte that it may not use */
	gpa_t pref_address;
	uint64_t init_size;	/* 0: not said */
};

bool bzimage_sniff(const uint8_t *head, size_t len_bytes);
/* head: the first bytes, all of them or BZIMAGE_HEAD_BYTES. InvalidConfig. */
int bzimage_parse(struct bzimage *bz, const uint8_t *head, size_t head_len,
		  uint64_t file_len, const char *name, struct error *e);
/* The header that a vmlinux without one gets. */
void bzimage_make_up(struct bzimage *bz);

#endif
