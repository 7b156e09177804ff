/* SPDX-License-Identifier: MIT */
/*
 * Which pages of this process have been written to, by whatever part of the kernel
 * too (admin-guide/mm/soft-dirty.rst), where its kernel can tell. Private memory
 * only: of pages that are shared it forgets when they leave the page table, and of
 * huge pages it knows nothing. One thread, while nobody writes.
 */
#ifndef MOTE_SOFT_DIRTY_H
#define MOTE_SOFT_DIRTY_H

#include <stdbool.h>
#include <stddef.h>

/* From now on: all of them count as not written. False: this kernel cannot. */
bool soft_dirty_clear(void);
/* The bit of an entry of /proc/self/pagemap that says so. */
#define SOFT_DIRTY_ENTRY (1ull << 55)

#endif
