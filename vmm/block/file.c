/* SPDX-License-Identifier: MIT */
/* Opening, locking and probing disk images. Main thread. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/block.h"
#include "block/engine.h"

struct block_file {
	int fd;
	uint64_t size_bytes;
	uint32_t granule_bytes;
	bool readonly;
	bool can_discard;
	bool can_write_zeroes;
};

/*
 * A lock of the open file description: it ends with the descriptor, however
 * the process ends, and also keeps two disks of one VM apart.
 */
static int lock(int fd, const char *path, bool readonly, struct error *e)
{
	struct flock l = {
		.l_type = readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET,
	};

	if (!fcntl(fd, F_OFD_SETLK, &l))
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return error_set(e, -EBUSY, "disk %s: in use%s", path,
				 readonly ? " for writing" : "");
	return error_errno(e, -errno, "disk %s: cannot lock it", path);
}

/*
 * Past its end a file has nothing to lose, so a hole there only tells whether
 * the file system can make holes.
 */
static bool can_punch(int fd, uint64_t size_bytes)
{
	uint64_t at = (size_bytes + 4095) & ~UINT64_C(4095);

	return !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (off_t)at, 4096);
}

static int probe_file(struct block_file *f, const struct stat *st)
{
	f->size_bytes = (uint64_t)st->st_size;
	if (!f->readonly)
		f->can_discard = f->can_write_zeroes =
			can_punch(f->fd, f->size_bytes);
	return 0;
}

/*
 * The kernel zeroes ranges of any block device, if need be by writing. There is
 * no discard that all kernels have and that does not block the caller.
 */
static int probe_device(struct block_file *f)
{
	int granule;

	if (ioctl(f->fd, BLKGETSIZE64, &f->size_bytes))
		return -errno;
	if (ioctl(f->fd, BLKSSZGET, &granule))
		return -errno;
	if (granule > BLOCK_SECTOR_BYTES)
		f->granule_bytes = (uint32_t)granule;
	f->can_write_zeroes = !f->readonly;
	return 0;
}

static int probe(struct block_file *f, const char *path, struct error *e)
{
	struct stat st;
	int ret;

	if (fstat(f->fd, &st))
		return error_errno(e, -errno, "disk %s", path);
	if (S_ISREG(st.st_mode))
		ret = probe_file(f, &st);
	else if (S_ISBLK(st.st_mode))
		ret = probe_device(f);
	else
		return error_set(e, -EINVAL, "disk %s: neither a file nor a "
				 "block device", path);
	if (ret)
		return error_errno(e, ret, "disk %s: cannot tell its size",
				   path);
	f->size_bytes -= f->size_bytes % f->granule_bytes;
	if (!f->size_bytes)
		return error_set(e, -EINVAL, "disk %s: smaller than a sector "
				 "of %u bytes", path, f->granule_bytes);
	return 0;
}

int block_open(struct block_file **out, const char *path, bool readonly,
	       struct error *e)
{
	struct block_file *f = calloc(1, sizeof(*f));
	int flags = readonly ? O_RDONLY : O_RDWR;
	int ret;

	if (!f)
		return error_errno(e, -ENOMEM, "disk %s", path);
	f->readonly = readonly;
	f->granule_bytes = BLOCK_SECTOR_BYTES;
	/* O_NONBLOCK: a FIFO by mistake must not hang. */
	f->fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (f->fd < 0) {
		ret = error_errno(e, -errno, "disk %s", path);
		goto err;
	}
	/* But io_uring would answer -EAGAIN where it has to wait. */
	if (fcntl(f->fd, F_SETFL, flags)) {
		ret = error_errno(e, -errno, "disk %s", path);
		goto err;
	}
	/* First the lock: what another writer does might change the rest. */
	ret = lock(f->fd, path, readonly, e);
	if (!ret)
		ret = probe(f, path, e);
	if (ret)
		goto err;
	*out = f;
	return 0;

err:
	block_close(f);
	return ret;
}

void block_close(struct block_file *f)
{
	if (!f)
		return;
	if (f->fd >= 0)
		close(f->fd);
	free(f);
}

uint64_t block_size_bytes(const struct block_file *f)
{
	return f->size_bytes;
}

uint32_t block_granule_bytes(const struct block_file *f)
{
	return f->granule_bytes;
}

bool block_readonly(const struct block_file *f)
{
	return f->readonly;
}

bool block_can_discard(const struct block_file *f)
{
	return f->can_discard;
}

bool block_can_write_zeroes(const struct block_file *f)
{
	return f->can_write_zeroes;
}

int block_file_fd(const struct block_file *f)
{
	return f->fd;
}
