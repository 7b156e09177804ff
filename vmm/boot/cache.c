/* SPDX-License-Identifier: MIT */
/* The kernel cache: looking up and inserting. Main thread. */
#include "boot/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <lzma.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "boot/crc64.h"

#define NAME_BYTES	112	/* five numbers of 16 digits, and ".v1" */
#define TEMP_PREFIX	".tmp-"
#define TEMP_MAX_AGE_S	3600
#define TOUCH_AFTER_S	60
#define CHUNK		(256u << 10)

/* The start of an entry's first page. Never leaves the host it was made on. */
struct metadata {
	char magic[8];
	uint32_t version;
	uint32_t reserved;
	struct source_id id;
	uint64_t len_bytes;
	uint64_t crc64;		/* of the content */
	struct source_map data;
	uint64_t self_crc64;	/* of all that is before */
};

static const char magic[8] = "MOTEKRNL";

_Static_assert(sizeof(struct metadata) == 88 + SOURCE_MAP_RANGES * 16,
	       "no padding in a file");
_Static_assert(sizeof(struct metadata) <= CACHE_CONTENT_OFFSET, "one page");

static uint64_t self_crc64(const struct metadata *m)
{
	return lzma_crc64((const uint8_t *)m,
			  offsetof(struct metadata, self_crc64), 0);
}

static void entry_name(char name[NAME_BYTES], const struct source_id *id)
{
	snprintf(name, NAME_BYTES, "%" PRIx64 "-%" PRIx64 "-%" PRIx64 "-%"
		 PRIx64 "-%" PRIx64 ".v1", id->dev, id->ino, id->size,
		 id->mtime_ns, id->ctime_ns);
}

/* ---- the directory ------------------------------------------------------- */

/* Makes path and what is missing above it, private. */
static int make_directories(struct cache *c, const char *path)
{
	char part[PATH_MAX];
	size_t len = strlen(path);

	if (len >= sizeof(part))
		return -ENAMETOOLONG;
	memcpy(part, path, len + 1);
	for (size_t i = 1, from = 0; i <= len; from = i++) {
		while (part[i] && part[i] != '/')
			i++;
		part[i] = '\0';
		if (!mkdir(part, 0700)) {
			if (!c->made) {
				c->made = strdup(path);
				c->made_from = from;
			}
		} else if (errno != EEXIST) {
			return -errno;
		}
		part[i] = path[i];
	}
	return 0;
}

void cache_undo(struct cache *c)
{
	size_t i = c->made ? strlen(c->made) : 0;

	while (i > c->made_from && (!rmdir(c->made) || errno == ENOENT)) {
		do
			i--;
		while (i > c->made_from && c->made[i] != '/');
		c->made[i] = '\0';
	}
}

static int open_directory(struct cache *c, const char *path)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = open(path, flags);

	if (fd < 0 && errno == ENOENT) {
		int ret = make_directories(c, path);

		if (ret)
			return ret;
		fd = open(path, flags);
	}
	return fd < 0 ? -errno : fd;
}

/* NULL: private enough. */
static const char *why_not_private(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return strerror(errno);
	if (st.st_uid != geteuid())
		return "it belongs to somebody else";
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return "others may write to it";
	return NULL;
}

static bool default_path(char path[PATH_MAX])
{
	const char *base = getenv("XDG_CACHE_HOME");
	const char *below = "mote/kernels";
	int n;

	/* XDG Base Directory Specification: relative paths are ignored. */
	if (!base || base[0] != '/') {
		base = getenv("HOME");
		below = ".cache/mote/kernels";
	}
	if (!base || base[0] != '/')
		return false;
	n = snprintf(path, PATH_MAX, "%s/%s", base, below);
	return n > 0 && n < PATH_MAX;
}

