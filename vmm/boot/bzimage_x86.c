/* SPDX-License-Identifier: MIT */
/*
 * bzImage setup headers. Main thread. Field names and versions are those of
 * boot.rst, "The Real-Mode Kernel Header".
 */
#include "boot/bzimage_x86.h"

#include <errno.h>
#include <string.h>

#define BOOT_FLAG	0xaa55
#define HEADER_MAGIC	0x53726448u	/* "HdrS" */
#define SECTOR		512u
#define JUMP_TARGET	0x201u		/* its byte + 0x202: header's end */

bool bzimage_sniff(const uint8_t *head, size_t len_bytes)
{
	struct setup_header h;

	if (len_bytes < BZIMAGE_HEADER + sizeof(h))
		return false;
	memcpy(&h, head + BZIMAGE_HEADER, sizeof(h));
	return h.boot_flag == BOOT_FLAG && h.header == HEADER_MAGIC;
}

/* The header ends where the jump over it lands. */
static void copy_header(struct bzimage *bz, const uint8_t *head,
			size_t head_len)
{
	size_t end = JUMP_TARGET + 1u + head[JUMP_TARGET];
	size_t known;

	if (end > BZIMAGE_HEADER_END)
		end = BZIMAGE_HEADER_END;
	if (end > head_len)
		end = head_len;
	bz->header_len = end - BZIMAGE_HEADER;
	memcpy(bz->header, head + BZIMAGE_HEADER, bz->header_len);
	known = bz->header_len < sizeof(bz->hdr) ? bz->header_len :
						   sizeof(bz->hdr);
	memcpy(&bz->hdr, bz->header, known);
}

static void derive(struct bzimage *bz)
{
	const struct setup_header *h = &bz->hdr;

	bz->cmdline_limit = h->version >= 0x206 ? h->cmdline_size : 255;
	bz->initrd_limit = (gpa_t)h->initrd_addr_max + 1;
	if (h->version >= 0x20c) {
		bz->entry64 = h->xloadflags & XLF_KERNEL_64;
		if (h->xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G)
			bz->initrd_limit = 1ull << 32;
	}
	bz->pref_address = h->code32_start;
	if (h->version >= 0x20a) {
		bz->init_size = h->init_size;
		if (h->relocatable_kernel)
			bz->pref_address = h->pref_address;
	}
}

int bzimage_parse(struct bzimage *bz, const uint8_t *head, size_t head_len,
		  uint64_t file_len, const char *name, struct error *e)
{
	const struct setup_header *h = &bz->hdr;
	unsigned int sects;

	memset(bz, 0, sizeof(*bz));
	if (!bzimage_sniff(head, head_len))
		return error_config(e, -EINVAL, "%s: not a bzImage", name);
	copy_header(bz, head, head_len);
	if (h->version < 0x208)
		return error_config(e, -EINVAL, "%s: bzImage: version %u.%02u "
				    "of the boot protocol, 2.08 is needed",
				    name, h->version >> 8, h->version & 0xff);
	if (!(h->loadflags & LOADED_HIGH))
		return error_config(e, -EINVAL, "%s: bzImage: loadflags %#x: "
				    "a zImage is not supported", name,
				    h->loadflags);
	/* 0 means 4 (boot.rst, setup_sects); the boot sector is extra. */
	sects = h->setup_sects ? h->setup_sects : 4;
	bz->kernel_offset = (uint64_t)(sects + 1) * SECTOR;
	if (bz->kernel_offset >= file_len)
		return error_config(e, -EINVAL, "%s: bzImage: setup_sects %u: "
				    "the kernel would start at byte %llu of "
				    "%llu", name, h->setup_sects,
				    (unsigned long long)bz->kernel_offset,
				    (unsigned long long)file_len);
	bz->kernel_len = file_len - bz->kernel_offset;
	/* In paragraphs, rounded up; a signature may follow. */
	if (h->syssize > (bz->kernel_len + 15) / 16)
		return error_config(e, -EINVAL, "%s: bzImage: syssize %#x "
				    "paragraphs are more than the %#llx bytes "
				    "there are: truncated?", name, h->syssize,
				    (unsigned long long)bz->kernel_len);
	if (h->payload_offset > bz->kernel_len ||
	    h->payload_length > bz->kernel_len - h->payload_offset)
		return error_config(e, -EINVAL, "%s: bzImage: payload_offset "
				    "%#x + payload_length %#x is more than "
				    "the %#llx bytes there are: truncated?",
				    name,
				    h->payload_offset, h->payload_length,
				    (unsigned long long)bz->kernel_len);
	bz->payload_offset = bz->kernel_offset + h->payload_offset;
	bz->payload_len = h->payload_length;
	derive(bz);
	return 0;
}

void bzimage_make_up(struct bzimage *bz)
{
	const struct setup_header h = {
		.boot_flag = BOOT_FLAG,
		.header = HEADER_MAGIC,
		.version = 0x20f,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047,	/* COMMAND_LINE_SIZE of x86, less NUL */
	};

	memset(bz, 0, sizeof(*bz));
	bz->hdr = h;
	bz->header_len = sizeof(h);
	memcpy(bz->header, &h, sizeof(h));
	derive(bz);
}
