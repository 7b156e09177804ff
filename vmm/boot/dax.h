/* SPDX-License-Identifier: MIT */
/* What kind of file system a root image holds. Any thread. */
#ifndef MOTE_BOOT_DAX_H
#define MOTE_BOOT_DAX_H

#include <stdbool.h>

/*
 * By its superblock: an ext4 or XFS that a guest with pages of 4 KiB can mount
 * with the option dax. False for what cannot be read, too.
 */
bool dax_possible(const char *path);

#endif
