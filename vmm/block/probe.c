/* SPDX-License-Identifier: MIT */
/* What an image is: its size, its blocks, what it can do. Main thread. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "block/file.h"
#include "block/vhd.h"

/* No disk has larger blocks; also what tells a power of two from nonsense. */
#define MAX_BLOCK_BYTES 65536u

static bool is_block_size(uint64_t bytes)
{
	return bytes >= BLOCK_SECTOR_BYTES && bytes <= MAX_BLOCK_BYTES &&
	       !(bytes & (bytes - 1));
}

/*
 * Past its end a file has nothing to lose, so a hole there only tells whether
 * the file system can make holes.
 */
static bool can_punch(int fd, uint64_t file_bytes)
{
	uint64_t at = (file_bytes + 4095) & ~UINT64_C(4095);

	return !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (off_t)at, 4096);
}

/* Sectors are what images of disks are made of, whatever they lie on; blocks
 * of the file system are what is good to write at a time. */
static int probe_file(struct block_file *f, const struct stat *st,
		      struct error *e)
{
	f->size_bytes = (uint64_t)st->st_size;
	if (is_block_size((uint64_t)st->st_blksize))
		f->topology.physical = f->topology.min_io =
			(uint32_t)st->st_blksize;
	if (!f->readonly)
		f->can_discard = f->can_write_zeroes =
			can_punch(f->fd, f->size_bytes);
	if (!f->vhd)
		return 0;
	return vhd_fixed_payload(f->fd, f->size_bytes, &f->size_bytes, e);
}

static unsigned long long queue_limit(dev_t dev, const char *name)
{
	/* A partition has its disk's queue. */
	static const char *const places[] = { "", "../" };
	unsigned long long value = 0;
	char path[96];
	FILE *file;

	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%squeue/%s",
			 major(dev), minor(dev), places[i], name);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (fscanf(file, "%llu", &value) != 1)
			value = 0;
		fclose(file);
		break;
	}
	return value;
}

int block_device_bytes(const struct block_file *f, uint64_t *bytes)
{
	return ioctl(f->fd, BLKGETSIZE64, bytes) ? -errno : 0;
}

/*
 * The kernel zeroes ranges of any block device, if need be by writing. A hole
 * in one is zeroes without writing: a device that has those and discards is the
 * one where that gives space back.
 */
static int probe_device(struct block_file *f, dev_t dev)
{
	struct block_topology *t = &f->topology;
	unsigned int physical = 0, min_io = 0, best_io = 0;
	int ret = block_device_bytes(f, &f->size_bytes);
	int granule, alignment = 0;

	if (!ret && ioctl(f->fd, BLKSSZGET, &granule))
		ret = -errno;
	if (ret)
		return ret;
	f->device = true;
	if (granule > 0 && is_block_size((uint64_t)granule))
		t->granule = t->physical = (uint32_t)granule;
	ioctl(f->fd, BLKPBSZGET, &physical);
	ioctl(f->fd, BLKIOMIN, &min_io);
	ioctl(f->fd, BLKIOOPT, &best_io);
	ioctl(f->fd, BLKALIGNOFF, &alignment);
	if (is_block_size(physical) && physical >= t->granule)
		t->physical = physical;
	t->min_io = min_io - min_io % t->granule;
	t->best_io = best_io - best_io % t->granule;
	if (alignment > 0 && (unsigned int)alignment < t->physical)
		t->alignment = (uint32_t)alignment;
	f->can_write_zeroes = !f->readonly;
	f->can_discard = !f->readonly &&
			 queue_limit(dev, "discard_max_bytes") &&
			 queue_limit(dev, "write_zeroes_max_bytes");
	return 0;
}

