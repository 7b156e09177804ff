/* SPDX-License-Identifier: MIT */
/* bzImages for the boot loader's tests. */
#ifndef MOTE_TEST_BOOT_FIXTURE_X86_H
#define MOTE_TEST_BOOT_FIXTURE_X86_H

#include "boot_fixture.h"

/* Where the sample's parts are in the file. */
#define BZ_SETUP_BYTES	0xa00u		/* setup_sects 4 and the boot sector */
#define BZ_PAYLOAD	0x300u		/* payload_offset */

/* Fields by their offset in the file (boot.rst's table). */
enum {
	BZ_SETUP_SECTS = 0x1f1, BZ_BOOT_FLAG = 0x1fe, BZ_JUMP = 0x200,
	BZ_HEADER = 0x202, BZ_VERSION = 0x206, BZ_LOADFLAGS = 0x211,
	BZ_CODE32_START = 0x214, BZ_INITRD_ADDR_MAX = 0x22c,
	BZ_KERNEL_ALIGNMENT = 0x230, BZ_RELOCATABLE = 0x234,
	BZ_XLOADFLAGS = 0x236, BZ_CMDLINE_SIZE = 0x238,
	BZ_PAYLOAD_OFFSET = 0x248, BZ_PAYLOAD_LENGTH = 0x24c,
	BZ_SETUP_DATA = 0x250, BZ_PREF_ADDRESS = 0x258, BZ_INIT_SIZE = 0x260,
	BZ_KERNEL_INFO = 0x268,
};

/* Around a payload; 0x100 bytes follow it. */
static inline struct bytes bzimage_new(struct bytes payload)
{
	struct bytes b = bytes_new(BZ_SETUP_BYTES + BZ_PAYLOAD + payload.len +
				   0x100);

	memcpy(b.p, "MZ", 2);
	put_le(b.p + 0x1ef, 0xff, 1);		/* the sentinel */
	put_le(b.p + BZ_SETUP_SECTS, 4, 1);
	put_le(b.p + BZ_BOOT_FLAG, 0xaa55, 2);
	put_le(b.p + BZ_JUMP, 0x6aeb, 2);	/* to 0x26c */
	put_le(b.p + BZ_HEADER, 0x53726448, 4);
	put_le(b.p + BZ_VERSION, 0x20f, 2);
	put_le(b.p + BZ_LOADFLAGS, 1, 1);
	put_le(b.p + BZ_CODE32_START, 0x100000, 4);
	put_le(b.p + BZ_INITRD_ADDR_MAX, 0x7fffffff, 4);
	put_le(b.p + BZ_KERNEL_ALIGNMENT, 0x200000, 4);
	put_le(b.p + BZ_RELOCATABLE, 1, 1);
	put_le(b.p + BZ_XLOADFLAGS, 0x7f, 2);
	put_le(b.p + BZ_CMDLINE_SIZE, 2047, 4);
	put_le(b.p + BZ_PAYLOAD_OFFSET, BZ_PAYLOAD, 4);
	put_le(b.p + BZ_PAYLOAD_LENGTH, payload.len, 4);
	put_le(b.p + BZ_SETUP_DATA, 0x4141414141414141, 8);
	put_le(b.p + BZ_PREF_ADDRESS, 0x1000000, 8);
	put_le(b.p + BZ_INIT_SIZE, 0x800000, 4);
	put_le(b.p + BZ_KERNEL_INFO, 0x12345678, 4);
	memset(b.p + 0x26c, 0xcc, 0x100);	/* code: not the header's */
	memset(b.p + BZ_SETUP_BYTES, 0x90, BZ_PAYLOAD);
	memcpy(b.p + BZ_SETUP_BYTES + BZ_PAYLOAD, payload.p, payload.len);
	return b;
}

/* The payload as the kernel's makefiles make it: the size behind the data. */
static inline struct bytes bzimage_pack(enum codec codec, struct bytes elf)
{
	struct bytes c = pack(codec, elf), b;

	if (codec != CODEC_GZIP) {
		c.p = realloc(c.p, c.len + 4);
		assert_non_null(c.p);
		put_le(c.p + c.len, elf.len, 4);
		c.len += 4;
	}
	b = bzimage_new(c);
	bytes_free(&c);
	return b;
}

#endif
