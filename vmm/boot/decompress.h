/* SPDX-License-Identifier: MIT */
/*
 * Decompression in a short-lived child that can only write and exit: a bug in a
 * decoder met by a hostile image ends there. Main thread.
 */
#ifndef MOTE_BOOT_DECOMPRESS_H
#define MOTE_BOOT_DECOMPRESS_H

#include <stdint.h>

#include "boot/codec.h"
#include "boot/wait.h"
#include "error.h"

struct decompress_job {
	const char *name;	/* the file's, for messages */
	enum codec codec;
	int in_fd;
	uint64_t in_offset, in_len;
	int out_fd;		/* an empty file, which gets holes for zeros */
	uint64_t out_offset;
	uint64_t limit;		/* of the output's length */
	cancel_fn cancelled;	/* or NULL */
};

struct decompress_result {
	uint64_t len_bytes;
	uint64_t crc64;
};

/*
 * Waits for the child. Bad input has the class InvalidConfig. -EIO: the output
 * file could not be written (no space); what is in it then is of no use.
 * -ECANCELED: the child is gone.
 */
int decompress_run(const struct decompress_job *job,
		   struct decompress_result *result, struct error *e);

#endif
