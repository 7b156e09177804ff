/* SPDX-License-Identifier: MIT */
/* CRC32C (RFC 3720, appendix B.4): iSCSI's polynomial. Any thread. */
#ifndef MOTE_CRC32C_H
#define MOTE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Goes on from an earlier result; 0 to begin with. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len_bytes);

/* The same on any processor, several times slower than where there is an
 * instruction for it. */
uint32_t crc32c_by_tables(uint32_t crc, const void *data, size_t len_bytes);

#endif