int cache_open(struct cache *c, const char *setting, struct error *e)
{
	char path[PATH_MAX];
	const char *why = NULL;
	int fd;

	*c = (struct cache)CACHE_INIT;
	if (setting && !strcmp(setting, "off"))
		return 0;
	if (!setting && !default_path(path))
		return 0;
	fd = open_directory(c, setting ? setting : path);
	if (fd == -ENOSPC || fd == -EROFS || fd == -EDQUOT)
		return 0;
	if (fd < 0)
		why = fd == -ELOOP || fd == -ENOTDIR ?
		      "not a directory, or a symbolic link" : strerror(-fd);
	else
		why = why_not_private(fd);
	if (!why) {
		c->dir_fd = fd;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	if (!setting)
		return 0;
	return error_config(e, -EINVAL, "--kernel-cache: %s: %s", setting, why);
}

void cache_close(struct cache *c)
{
	if (!c)
		return;
	if (c->dir_fd >= 0)
		close(c->dir_fd);
	free(c->made);
	*c = (struct cache)CACHE_INIT;
}

/* ---- looking up ---------------------------------------------------------- */

/* Of [at, end) of the content. */
static int add_crc64(int fd, uint64_t at, uint64_t end, uint8_t *buf,
		     uint64_t *crc64)
{
	int ret = 0;

	while (at < end && !ret) {
		size_t n = end - at < CHUNK ? (size_t)(end - at) : CHUNK;

		ret = source_pread(fd, CACHE_CONTENT_OFFSET + at, buf, n);
		if (!ret)
			*crc64 = lzma_crc64(buf, n, *crc64);
		at += n;
	}
	return ret;
}

/* Holes are not read: that would fill the page cache with zeros. */
static int content_crc64(int fd, const struct source_map *map,
			 uint64_t len_bytes, uint64_t *crc64)
{
	uint64_t at = 0;
	uint8_t *buf = malloc(CHUNK);
	int ret = 0;

	if (!buf)
		return -ENOMEM;
	*crc64 = 0;
	while (at < len_bytes && !ret) {
		uint64_t from, to;

		source_map_next(map, at, len_bytes, &from, &to);
		*crc64 = crc64_zeros(*crc64, from - at);
		ret = add_crc64(fd, from, to, buf, crc64);
		at = to;
	}
	free(buf);
	return ret;
}

static int64_t seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec;
}

/*
 * An entry's mtime is its last use. One from before the host started (or from
 * a clock that was wrong) may have lost pages in a power cut.
 */
static bool used_since_boot(const struct stat *st)
{
	int64_t now = seconds(CLOCK_REALTIME);
	int64_t boot = now - seconds(CLOCK_BOOTTIME);

	return st->st_mtim.tv_sec > boot && st->st_mtim.tv_sec <= now + 1;
}

static bool valid(int fd, const struct source_id *id, const struct stat *st,
		  struct metadata *m)
{
	uint64_t crc64;

	return S_ISREG(st->st_mode) && st->st_uid == geteuid() &&
	       !source_pread(fd, 0, m, sizeof(*m)) &&
	       !memcmp(m->magic, magic, sizeof(magic)) && m->version == 1 &&
	       m->self_crc64 == self_crc64(m) &&
	       !memcmp(&m->id, id, sizeof(*id)) &&
	       m->len_bytes <= (uint64_t)st->st_size &&
	       (uint64_t)st->st_size - m->len_bytes == CACHE_CONTENT_OFFSET &&
	       (used_since_boot(st) ||
		(!content_crc64(fd, &m->data, m->len_bytes, &crc64) &&
		 crc64 == m->crc64));
}

int cache_lookup(const struct cache *c, const struct source_id *id,
		 struct cache_entry *out)
{
	char name[NAME_BYTES];
	struct metadata m;
	struct stat st;
	int fd;

	if (c->dir_fd < 0)
		return -ENOENT;
	entry_name(name, id);
	fd = openat(c->dir_fd, name,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		if (errno == ELOOP)
			unlinkat(c->dir_fd, name, 0);
		return -ENOENT;
	}
	if (fstat(fd, &st) < 0 || !valid(fd, id, &st, &m)) {
		close(fd);
		unlinkat(c->dir_fd, name, 0);
		return -ENOENT;
	}
	/* Its place in the order of use, without a disk write a boot. */
	if (!used_since_boot(&st) ||
	    seconds(CLOCK_REALTIME) - st.st_mtim.tv_sec > TOUCH_AFTER_S)
		futimens(fd, NULL);
	out->fd = fd;
	out->len_bytes = m.len_bytes;
	out->data = m.data;
	return 0;
}

/* ---- inserting ----------------------------------------------------------- */

int cache_begin(const struct cache *c, struct cache_temp *t)
{
	const int flags = O_RDWR | O_CLOEXEC;
	uint64_t random;

	*t = (struct cache_temp)CACHE_TEMP_INIT;
	if (c->dir_fd < 0)
		return -ENOENT;
	t->fd = openat(c->dir_fd, ".", flags | O_TMPFILE, 0400);
	if (t->fd >= 0)
		return 0;
	/* EISDIR: a kernel that does not know O_TMPFILE. */
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
		return -errno;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -EAGAIN;
	snprintf(t->name, sizeof(t->name), TEMP_PREFIX "%" PRIx64, random);
	t->fd = openat(c->dir_fd, t->name, flags | O_CREAT | O_EXCL, 0400);
	if (t->fd < 0) {
		t->name[0] = '\0';
		return -errno;
	}
	return 0;
}

