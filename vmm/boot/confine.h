/* SPDX-License-Identifier: MIT */
/*
 * What a child that decodes hostile data gives up. For a process just forked,
 * with all signals blocked; nothing here can be undone.
 */
#ifndef MOTE_BOOT_CONFINE_H
#define MOTE_BOOT_CONFINE_H

#include <stdint.h>

/*
 * For functions that leave a confined process: before a call that does not
 * return, AddressSanitizer makes a system call, sigaltstack(), of its own.
 */
#define CONFINE_LEAVES __attribute__((no_sanitize("address")))

/* The descriptors a and b become 0 and 1; all others are closed. -errno */
int confine_descriptors(int a, int b);

/*
 * Leaves the process nothing but write(), pwrite() and exit_group(): anything
 * else kills it, and so does using more than cpu_seconds. Files do not grow
 * past file_bytes. -errno: it is then confined in part only and must exit.
 */
int confine_self(uint64_t file_bytes, unsigned int cpu_seconds);

#endif
