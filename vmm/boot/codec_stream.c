/* SPDX-License-Identifier: MIT */
/*
 * Formats whose library decodes a stream piece by piece: gzip, bzip2, lzma, xz,
 * zstd. Run by the only thread of the confined child (decompress.c). What
 * follows the end of the first stream is not looked at, as in the kernel.
 */
#include "boot/codec.h"

#include <bzlib.h>
#include <lzma.h>
#include <zlib.h>
/* The allocator hook is not in zstd's stable interface. */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

/* ---- gzip ---------------------------------------------------------------- */

static voidpf zlib_alloc(voidpf opaque, uInt items, uInt size)
{
	size_t len;

	if (__builtin_mul_overflow((size_t)items, (size_t)size, &len))
		return NULL;
	return codec_alloc(opaque, len);
}

static void zlib_free(voidpf opaque, voidpf address)
{
	(void)opaque;
	(void)address;
}

enum codec_result codec_gzip(struct codec_job *job)
{
	z_stream z = {
		.next_in = (z_const Bytef *)job->in,
		.avail_in = (uInt)job->in_len,
		.zalloc = zlib_alloc,
		.zfree = zlib_free,
		.opaque = &job->arena,
	};
	uint8_t *out = codec_alloc(&job->arena, CODEC_CHUNK);
	enum codec_result r;
	int ret;

	/* 16: a gzip header and trailer, and nothing else. */
	if (!out || inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return CODEC_NO_MEMORY;
	do {
		z.next_out = out;
		z.avail_out = CODEC_CHUNK;
		ret = inflate(&z, Z_NO_FLUSH);
		if (ret == Z_BUF_ERROR)
			return CODEC_TRUNCATED;
		if (ret != Z_OK && ret != Z_STREAM_END)
			return CODEC_CORRUPT;
		r = codec_emit(job, out, CODEC_CHUNK - z.avail_out);
		if (r != CODEC_OK)
			return r;
	} while (ret != Z_STREAM_END);
	return CODEC_OK;
}

/* ---- bzip2 --------------------------------------------------------------- */

static void *bz_alloc(void *opaque, int items, int size)
{
	if (items < 0 || size < 0)
		return NULL;
	return codec_alloc(opaque, (size_t)items * (size_t)size);
}

static void bz_free(void *opaque, void *address)
{
	(void)opaque;
	(void)address;
}

enum codec_result codec_bzip2(struct codec_job *job)
{
	bz_stream bz = {
		.next_in = (char *)job->in,
		.avail_in = (unsigned int)job->in_len,
		.bzalloc = bz_alloc,
		.bzfree = bz_free,
		.opaque = &job->arena,
	};
	uint8_t *out = codec_alloc(&job->arena, CODEC_CHUNK);
	enum codec_result r;
	size_t n;
	int ret;

	if (!out || BZ2_bzDecompressInit(&bz, 0, 0) != BZ_OK)
		return CODEC_NO_MEMORY;
	do {
		bz.next_out = (char *)out;
		bz.avail_out = CODEC_CHUNK;
		ret = BZ2_bzDecompress(&bz);
		if (ret == BZ_MEM_ERROR)
			return CODEC_NO_MEMORY;
		if (ret != BZ_OK && ret != BZ_STREAM_END)
			return CODEC_CORRUPT;
		n = CODEC_CHUNK - bz.avail_out;
		if (ret == BZ_OK && !n && !bz.avail_in)
			return CODEC_TRUNCATED;
		r = codec_emit(job, out, n);
		if (r != CODEC_OK)
			return r;
	} while (ret != BZ_STREAM_END);
	return CODEC_OK;
}

/* ---- lzma, xz ------------------------------------------------------------ */

static void *xz_alloc(void *opaque, size_t items, size_t size)
{
	size_t len;

	if (__builtin_mul_overflow(items, size, &len))
		return NULL;
	return codec_alloc(opaque, len);
}

static void xz_free(void *opaque, void *address)
{
	(void)opaque;
	(void)address;
}

static enum codec_result liblzma(struct codec_job *job,
				 lzma_ret (*init)(lzma_stream *s))
{
	lzma_allocator allocator = {
		.alloc = xz_alloc,
		.free = xz_free,
		.opaque = &job->arena,
	};
	uint8_t *out = codec_alloc(&job->arena, CODEC_CHUNK);
	lzma_stream s = LZMA_STREAM_INIT;
	enum codec_result r;
	lzma_ret ret;

	s.allocator = &allocator;
	s.next_in = job->in;
	s.avail_in = job->in_len;
	if (!out || init(&s) != LZMA_OK)
		return CODEC_NO_MEMORY;
	do {
		s.next_out = out;
		s.avail_out = CODEC_CHUNK;
		ret = lzma_code(&s, LZMA_FINISH);
		if (ret == LZMA_MEM_ERROR || ret == LZMA_MEMLIMIT_ERROR)
			return CODEC_NO_MEMORY;
		if (ret == LZMA_BUF_ERROR)
			return CODEC_TRUNCATED;
		if (ret != LZMA_OK && ret != LZMA_STREAM_END)
			return CODEC_CORRUPT;
		r = codec_emit(job, out, CODEC_CHUNK - s.avail_out);
		if (r != CODEC_OK)
			return r;
	} while (ret != LZMA_STREAM_END);
	return CODEC_OK;
}

/* The arena is the memory limit. */
static lzma_ret init_alone(lzma_stream *s)
{
	return lzma_alone_decoder(s, UINT64_MAX);
}

static lzma_ret init_xz(lzma_stream *s)
{
	return lzma_stream_decoder(s, UINT64_MAX, 0);
}

enum codec_result codec_lzma(struct codec_job *job)
{
	return liblzma(job, init_alone);
}

enum codec_result codec_xz(struct codec_job *job)
{
	return liblzma(job, init_xz);
}

/* ---- zstd ---------------------------------------------------------------- */

static void *zstd_alloc(void *opaque, size_t size)
{
	return codec_alloc(opaque, size);
}

static void zstd_free(void *opaque, void *address)
{
	(void)opaque;
	(void)address;
}

enum codec_result codec_zstd(struct codec_job *job)
{
	ZSTD_customMem memory = { zstd_alloc, zstd_free, &job->arena };
	ZSTD_inBuffer in = { job->in, job->in_len, 0 };
	uint8_t *chunk = codec_alloc(&job->arena, CODEC_CHUNK);
	ZSTD_DStream *z = ZSTD_createDStream_advanced(memory);
	size_t ret;

	if (!chunk || !z)
		return CODEC_NO_MEMORY;
	do {
		ZSTD_outBuffer out = { chunk, CODEC_CHUNK, 0 };
		enum codec_result r;

		ret = ZSTD_decompressStream(z, &out, &in);
		if (ZSTD_isError(ret)) {
			ZSTD_ErrorCode code = ZSTD_getErrorCode(ret);

			return code == ZSTD_error_memory_allocation ||
			       code == ZSTD_error_frameParameter_windowTooLarge
			       ? CODEC_NO_MEMORY : CODEC_CORRUPT;
		}
		if (ret && !out.pos && in.pos == in.size)
			return CODEC_TRUNCATED;
		r = codec_emit(job, chunk, out.pos);
		if (r != CODEC_OK)
			return r;
	} while (ret);
	return CODEC_OK;
}