void cache_abandon(const struct cache *c, struct cache_temp *t)
{
	if (t->name[0])
		unlinkat(c->dir_fd, t->name, 0);
	t->name[0] = '\0';
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

static int link_temp(const struct cache *c, struct cache_temp *t,
		     const char *name)
{
	char path[40];

	if (t->name[0]) {
		/* linkat(): an entry that is there already stays. */
		if (linkat(c->dir_fd, t->name, c->dir_fd, name, 0) < 0)
			return -errno;
		unlinkat(c->dir_fd, t->name, 0);
		t->name[0] = '\0';
		return 0;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", t->fd);
	if (linkat(AT_FDCWD, path, c->dir_fd, name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return 0;
}

struct found {
	char name[NAME_BYTES];
	uint64_t bytes;
	struct timespec used;
};

/* The identity in an entry's name; false: the file is none of ours. */
static bool parse_name(const char *name, struct source_id *id)
{
	char again[NAME_BYTES];

	if (sscanf(name, "%" SCNx64 "-%" SCNx64 "-%" SCNx64 "-%" SCNx64 "-%"
		   SCNx64, &id->dev, &id->ino, &id->size, &id->mtime_ns,
		   &id->ctime_ns) != 5)
		return false;
	entry_name(again, id);
	return !strcmp(name, again);
}

/*
 * Notes the entry name in *f. What is certainly garbage is removed instead: an
 * abandoned temporary file, an entry of an older state of the file id.
 */
static bool note(const struct cache *c, const char *name,
		 const struct source_id *id, struct found *f)
{
	bool temp = !strncmp(name, TEMP_PREFIX, strlen(TEMP_PREFIX));
	struct source_id other;
	struct stat st;

	if (!temp && !parse_name(name, &other))
		return false;
	if (fstatat(c->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	if (temp) {
		if (seconds(CLOCK_REALTIME) - st.st_mtim.tv_sec >
		    TEMP_MAX_AGE_S)
			unlinkat(c->dir_fd, name, 0);
		return false;
	}
	if (other.dev == id->dev && other.ino == id->ino) {
		if (memcmp(&other, id, sizeof(other)))
			unlinkat(c->dir_fd, name, 0);
		return false;
	}
	entry_name(f->name, &other);
	f->bytes = (uint64_t)st.st_blocks * 512;
	f->used = st.st_mtim;
	return true;
}

static bool older(const struct found *a, const struct found *b)
{
	if (a->used.tv_sec != b->used.tv_sec)
		return a->used.tv_sec < b->used.tv_sec;
	return a->used.tv_nsec < b->used.tv_nsec;
}

/*
 * Reads the directory once, keeping the most recently used entries that leave
 * room for one more of the given size; the others are unlinked.
 */
static void evict(const struct cache *c, const struct source_id *id,
		  uint64_t bytes)
{
	struct found keep[CACHE_MAX_ENTRIES], f;
	size_t count = 0;
	struct dirent *d;
	DIR *dir;
	int fd;

	fd = openat(c->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((d = readdir(dir))) {
		size_t i;

		if (!note(c, d->d_name, id, &f))
			continue;
		for (i = count; i && older(&keep[i - 1], &f); i--)
			keep[i] = keep[i - 1];
		keep[i] = f;
		/* One place more than is kept, for the entry that falls out. */
		if (count == CACHE_MAX_ENTRIES - 1)
			unlinkat(c->dir_fd, keep[count].name, 0);
		else
			count++;
	}
	closedir(dir);
	for (size_t i = 0; i < count; i++) {
		bytes += keep[i].bytes;
		if (bytes > CACHE_MAX_BYTES)
			unlinkat(c->dir_fd, keep[i].name, 0);
	}
}

int cache_publish(const struct cache *c, struct cache_temp *t,
		  const struct source *s, const struct source_id *id,
		  uint64_t len_bytes, uint64_t crc64)
{
	struct metadata m = {
		.version = 1,
		.id = *id,
		.len_bytes = len_bytes,
		.crc64 = crc64,
	};
	char name[NAME_BYTES];
	struct source_id now;
	uint64_t check;
	int ret;

	source_map_read(&m.data, t->fd, CACHE_CONTENT_OFFSET, len_bytes);
	ret = content_crc64(t->fd, &m.data, len_bytes, &check);
	if (!ret && check != crc64)
		ret = -EIO;
	if (!ret)
		ret = source_identify(s, &now);
	if (!ret && memcmp(&now, id, sizeof(now)))
		ret = -ESTALE;
	if (ret)
		return ret;
	memcpy(m.magic, magic, sizeof(magic));
	m.self_crc64 = self_crc64(&m);
	if (pwrite(t->fd, &m, sizeof(m), 0) != (ssize_t)sizeof(m))
		return -EIO;
	evict(c, id, len_bytes);
	entry_name(name, id);
	return link_temp(c, t, name);
}
