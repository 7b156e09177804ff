/* SPDX-License-Identifier: MIT */
/* CRC32C by the instruction for it, which came with SSE4.2. Any thread. */
#include "save/crc32c.h"

#include <nmmintrin.h>
#include <string.h>

__attribute__((target("sse4.2")))
static uint32_t by_instruction(uint32_t crc, const uint8_t *p, size_t len_bytes)
{
	uint64_t wide = ~crc, v;

	for (; len_bytes >= sizeof(v); p += sizeof(v), len_bytes -= sizeof(v)) {
		memcpy(&v, p, sizeof(v));
		wide = _mm_crc32_u64(wide, v);
	}
	crc = (uint32_t)wide;
	for (; len_bytes; p++, len_bytes--)
		crc = _mm_crc32_u8(crc, *p);
	return ~crc;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len_bytes)
{
	return __builtin_cpu_supports("sse4.2") ?
	       by_instruction(crc, data, len_bytes) :
	       crc32c_by_tables(crc, data, len_bytes);
}
