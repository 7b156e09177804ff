/* SPDX-License-Identifier: MIT */
/* Opening, locking and resizing disk images. Main thread. */
#include "block/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

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

/* Not by closing alone: a ring may hold the file a little longer. */
static void unlock(int fd)
{
	struct flock l = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	(void)!fcntl(fd, F_OFD_SETLK, &l);
}

static int open_and_lock(struct block_file *f, const char *path,
			 struct error *e)
{
	int flags = f->readonly ? O_RDONLY : O_RDWR;

	/* O_NONBLOCK: a FIFO by mistake must not hang. */
	f->fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	/* But io_uring would answer -EAGAIN where it has to wait. */
	if (f->fd < 0 || fcntl(f->fd, F_SETFL, flags))
		return error_errno(e, -errno, "disk %s", path);
	return lock(f->fd, path, f->readonly, e);
}

int block_open(struct block_file **out, const struct block_open_params *p,
	       struct error *e)
{
	struct block_file *f = calloc(1, sizeof(*f));
	int ret;

	if (!f)
		return error_errno(e, -ENOMEM, "disk %s", p->path);
	f->readonly = p->readonly;
	f->vhd = p->vhd;
	f->fd = f->direct_fd = -1;
	/* First the lock: what another writer does might change the rest. */
	ret = open_and_lock(f, p->path, e);
	if (!ret)
		ret = block_probe(f, p->path, e);
	if (!ret && p->direct)
		ret = block_probe_direct(f, p->path, e);
	if (ret) {
		block_close(f);
		return ret;
	}
	*out = f;
	return 0;
}

void block_close(struct block_file *f)
{
	if (!f)
		return;
	if (f->direct_fd >= 0)
		close(f->direct_fd);
	if (f->fd >= 0) {
		unlock(f->fd);
		close(f->fd);
	}
	free(f);
}

static int resize_device(const struct block_file *f, uint64_t size_bytes,
			 struct error *e)
{
	uint64_t have;
	int ret = block_device_bytes(f, &have);

	if (ret)
		return error_errno(e, ret, "cannot tell the device's size");
	if (size_bytes > have)
		return error_set(e, -EINVAL, "%llu bytes: the device has only "
				 "%llu", (unsigned long long)size_bytes,
				 (unsigned long long)have);
	return 0;
}

int block_resize(struct block_file *f, uint64_t size_bytes, struct error *e)
{
	int ret = 0;

	if (!size_bytes || size_bytes % f->topology.granule ||
	    size_bytes > INT64_MAX)
		return error_set(e, -EINVAL, "%llu bytes: not whole sectors of "
				 "%u", (unsigned long long)size_bytes,
				 f->topology.granule);
	if (f->vhd)
		return error_class_set(e, ERROR_NOT_SUPPORTED, -EOPNOTSUPP,
				       "a fixed VHD keeps its size");
	if (f->device)
		ret = resize_device(f, size_bytes, e);
	else if (f->readonly)
		ret = error_set(e, -EROFS, "the image is read-only");
	else if (ftruncate(f->fd, (off_t)size_bytes))
		ret = error_errno(e, -errno, "cannot resize the image");
	if (!ret)
		f->size_bytes = size_bytes;
	return ret;
}

uint64_t block_size_bytes(const struct block_file *f)
{
	return f->size_bytes;
}

const struct block_topology *block_topology(const struct block_file *f)
{
	return &f->topology;
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
