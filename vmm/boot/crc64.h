/* SPDX-License-Identifier: MIT */
/*
 * The CRC-64 of liblzma (ECMA-182, reflected) over zeros that nobody reads: a
 * third to a half of a kernel's ELF. Any thread.
 */
#ifndef MOTE_BOOT_CRC64_H
#define MOTE_BOOT_CRC64_H

#include <stdint.h>

#define CRC64_POLY	0xc96c5795d7870f42ull
#define CRC64_X0	(1ull << 63)		/* bit 63 - n is x^n's */
#define CRC64_X8	(CRC64_X0 >> 8)

/* The product modulo the polynomial. */
static inline uint64_t crc64_multiply(uint64_t a, uint64_t b)
{
	uint64_t product = 0;

	for (; a; a <<= 1) {
		if (a & CRC64_X0)
			product ^= b;
		b = b & 1 ? b >> 1 ^ CRC64_POLY : b >> 1;
	}
	return product;
}

/*
 * What lzma_crc64() gives for crc64 and len zeros. Each multiplies the register,
 * which is the complement, by x^8.
 */
static inline uint64_t crc64_zeros(uint64_t crc64, uint64_t len_bytes)
{
	uint64_t power = CRC64_X8, all = CRC64_X0;

	for (; len_bytes; len_bytes >>= 1) {
		if (len_bytes & 1)
			all = crc64_multiply(all, power);
		power = crc64_multiply(power, power);
	}
	return ~crc64_multiply(all, ~crc64);
}

#endif
