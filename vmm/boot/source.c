/* SPDX-License-Identifier: MIT */
/* Files named by the user. Main thread. */
#include "boot/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define IOV_MAX_GUEST	8
#define PIECE		(1ull << 20)
#define READ_MAX	(1ull << 30)	/* below Linux's limit of one read() */

/* The errno's text under the class that says whose fault it is: the user's. */
static int fail_errno(struct error *e, int ret, const char *path)
{
	return error_config(e, ret, "%s: %s", path, strerror(-ret));
}

/* One piece; returns its length, 0 at the end, or -errno. */
static ssize_t splice_some(int from, int to, uint64_t most, cancel_fn cancelled)
{
	ssize_t n;
	int ret;

	do {
		ret = wait_readable(from, WAIT_FOR_EVER, cancelled);
		if (ret)
			return ret;
		n = splice(from, NULL, to, NULL,
			   (size_t)(most < PIECE ? most : PIECE), 0);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	return n < 0 ? -errno : n;
}

/* Reads a pipe to its end into a new memfd; returns it or -errno. */
static int slurp(int from, const char *path, uint64_t max_bytes,
		 uint64_t *len_bytes, cancel_fn cancelled, struct error *e)
{
	uint64_t total = 0;
	ssize_t n;
	int fd, ret;

	fd = memfd_create("mote-source", MFD_CLOEXEC);
	if (fd < 0)
		return fail_errno(e, -errno, path);
	do {
		/* One byte more than allowed: too long, not just full. */
		n = splice_some(from, fd, max_bytes - total + 1, cancelled);
		if (n < 0) {
			ret = fail_errno(e, (int)n, path);
			goto err_fd;
		}
		total += (uint64_t)n;
		if (total > max_bytes) {
			ret = error_config(e, -EFBIG,
					   "%s: more than %llu bytes",
					   path,
					   (unsigned long long)max_bytes);
			goto err_fd;
		}
	} while (n != 0);
	*len_bytes = total;
	return fd;

err_fd:
	close(fd);
	return ret;
}

static int check_kind(struct source *s, const struct stat *st,
		      uint64_t max_bytes, struct error *e)
{
	if (S_ISREG(st->st_mode)) {
		s->regular = true;
		s->len_bytes = (uint64_t)st->st_size;
		if (s->len_bytes > max_bytes)
			return error_config(e, -EFBIG,
					    "%s: %llu bytes, the limit is %llu",
					    s->path,
					    (unsigned long long)s->len_bytes,
					    (unsigned long long)max_bytes);
		return 0;
	}
	if (S_ISDIR(st->st_mode))
		return fail_errno(e, -EISDIR, s->path);
	if (!S_ISFIFO(st->st_mode))
		return error_config(e, -EINVAL,
				    "%s: neither a regular file nor a pipe",
				    s->path);
	return 0;
}

int source_open(struct source *s, const char *path, uint64_t max_bytes,
		cancel_fn cancelled, struct error *e)
{
	struct stat st;
	int ret;

	*s = (struct source)SOURCE_INIT;
	s->path = path;
	/* O_NONBLOCK: of a FIFO, the writer is waited for in slurp(). */
	s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (s->fd < 0)
		return fail_errno(e, -errno, path);
	if (fstat(s->fd, &st) < 0) {
		ret = fail_errno(e, -errno, path);
		goto err_close;
	}
	ret = check_kind(s, &st, max_bytes, e);
	if (ret)
		goto err_close;
	if (!s->regular) {
		ret = slurp(s->fd, path, max_bytes, &s->len_bytes,
			    cancelled, e);
		if (ret < 0)
			goto err_close;
		close(s->fd);
		s->fd = ret;
	}
	if (!s->len_bytes) {
		ret = error_config(e, -EINVAL, "%s: empty", path);
		goto err_close;
	}
	return 0;

err_close:
	source_close(s);
	return ret;
}

void source_close(struct source *s)
{
	if (!s || s->fd < 0)
		return;
	close(s->fd);
	s->fd = -1;
}

static uint64_t nanoseconds(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec;
}

int source_identify(const struct source *s, struct source_id *id)
{
	struct stat st;

	if (!s->regular)
		return -ENOENT;
	if (fstat(s->fd, &st) < 0)
		return -errno;
	id->dev = st.st_dev;
	id->ino = st.st_ino;
	id->size = (uint64_t)st.st_size;
	id->mtime_ns = nanoseconds(&st.st_mtim);
	id->ctime_ns = nanoseconds(&st.st_ctim);
	return 0;
}

int source_pread(int fd, uint64_t offset, void *buf, size_t len_bytes)
{
	uint8_t *p = buf;

	if (offset > INT64_MAX - len_bytes)
		return -ENODATA;
	while (len_bytes) {
		ssize_t n = pread(fd, p, len_bytes, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		p += n;
		offset += (uint64_t)n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

void source_map_read(struct source_map *map, int fd, uint64_t offset,
		     uint64_t len_bytes)
{
	uint64_t at = offset, end = offset + len_bytes;

	memset(map, 0, sizeof(*map));
	while (at < end) {
		off_t from = lseek(fd, (off_t)at, SEEK_DATA), to;

		if (from < 0 && errno == ENXIO)
			return;
		if (from >= 0 && (uint64_t)from >= end)
			return;
		to = from < 0 ? -1 : lseek(fd, from, SEEK_HOLE);
		if (from < 0)
			from = (off_t)at;
		if (to <= from || (uint64_t)to > end ||
		    map->count == SOURCE_MAP_RANGES - 1)
			to = (off_t)end;
		map->data[map->count].from = (uint64_t)from - offset;
		map->data[map->count].to = (uint64_t)to - offset;
		map->count++;
		at = (uint64_t)to;
	}
}

void source_map_next(const struct source_map *map, uint64_t at, uint64_t end,
		     uint64_t *from, uint64_t *to)
{
	*from = *to = end;
	for (size_t i = 0; i < map->count && i < SOURCE_MAP_RANGES; i++) {
		uint64_t a = map->data[i].from, b = map->data[i].to;

		if (b <= at || b <= a)
			continue;
		if (a >= end)
			return;
		*from = a > at ? a : at;
		*to = b < end ? b : end;
		return;
	}
}

int source_pread_guest(int fd, uint64_t offset, const struct guest_mem *m,
		       gpa_t gpa, uint64_t len_bytes)
{
	struct iovec iov[IOV_MAX_GUEST];

	if (offset > INT64_MAX - len_bytes)
		return -ENODATA;
	while (len_bytes) {
		uint64_t want = len_bytes < READ_MAX ? len_bytes : READ_MAX;
		ssize_t n;
		int used;

		used = guest_mem_iov(m, gpa, (size_t)want, iov, IOV_MAX_GUEST);
		if (used < 0)
			return used;
		n = preadv(fd, iov, used, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		gpa += (uint64_t)n;
		offset += (uint64_t)n;
		len_bytes -= (uint64_t)n;
	}
	return 0;
}
