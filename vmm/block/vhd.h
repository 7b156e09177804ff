/* SPDX-License-Identifier: MIT */
/*
 * Fixed VHD images: the disk's bytes, then a footer of 512 bytes that the guest
 * is not shown ("Virtual Hard Disk Image Format Specification", 1.0, Hard Disk
 * Footer Format). Knows nothing of disks; any thread.
 */
#ifndef MOTE_BLOCK_VHD_H
#define MOTE_BLOCK_VHD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "error.h"

#define VHD_FOOTER_BYTES 512

/*
 * Reads and checks the footer of the file fd, which is file_bytes long, and
 * gives the size of what is before it: whole sectors, not 0. -EINVAL: not a
 * fixed VHD (dynamic, differencing, VHDX, damaged …); -errno of pread(). The
 * error's text is for the caller to put the file's name before.
 */
int vhd_fixed_payload(int fd, uint64_t file_bytes, uint64_t *payload_bytes,
		      struct error *e);

/* What a file is taken for when the user does not say: it ends in ".vhd". The
 * content is not asked: a guest could write a footer into a raw image. */
static inline bool vhd_is_name(const char *path)
{
	size_t len = strlen(path);

	return len > 4 && !strcasecmp(path + len - 4, ".vhd");
}

#endif
