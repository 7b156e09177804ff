/* SPDX-License-Identifier: MIT */
/*
 * Memory for direct I/O of requests whose own is not aligned as the file wants
 * it. The engine's loop.
 */
#ifndef MOTE_BLOCK_BOUNCE_H
#define MOTE_BLOCK_BOUNCE_H

#include "block/file.h"

/* True when all of the request can go to the file's direct_fd as it is. */
bool block_aligned(const struct block_file *f, const struct block_request *r);
/*
 * Puts aligned memory in the place of a request's buffers, if that is all that
 * keeps it from direct I/O. Else, and for want of memory, it stays as it is:
 * the page cache takes requests of every kind.
 */
void block_bounce(const struct block_file *f, struct block_request *r);
/* Done: what was read goes to where it belongs. */
void block_unbounce(struct block_request *r);

#endif
