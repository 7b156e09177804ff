/* SPDX-License-Identifier: MIT */
/*
 * CRC32C by eight tables, eight bytes a step, for processors that have no
 * instruction for it. Any thread.
 */
#include "save/crc32c.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u	/* reflected */
#define STEP 8

static uint32_t tables[STEP][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* tables[k][b]: what byte b does when k zero bytes follow it. */
static void make_tables(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t crc = b;

		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
		tables[0][b] = crc;
	}
	for (int k = 1; k < STEP; k++)
		for (uint32_t b = 0; b < 256; b++) {
			uint32_t crc = tables[k - 1][b];

			tables[k][b] = crc >> 8 ^ tables[0][crc & 0xff];
		}
}

static uint32_t step(uint32_t crc, const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	v = le64toh(v) ^ crc;
	crc = 0;
	for (int k = 0; k < STEP; k++)
		crc ^= tables[STEP - 1 - k][v >> 8 * k & 0xff];
	return crc;
}

uint32_t crc32c_by_tables(uint32_t crc, const void *data, size_t len_bytes)
{
	const uint8_t *p = data;

	pthread_once(&once, make_tables);
	crc = ~crc;
	for (; len_bytes >= STEP; p += STEP, len_bytes -= STEP)
		crc = step(crc, p);
	for (; len_bytes; p++, len_bytes--)
		crc = crc >> 8 ^ tables[0][(crc ^ *p) & 0xff];
	return ~crc;
}
