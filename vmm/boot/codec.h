/* SPDX-License-Identifier: MIT */
/*
 * The formats a kernel image may be compressed with. codec_run() is made for a
 * process that may do nothing but write and exit: it takes all its memory from
 * one arena and calls nothing else but the sink's function. Input is hostile.
 * Any thread; a job is one thread's.
 */
#ifndef MOTE_BOOT_CODEC_H
#define MOTE_BOOT_CODEC_H

#include <stddef.h>
#include <stdint.h>

enum codec {
	CODEC_UNKNOWN,
	CODEC_COPY,		/* not compressed: taken over as it is */
	CODEC_GZIP,
	CODEC_BZIP2,
	CODEC_LZMA,
	CODEC_XZ,
	CODEC_LZ4,		/* lz4's legacy frames: what kernels use */
	CODEC_LZO,		/* the lzop container */
	CODEC_ZSTD,
};

enum codec_result {
	CODEC_OK,
	CODEC_TRUNCATED,
	CODEC_CORRUPT,
	CODEC_TOO_LARGE,	/* more output than the limit */
	CODEC_NO_MEMORY,	/* more than the arena holds */
	CODEC_SINK_FAILED,
};

/* By magic number; never CODEC_COPY. Needs 9 bytes to know all. */
enum codec codec_sniff(const uint8_t *head, size_t len_bytes);
const char *codec_name(enum codec c);

/* Enough for zstd's and xz's 128 MiB windows. */
#define CODEC_ARENA_BYTES (256ull << 20)

/* Memory that is handed out once and never taken back. */
struct codec_arena {
	uint8_t *base;		/* zeroed, page-aligned; the caller's */
	size_t len_bytes, used;
};

struct codec_job {
	const uint8_t *in;
	size_t in_len;		/* at most 1 GiB */
	uint64_t limit;		/* of the output's length */
	struct codec_arena arena;
	/* Called with successive pieces; non-zero stops: CODEC_SINK_FAILED. */
	int (*sink)(void *opaque, const uint8_t *data, size_t len_bytes);
	void *opaque;
	/* Filled: what went through the sink. */
	uint64_t out_len;
};

enum codec_result codec_run(enum codec c, struct codec_job *job);

/* ---- for the decoders ---- */

#define CODEC_CHUNK (256u << 10)

/* 16-byte aligned, or NULL. */
void *codec_alloc(struct codec_arena *a, size_t len_bytes);
enum codec_result codec_emit(struct codec_job *job, const uint8_t *data,
			     size_t len_bytes);

enum codec_result codec_gzip(struct codec_job *job);
enum codec_result codec_bzip2(struct codec_job *job);
enum codec_result codec_lzma(struct codec_job *job);
enum codec_result codec_xz(struct codec_job *job);
enum codec_result codec_zstd(struct codec_job *job);
enum codec_result codec_lz4(struct codec_job *job);
enum codec_result codec_lzo(struct codec_job *job);

#endif
