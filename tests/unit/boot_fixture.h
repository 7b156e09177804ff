/* SPDX-License-Identifier: MIT */
/*
 * Makes what the boot loader's tests read: files in a temporary directory,
 * ELF executables, and data compressed in each format.
 */
#ifndef MOTE_TEST_BOOT_FIXTURE_H
#define MOTE_TEST_BOOT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <bzlib.h>
#include <dirent.h>
#include <errno.h>
#include <elf.h>
#include <fcntl.h>
#include <ftw.h>
#include <lz4.h>
#include <lzma.h>
#include <lzo/lzo1x.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "boot/codec.h"
#include "error.h"

struct bytes {
	uint8_t *p;
	size_t len;
};

static inline struct bytes bytes_new(size_t len)
{
	struct bytes b = { calloc(1, len ? len : 1), len };

	assert_non_null(b.p);
	return b;
}

static inline void bytes_free(struct bytes *b)
{
	free(b->p);
	b->p = NULL;
}

static inline void put_le(uint8_t *p, uint64_t value, unsigned int len)
{
	while (len--) {
		*p++ = (uint8_t)value;
		value >>= 8;
	}
}

static inline uint64_t get_le(const uint8_t *p, unsigned int len)
{
	uint64_t value = 0;

	while (len--)
		value = value << 8 | p[len];
	return value;
}

/* Compressible but not trivial, and different for each seed. */
static inline void fill_pattern(uint8_t *p, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525u + 1013904223u;
		p[i] = (i / 64) % 3 ? (uint8_t)i : (uint8_t)(seed >> 24);
	}
}

/* ---- files --------------------------------------------------------------- */

static inline char *dir_new(void)
{
	const char *base = getenv("TMPDIR");
	char *path;

	assert_true(asprintf(&path, "%s/mote-test-XXXXXX",
			     base ? base : "/tmp") > 0);
	assert_non_null(mkdtemp(path));
	return path;
}