int block_probe(struct block_file *f, const char *path, struct error *e)
{
	struct stat st;
	int ret;

	f->topology.granule = f->topology.physical = BLOCK_SECTOR_BYTES;
	if (fstat(f->fd, &st))
		return error_errno(e, -errno, "disk %s", path);
	if (S_ISREG(st.st_mode)) {
		ret = probe_file(f, &st, e);
		if (ret)
			return error_prefix(e, ret, "disk %s", path);
	} else if (S_ISBLK(st.st_mode) && f->vhd) {
		return error_set(e, -EINVAL, "disk %s: a block device, not a "
				 "fixed VHD", path);
	} else if (S_ISBLK(st.st_mode)) {
		ret = probe_device(f, st.st_rdev);
		if (ret)
			return error_errno(e, ret, "disk %s: cannot tell its "
					   "size", path);
	} else {
		return error_set(e, -EINVAL, "disk %s: neither a file nor a "
				 "block device", path);
	}
	f->size_bytes -= f->size_bytes % f->topology.granule;
	if (!f->size_bytes)
		return error_set(e, -EINVAL, "disk %s: smaller than a sector "
				 "of %u bytes", path, f->topology.granule);
	return 0;
}

/* ---- direct I/O ----------------------------------------------------------- */

/*
 * Where the kernel does not tell: the smallest read that it takes. At the first
 * byte even an empty rest of a file is read with what all reads must obey.
 */
static int try_alignments(struct block_file *f)
{
	uint32_t align = BLOCK_SECTOR_BYTES;
	void *buf;
	int ret = -EINVAL;

	if (posix_memalign(&buf, MAX_BLOCK_BYTES, MAX_BLOCK_BYTES))
		return -ENOMEM;
	for (; ret == -EINVAL && align <= MAX_BLOCK_BYTES; align *= 2) {
		ret = pread(f->direct_fd, buf, align, 0) < 0 ? -errno : 0;
		f->direct_offset_align = f->direct_memory_align = align;
	}
	free(buf);
	return ret;
}

static int find_alignments(struct block_file *f)
{
	struct statx stx = { 0 };

	if (statx(f->direct_fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) ||
	    !(stx.stx_mask & STATX_DIOALIGN))
		return try_alignments(f);
	/* 0: no direct I/O here, whatever open() said. */
	if (!is_block_size(stx.stx_dio_offset_align) ||
	    !stx.stx_dio_mem_align || stx.stx_dio_mem_align > MAX_BLOCK_BYTES)
		return -EINVAL;
	f->direct_offset_align = stx.stx_dio_offset_align;
	f->direct_memory_align = stx.stx_dio_mem_align;
	return 0;
}

/* BIO_MAX_VECS: the kernel itself makes two of what has more pages. */
#define MAX_PAGES	256u
#define PAGE_BYTES	4096u

static uint32_t limit(dev_t dev, const char *name, unsigned int unit,
		      uint32_t most)
{
	unsigned long long value = queue_limit(dev, name) * unit;

	return value && value < most ? (uint32_t)value : most;
}

/*
 * Of the device's queue. File systems on no device, or on several, show none. A
 * buffer is a segment: RAM in huge pages mostly makes it one.
 */
static void find_limits(struct block_file *f)
{
	struct stat st = { 0 };
	dev_t dev;

	fstat(f->direct_fd, &st);
	dev = f->device ? st.st_rdev : st.st_dev;
	f->direct_max_bytes = limit(dev, "max_sectors_kb", 1024,
				    MAX_PAGES * PAGE_BYTES);
	f->direct_max_buffers = limit(dev, "max_segments", 1, MAX_PAGES);
}

static bool same_file(int a, int b)
{
	struct stat x, y;

	return !fstat(a, &x) && !fstat(b, &y) && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino && x.st_rdev == y.st_rdev;
}

int block_probe_direct(struct block_file *f, const char *path,
		       struct error *e)
{
	int flags = f->readonly ? O_RDONLY : O_RDWR;
	int ret = 0;

	f->direct_fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_DIRECT);
	if (f->direct_fd < 0)
		ret = -errno;
	else if (!same_file(f->fd, f->direct_fd))
		return error_set(e, -EBUSY, "disk %s: another file all of a "
				 "sudden", path);
	if (!ret)
		ret = find_alignments(f);
	if (ret == -EINVAL)
		return error_set(e, ret, "disk %s: direct=on: no direct I/O on "
				 "its file system", path);
	if (ret)
		return error_errno(e, ret, "disk %s: direct=on", path);
	find_limits(f);
	if (f->topology.physical < f->direct_offset_align)
		f->topology.physical = f->direct_offset_align;
	return 0;
}
