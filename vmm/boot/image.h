/* SPDX-License-Identifier: MIT */
/*
 * Inside a boot image: what image.c (all architectures) and image_<arch>.c
 * share. Main thread.
 */
#ifndef MOTE_BOOT_IMAGE_H
#define MOTE_BOOT_IMAGE_H

#include "boot/boot.h"
#include "boot/cache.h"
#include "boot/codec.h"
#include "boot/elf.h"
#include "boot/initrd.h"
#include "boot/place.h"
#include "boot/source.h"
#include "boot/wait.h"

/* An ELF within a file: what the kernel is loaded from. */
struct image_payload {
	int fd;			/* -1: none; may be the kernel file's own */
	uint64_t offset;
	/* Nobody changes the file, so its pages may be mapped. */
	bool mappable;
	bool has_map;		/* data says where there is any */
	struct source_map data;
};

struct image_arch;

struct boot_image {
	char *kernel_path;
	char **initrd_paths;
	size_t initrd_count;
	cancel_fn cancelled;	/* NULL after boot_open() */
	struct source kernel;	/* closed once the payload is elsewhere */
	struct initrd initrd;
	struct cache cache;
	struct image_payload payload;
	struct elf_image elf;	/* of the payload */
	bool cached;
	bool loaded;		/* once at least */
	struct place_range unwritten;	/* for boot_populate() */
	bool preloaded;		/* since then boot_load() was not called */
	struct image_arch *arch;	/* image_<arch>.c's */
};

/* A part of the kernel file. */
struct image_part {
	uint64_t offset, len_bytes;
	enum codec codec;
	uint64_t unpacked_bytes;	/* as announced; 0: unknown */
};

/* Takes the ELF that is in the kernel file itself as payload. */
int image_use_elf(struct boot_image *b, struct error *e);
/*
 * Takes the ELF that part holds compressed as payload: from the cache, or
 * decompressed and, if possible, put into the cache.
 */
int image_unpack(struct boot_image *b, const struct image_part *part,
		 struct error *e);

/* image_<arch>.c: recognizes b->kernel, fills payload, elf and arch. */
int image_arch_open(struct boot_image *b, struct error *e);
void image_arch_close(struct boot_image *b);

#endif