static inline int remove_one(const char *path, const struct stat *st, int type,
			     struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void dir_remove(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline size_t dir_count(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *d;
	size_t n = 0;

	while (dir && (d = readdir(dir)))
		n += strcmp(d->d_name, ".") && strcmp(d->d_name, "..");
	if (dir)
		closedir(dir);
	return n;
}

static inline char *file_new(const char *dir, const char *name,
			     const void *data, size_t len)
{
	char *path;
	int fd;

	assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
	return path;
}

static inline int memfd_with(const void *data, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	return fd;
}

/* ---- ELF ----------------------------------------------------------------- */

struct elf_part {
	uint64_t paddr, vaddr, filesz, memsz;
};

#define PHDR(i)		(64u + 56u * (i))	/* ELF64's, right behind */
#define KERNEL_VADDR	0xffffffff80000000ull

/* 12 bytes of note header, "Xen", the address in 4 or 8 bytes. */
static inline size_t pvh_note(uint8_t *p, uint64_t entry, unsigned int desc)
{
	put_le(p, 4, 4);
	put_le(p + 4, desc, 4);
	put_le(p + 8, 18, 4);
	memcpy(p + 12, "Xen", 4);
	put_le(p + 16, entry, desc);
	return 16 + desc;
}

/*
 * ELF64, x86-64: the segments at page-congruent offsets from 0x1000 on, filled
 * by fill_pattern() with the low half of paddr as seed. pvh != 0 adds a note.
 */
static inline struct bytes elf64_new(const struct elf_part *parts, size_t n,
				     uint64_t entry, uint32_t pvh)
{
	static const uint8_t ident[] = { 0x7f, 'E', 'L', 'F', ELFCLASS64,
					 ELFDATA2LSB, EV_CURRENT };
	uint64_t at = 0x1000;
	struct bytes b;

	for (size_t i = 0; i < n; i++)
		at += ((parts[i].filesz + 0xfff) & ~0xfffull) + 0x1000;
	b = bytes_new((size_t)at);
	memcpy(b.p, ident, sizeof(ident));
	put_le(b.p + 16, ET_EXEC, 2);
	put_le(b.p + 18, EM_X86_64, 2);
	put_le(b.p + 20, EV_CURRENT, 4);
	put_le(b.p + 24, entry, 8);
	put_le(b.p + 32, 64, 8);
	put_le(b.p + 52, 64, 2);
	put_le(b.p + 54, 56, 2);
	put_le(b.p + 56, n + (pvh ? 1 : 0), 2);
	at = 0x1000;
	for (size_t i = 0; i < n; i++) {
		uint8_t *ph = b.p + PHDR(i);
		uint64_t offset = at + (parts[i].paddr & 0xfff);

		put_le(ph, PT_LOAD, 4);
		put_le(ph + 8, offset, 8);
		put_le(ph + 16, parts[i].vaddr, 8);
		put_le(ph + 24, parts[i].paddr, 8);
		put_le(ph + 32, parts[i].filesz, 8);
		put_le(ph + 40, parts[i].memsz, 8);
		put_le(ph + 48, 0x1000, 8);
		fill_pattern(b.p + offset, (size_t)parts[i].filesz,
			     (uint32_t)parts[i].paddr);
		at += ((parts[i].filesz + 0xfff) & ~0xfffull) + 0x1000;
	}
	if (pvh) {
		uint8_t *ph = b.p + PHDR(n);

		put_le(ph, PT_NOTE, 4);
		put_le(ph + 8, 0xf00, 8);
		put_le(ph + 32, pvh_note(b.p + 0xf00, pvh, 8), 8);
		put_le(ph + 48, 4, 8);
	}
	return b;
}

/*
 * Adds a table of sections, each at the file offset of its segment plus at. The
 * file's pages stay where they are.
 */
struct elf_section {
	unsigned int part;
	uint64_t at, size, flags;
	uint32_t type;
};

static inline void elf64_add_sections(struct bytes *b,
				      const struct elf_section *sections,
				      size_t n)
{
	struct bytes out = bytes_new(b->len + 64 * n);

	memcpy(out.p, b->p, b->len);
	put_le(out.p + 40, b->len, 8);
	put_le(out.p + 58, 64, 2);
	put_le(out.p + 60, n, 2);
	for (size_t i = 0; i < n; i++) {
		const struct elf_section *s = &sections[i];
		uint8_t *sh = out.p + b->len + 64 * i;

		put_le(sh + 4, s->type, 4);
		put_le(sh + 8, s->flags, 8);
		put_le(sh + 24, get_le(b->p + PHDR(s->part) + 8, 8) + s->at, 8);
		put_le(sh + 32, s->size, 8);
	}
	bytes_free(b);
	*b = out;
}

/* ---- compression --------------------------------------------------------- */

static inline size_t pack_gzip(struct bytes in, uint8_t *out, size_t max)
{
	z_stream z = { .next_in = in.p, .avail_in = (uInt)in.len,
		       .next_out = out, .avail_out = (uInt)max };

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8,
				      Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return max - z.avail_out;
}

static inline size_t pack_lzma(struct bytes in, uint8_t *out, size_t max,
			       bool xz)
{
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_options_lzma o;

	assert_false(lzma_lzma_preset(&o, 1));
	if (xz) {
		/* As the kernel's scripts/xz_wrap.sh does. */
		lzma_filter f[] = { { LZMA_FILTER_X86, NULL },
				    { LZMA_FILTER_LZMA2, &o },
				    { LZMA_VLI_UNKNOWN, NULL } };

		assert_int_equal(lzma_stream_encoder(&s, f, LZMA_CHECK_CRC32),
				 LZMA_OK);
	} else {
		assert_int_equal(lzma_alone_encoder(&s, &o), LZMA_OK);
	}
	s.next_in = in.p;
	s.avail_in = in.len;
	s.next_out = out;
	s.avail_out = max;
	assert_int_equal(lzma_code(&s, LZMA_FINISH), LZMA_STREAM_END);
	lzma_end(&s);
	return max - s.avail_out;
}

static inline size_t pack_lz4(struct bytes in, uint8_t *out, size_t max)
{
	const size_t block = 8u << 20;
	size_t len = 4;

	put_le(out, 0x184c2102, 4);
	for (size_t at = 0; at < in.len; at += block) {
		size_t n = in.len - at < block ? in.len - at : block;
		int c = LZ4_compress_default((char *)in.p + at,
					     (char *)out + len + 4, (int)n,
					     (int)(max - len - 4));

		assert_true(c > 0);
		put_le(out + len, (uint64_t)c, 4);
		len += 4 + (size_t)c;
	}
	return len;
}

static inline void put_be32(uint8_t *p, uint32_t v)
{
	put_le(p, __builtin_bswap32(v), 4);
}

static inline size_t pack_lzo(struct bytes in, uint8_t *out)
{
	static const uint8_t head[] = {
		0x89, 'L', 'Z', 'O', 0, 0x0d, 0x0a, 0x1a, 0x0a, 0x10, 0x40,
		0x20, 0xa0, 0x09, 0x40, 1, 9,
		0, 0, 0, 1,		/* flags: Adler-32 of the data */
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		3, 'a', 'b', 'c', 0, 0, 0, 0,
	};
	const size_t block = 256u << 10;
	uint8_t *work = malloc(LZO1X_1_MEM_COMPRESS);
	size_t len = sizeof(head);

	assert_non_null(work);
	assert_int_equal(lzo_init(), LZO_E_OK);
	memcpy(out, head, sizeof(head));
	for (size_t at = 0; at < in.len; at += block) {
		size_t n = in.len - at < block ? in.len - at : block;
		uint8_t *o = out + len;
		lzo_uint c;

		lzo1x_1_compress(in.p + at, n, o + 12, &c, work);
		if (c >= n) {
			memcpy(o + 12, in.p + at, n);
			c = n;
		}
		put_be32(o, (uint32_t)n);
		put_be32(o + 4, (uint32_t)c);
		put_be32(o + 8, (uint32_t)adler32(1, in.p + at, (uInt)n));
		len += 12 + c;
	}
	put_be32(out + len, 0);
	free(work);
	return len + 4;
}

static inline struct bytes pack(enum codec codec, struct bytes in)
{
	size_t max = in.len + in.len / 2 + 65536;
	struct bytes out = bytes_new(max);
	unsigned int n = (unsigned int)max;

	switch (codec) {
	case CODEC_GZIP:
		out.len = pack_gzip(in, out.p, max);
		break;
	case CODEC_BZIP2:
		assert_int_equal(BZ2_bzBuffToBuffCompress((char *)out.p, &n,
				 (char *)in.p, (unsigned int)in.len, 9, 0, 0),
				 BZ_OK);
		out.len = n;
		break;
	case CODEC_LZMA:
	case CODEC_XZ:
		out.len = pack_lzma(in, out.p, max, codec == CODEC_XZ);
		break;
	case CODEC_LZ4:
		out.len = pack_lz4(in, out.p, max);
		break;
	case CODEC_LZO:
		out.len = pack_lzo(in, out.p);
		break;
	case CODEC_ZSTD:
		out.len = ZSTD_compress(out.p, max, in.p, in.len, 3);
		assert_false(ZSTD_isError(out.len));
		break;
	default:
		memcpy(out.p, in.p, in.len);
		out.len = in.len;
	}
	return out;
}

#endif
