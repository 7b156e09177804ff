/* SPDX-License-Identifier: MIT */
/*
 * Superblocks of ext4 (Linux, Documentation/filesystems/ext4/super.rst) and XFS
 * (XFS Algorithms & Data Structures, 13.1). Any thread.
 */
#include "boot/dax.h"

#include <endian.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define START_BYTES		2048	/* both superblocks */

#define EXT4_SUPER		1024
#define EXT4_LOG_BLOCK_SIZE	(EXT4_SUPER + 0x18)
#define EXT4_MAGIC		(EXT4_SUPER + 0x38)
#define EXT4_INCOMPAT		(EXT4_SUPER + 0x60)
#define EXT4_MOUNT_OPTIONS	(EXT4_SUPER + 0x100)
#define EXT4_SUPER_MAGIC	0xef53
#define EXT4_INCOMPAT_EXTENTS	0x40u
#define EXT4_INCOMPAT_INLINE	0x8000u
#define EXT4_JOURNAL_MODE	0x60u
#define EXT4_JOURNAL_DATA	0x20u

#define XFS_BLOCK_SIZE		4
#define XFS_VERSION		100
#define XFS_RO_COMPAT		212
#define XFS_RO_COMPAT_REFLINK	0x4u

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p + 2) << 16 | get16(p);
}

static uint32_t get_be32(const uint8_t *p)
{
	return be32toh(get32(p));
}

/* The kernel refuses dax with blocks other than pages, data inside of inodes,
 * and journalled data. */
static bool ext4_can(const uint8_t *b)
{
	uint32_t incompat = get32(b + EXT4_INCOMPAT);

	return get16(b + EXT4_MAGIC) == EXT4_SUPER_MAGIC &&
	       get32(b + EXT4_LOG_BLOCK_SIZE) == 2 &&
	       incompat & EXT4_INCOMPAT_EXTENTS &&
	       !(incompat & EXT4_INCOMPAT_INLINE) &&
	       (get32(b + EXT4_MOUNT_OPTIONS) & EXT4_JOURNAL_MODE) !=
		       EXT4_JOURNAL_DATA;
}

/* Kernels before 6.0 refuse it together with reflinks. */
static bool xfs_can(const uint8_t *b)
{
	uint32_t version = (uint32_t)b[XFS_VERSION + 1] & 0xf;

	return !memcmp(b, "XFSB", 4) && get_be32(b + XFS_BLOCK_SIZE) == 4096 &&
	       (version < 5 ||
		!(get_be32(b + XFS_RO_COMPAT) & XFS_RO_COMPAT_REFLINK));
}

bool dax_possible(const char *path)
{
	uint8_t b[START_BYTES];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return false;
	n = pread(fd, b, sizeof(b), 0);
	close(fd);
	return n == sizeof(b) && (ext4_can(b) || xfs_can(b));
}
