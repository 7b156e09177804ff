/* SPDX-License-Identifier: MIT */
/*
 * Which format it is, and what all decoders share. codec_run() is run by the
 * only thread of the confined child (decompress.c), the rest by the main thread
 * too.
 */
#include "boot/codec.h"

#include <string.h>

static const struct {
	enum codec codec;
	uint8_t len;
	uint8_t magic[9];
} magics[] = {
	{ CODEC_GZIP, 3, { 0x1f, 0x8b, 0x08 } },
	{ CODEC_BZIP2, 3, { 'B', 'Z', 'h' } },
	{ CODEC_XZ, 6, { 0xfd, '7', 'z', 'X', 'Z', 0x00 } },
	/* lc=3 lp=0 pb=2 and a dictionary of whole 64 KiB units. */
	{ CODEC_LZMA, 3, { 0x5d, 0x00, 0x00 } },
	{ CODEC_LZ4, 4, { 0x02, 0x21, 0x4c, 0x18 } },
	{ CODEC_LZO, 9, { 0x89, 'L', 'Z', 'O', 0, 0x0d, 0x0a, 0x1a, 0x0a } },
	{ CODEC_ZSTD, 4, { 0x28, 0xb5, 0x2f, 0xfd } },
};

enum codec codec_sniff(const uint8_t *head, size_t len_bytes)
{
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
		if (len_bytes >= magics[i].len &&
		    !memcmp(head, magics[i].magic, magics[i].len))
			return magics[i].codec;
	return CODEC_UNKNOWN;
}

const char *codec_name(enum codec c)
{
	static const char *const names[] = {
		[CODEC_UNKNOWN] = "unknown",
		[CODEC_COPY] = "uncompressed",
		[CODEC_GZIP] = "gzip",
		[CODEC_BZIP2] = "bzip2",
		[CODEC_LZMA] = "lzma",
		[CODEC_XZ] = "xz",
		[CODEC_LZ4] = "lz4",
		[CODEC_LZO] = "lzo",
		[CODEC_ZSTD] = "zstd",
	};

	return names[c];
}

void *codec_alloc(struct codec_arena *a, size_t len_bytes)
{
	size_t used = (a->used + 15) & ~(size_t)15;

	if (used > a->len_bytes || len_bytes > a->len_bytes - used)
		return NULL;
	a->used = used + len_bytes;
	return a->base + used;
}

enum codec_result codec_emit(struct codec_job *job, const uint8_t *data,
			     size_t len_bytes)
{
	if (len_bytes > job->limit - job->out_len)
		return CODEC_TOO_LARGE;
	if (job->sink(job->opaque, data, len_bytes))
		return CODEC_SINK_FAILED;
	job->out_len += len_bytes;
	return CODEC_OK;
}

static enum codec_result copy(struct codec_job *job)
{
	for (size_t at = 0; at < job->in_len; at += CODEC_CHUNK) {
		size_t n = job->in_len - at;
		enum codec_result r;

		r = codec_emit(job, job->in + at,
			       n < CODEC_CHUNK ? n : CODEC_CHUNK);
		if (r != CODEC_OK)
			return r;
	}
	return CODEC_OK;
}

enum codec_result codec_run(enum codec c, struct codec_job *job)
{
	job->out_len = 0;
	switch (c) {
	case CODEC_COPY:
		return copy(job);
	case CODEC_GZIP:
		return codec_gzip(job);
	case CODEC_BZIP2:
		return codec_bzip2(job);
	case CODEC_LZMA:
		return codec_lzma(job);
	case CODEC_XZ:
		return codec_xz(job);
	case CODEC_LZ4:
		return codec_lz4(job);
	case CODEC_LZO:
		return codec_lzo(job);
	case CODEC_ZSTD:
		return codec_zstd(job);
	case CODEC_UNKNOWN:
		break;
	}
	return CODEC_CORRUPT;
}
