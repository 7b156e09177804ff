/* SPDX-License-Identifier: MIT */
/*
 * The initial ramdisk: one or more files, one after the other, each but the
 * first starting at a multiple of 4 bytes, with zeros between them (Linux's
 * Documentation/driver-api/early-userspace/buffer-format.rst). Main thread.
 */
#ifndef MOTE_BOOT_INITRD_H
#define MOTE_BOOT_INITRD_H

#include <stddef.h>
#include <stdint.h>

#include "boot/source.h"
#include "error.h"
#include "guest_mem.h"

struct initrd {
	struct source *files;
	size_t count;
	uint64_t len_bytes;	/* of all, with what is between them; 0: none */
};

#define INITRD_INIT { 0 }

/* Opens the files; the paths must live as long as the struct. cancelled: as for
 * source_open(). */
int initrd_open(struct initrd *r, char *const *paths, size_t count,
		cancel_fn cancelled, struct error *e);
void initrd_close(struct initrd *r);

/* Reads all of it to [gpa, gpa + len_bytes). */
int initrd_load(const struct initrd *r, struct guest_mem *m, gpa_t gpa,
		struct error *e);

#endif
