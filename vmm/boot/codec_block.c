/* SPDX-License-Identifier: MIT */
/*
 * Formats that are a sequence of blocks decoded at once: lz4's legacy frame and
 * lzop. Run by the only thread of the confined child (decompress.c).
 */
#include "boot/codec.h"

#include <lz4.h>
#include <lzo/lzo1x.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>

struct cursor {
	const uint8_t *p;
	size_t left;
};

static const uint8_t *take(struct cursor *c, size_t len_bytes)
{
	const uint8_t *p = c->p;

	if (len_bytes > c->left)
		return NULL;
	c->p += len_bytes;
	c->left -= len_bytes;
	return p;
}

static bool take_le32(struct cursor *c, uint32_t *value)
{
	const uint8_t *p = take(c, 4);

	if (p)
		*value = (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 |
			 (uint32_t)p[1] << 8 | p[0];
	return p;
}

/* A big-endian number of 1, 2 or 4 bytes. */
static bool take_be(struct cursor *c, size_t len_bytes, uint32_t *value)
{
	const uint8_t *p = take(c, len_bytes);

	if (!p)
		return false;
	*value = 0;
	while (len_bytes--)
		*value = *value << 8 | *p++;
	return true;
}

/* ---- lz4 legacy frame (lz4_Frame_format.md) ------------------------------ */

#define LZ4_LEGACY_MAGIC	0x184c2102u
#define LZ4_LEGACY_BLOCK	(8u << 20)

enum codec_result codec_lz4(struct codec_job *job)
{
	uint8_t *out = codec_alloc(&job->arena, LZ4_LEGACY_BLOCK);
	struct cursor c = { job->in, job->in_len };
	uint32_t len;

	if (!out)
		return CODEC_NO_MEMORY;
	if (!take_le32(&c, &len))
		return CODEC_TRUNCATED;
	if (len != LZ4_LEGACY_MAGIC)
		return CODEC_CORRUPT;
	/* The frame has no end mark but the end of the data. */
	while (c.left) {
		enum codec_result r;
		const uint8_t *block;
		int n;

		if (!take_le32(&c, &len))
			return CODEC_TRUNCATED;
		if (len == LZ4_LEGACY_MAGIC)
			continue;	/* frames may follow each other */
		if (!len || len > LZ4_COMPRESSBOUND(LZ4_LEGACY_BLOCK))
			return CODEC_CORRUPT;
		block = take(&c, len);
		if (!block)
			return CODEC_TRUNCATED;
		n = LZ4_decompress_safe((const char *)block, (char *)out,
					(int)len, LZ4_LEGACY_BLOCK);
		if (n < 0)
			return CODEC_CORRUPT;
		r = codec_emit(job, out, (size_t)n);
		if (r != CODEC_OK)
			return r;
	}
	return CODEC_OK;
}

/* ---- lzop ---------------------------------------------------------------- */

#define LZOP_BLOCK		(256u << 10)	/* lzop writes no larger ones */
#define LZOP_MAGIC_BYTES	9

enum {
	LZOP_ADLER32_D = 0x1,	/* checksums of each decompressed … */
	LZOP_ADLER32_C = 0x2,	/* … or compressed block */
	LZOP_CRC32_D = 0x100,
	LZOP_CRC32_C = 0x200,
	LZOP_EXTRA_FIELD = 0x40,
	LZOP_FILTER = 0x800,
};

static enum codec_result lzop_header(struct cursor *c, uint32_t *flags)
{
	uint32_t version, method, skip;

	if (!take(c, LZOP_MAGIC_BYTES) || !take_be(c, 2, &version) ||
	    !take(c, 2))
		return CODEC_TRUNCATED;
	if (version >= 0x940 && !take(c, 2))	/* version needed */
		return CODEC_TRUNCATED;
	if (!take_be(c, 1, &method))
		return CODEC_TRUNCATED;
	if (method < 1 || method > 3)		/* all are LZO1X */
		return CODEC_CORRUPT;
	if (version >= 0x940 && !take(c, 1))	/* level */
		return CODEC_TRUNCATED;
	if (!take_be(c, 4, flags))
		return CODEC_TRUNCATED;
	if (*flags & (LZOP_FILTER | LZOP_EXTRA_FIELD))
		return CODEC_CORRUPT;
	/* mode and time of modification, a name, the header's checksum */
	if (!take(c, version >= 0x940 ? 12 : 8) || !take_be(c, 1, &skip) ||
	    !take(c, skip) || !take(c, 4))
		return CODEC_TRUNCATED;
	return CODEC_OK;
}

/* Takes one checksum if flags say that it is there. */
static bool take_sum(struct cursor *c, bool there, uint32_t *sum, bool *ok)
{
	*ok = there;
	return !there || take_be(c, 4, sum);
}

static enum codec_result lzop_block(struct codec_job *job, struct cursor *c,
				    uint32_t flags, uint32_t dst_len,
				    uint8_t *out)
{
	uint32_t src_len, adler = 0, crc = 0, unused;
	bool has_adler, has_crc, there;
	const uint8_t *src;

	if (!take_be(c, 4, &src_len) ||
	    !take_sum(c, flags & LZOP_ADLER32_D, &adler, &has_adler) ||
	    !take_sum(c, flags & LZOP_CRC32_D, &crc, &has_crc))
		return CODEC_TRUNCATED;
	if (!dst_len || dst_len > LZOP_BLOCK || !src_len || src_len > dst_len)
		return CODEC_CORRUPT;
	/* A stored block has its sums once. */
	if (src_len < dst_len &&
	    (!take_sum(c, flags & LZOP_ADLER32_C, &unused, &there) ||
	     !take_sum(c, flags & LZOP_CRC32_C, &unused, &there)))
		return CODEC_TRUNCATED;
	src = take(c, src_len);
	if (!src)
		return CODEC_TRUNCATED;
	if (src_len < dst_len) {
		lzo_uint n = dst_len;

		if (lzo1x_decompress_safe(src, src_len, out, &n, NULL) !=
		    LZO_E_OK || n != dst_len)
			return CODEC_CORRUPT;
		src = out;
	}
	if (has_adler && adler32(1, src, dst_len) != adler)
		return CODEC_CORRUPT;
	if (has_crc && crc32(0, src, dst_len) != crc)
		return CODEC_CORRUPT;
	return codec_emit(job, src, dst_len);
}

enum codec_result codec_lzo(struct codec_job *job)
{
	uint8_t *out = codec_alloc(&job->arena, LZOP_BLOCK);
	struct cursor c = { job->in, job->in_len };
	uint32_t flags, dst_len;
	enum codec_result r;

	if (!out || lzo_init() != LZO_E_OK)
		return CODEC_NO_MEMORY;
	r = lzop_header(&c, &flags);
	while (r == CODEC_OK) {
		if (!take_be(&c, 4, &dst_len))
			return CODEC_TRUNCATED;
		if (!dst_len)
			break;
		r = lzop_block(job, &c, flags, dst_len, out);
	}
	return r;
}
