/* SPDX-License-Identifier: MIT */
/* Treaddir, and what makes new names: mkdir, mknod, symlink, link. */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "p9/internal.h"

/* The longest record of getdents64(2): an entry of NAME_MAX bytes. */
#define MAX_DIRENT 280

/* What an entry looks like from inside: the root's parent is itself. */
static void put_entry(struct p9_server *s, const struct p9_file *dir,
		      const struct stat *st, const struct dirent64 *d,
		      struct p9_writer *out)
{
	bool root_parent = dir->qid.path == s->root->qid.path &&
			   !strcmp(d->d_name, "..");
	unsigned char type = d->d_type;
	struct p9_qid qid;

	/* Symlinks and special files may be regular files on the host. */
	if (s->x->mapped && type == DT_REG)
		type = DT_UNKNOWN;
	p9_qid_entry(s, st, root_parent ? st->st_ino : d->d_ino, type, &qid);
	p9_put_qid(out, &qid);
	p9_put_u64(out, (uint64_t)d->d_off);
	p9_put_u8(out, type);
	p9_put_string(out, d->d_name);
}

/*
 * Fills out up to limit bytes. A record of getdents64 has at least 6/7 of the
 * bytes of its 9P entry, so that all that are read fit.
 */
static int fill(struct p9_server *s, struct p9_fid *f, size_t limit,
		struct p9_writer *out)
{
	struct stat st;

	if (fstat(f->file->fd, &st))
		return -errno;
	for (;;) {
		size_t room = (limit - out->len_bytes) * 6 / 7;
		long n;

		if (out->len_bytes && room < MAX_DIRENT)
			return 0;
		n = syscall(SYS_getdents64, f->file->fd, s->dents,
			    room < P9_BUFFER_BYTES ? room : P9_BUFFER_BYTES);
		if (n < 0)
			return out->len_bytes ? 0 : -errno;
		if (!n)
			return 0;
		for (long at = 0; at < n;) {
			const struct dirent64 *d = (const void *)(s->dents + at);

			at += d->d_reclen;
			f->dir_pos = (uint64_t)d->d_off;
			if (!strcmp(d->d_name, ".") ||
			    !strcmp(d->d_name, "..") ||
			    p9_name_visible(s, f->file, d->d_name))
				put_entry(s, f->file, &st, d, out);
		}
	}
}

int p9_readdir(struct p9_request *r, struct p9_reader *in,
	       struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t id = p9_get_u32(in), limit, count;
	uint64_t offset = p9_get_u64(in);
	struct p9_writer entries = { .data = out->data + 4 };
	struct p9_fid *f;
	int ret;

	count = p9_get_u32(in);
	if (in->error)
		return in->error;
	ret = p9_fid_find(s, id, &f);
	if (ret)
		return ret;
	if (f->kind != P9_FID_OPEN)
		return -EBADF;
	if (!S_ISDIR(f->file->type))
		return -ENOTDIR;
	limit = s->msize - P9_READ_HEADER_BYTES;
	if (limit > P9_BUFFER_BYTES - 4)
		limit = P9_BUFFER_BYTES - 4;
	if (limit > r->in_bytes - P9_READ_HEADER_BYTES)
		limit = (uint32_t)(r->in_bytes - P9_READ_HEADER_BYTES);
	if (count > limit)
		count = limit;
	entries.size_bytes = count;
	if (offset != f->dir_pos &&
	    lseek(f->file->fd, (off_t)offset, SEEK_SET) < 0)
		return -errno;
	f->dir_pos = offset;
	ret = fill(s, f, count, &entries);
	if (ret)
		return ret;
	p9_put_u32(out, (uint32_t)entries.len_bytes);
	out->len_bytes += entries.len_bytes;
	return entries.error;
}

/*
 * What was just made gets its owner and mode by descriptor, whatever has become
 * of its name; on failure the name is taken back.
 */
static int finish_new(struct p9_server *s, const struct p9_fid *dir,
		      const char *name, mode_t mode, uint32_t gid,
		      uint32_t rdev, struct p9_writer *out)
{
	struct p9_file *file;
	int ret = p9_step(s, dir->file, name, &file);

	if (!ret) {
		mode_t host = s->x->mapped && !S_ISDIR(mode) ? S_IFREG :
							       mode & S_IFMT;

		/* Where symlinks had to be real ones. */
		if (s->x->mapped && S_ISLNK(mode) && S_ISLNK(file->host_type))
			host = S_IFLNK;
		ret = file->host_type == host ?
			p9_set_created(s, file, mode, dir->uid, gid, rdev) :
			-ESTALE;
		if (!ret && out)
			p9_put_qid(out, &file->qid);
		p9_file_put(s, file);
	}
	if (ret && ret != -ESTALE)
		unlinkat(dir->file->fd, name, S_ISDIR(mode) ? AT_REMOVEDIR : 0);
	return ret;
}

static int find_place(struct p9_server *s, uint32_t id, const char *name,
		      struct p9_fid **dir)
{
	int ret = p9_fid_find_dir(s, id, dir);

	return ret ? ret : p9_name_check(s, (*dir)->file, name);
}

int p9_mkdir(struct p9_request *r, struct p9_reader *in, struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t id = p9_get_u32(in), mode, gid;
	char name[P9_NAME_BYTES];
	struct p9_fid *dir;
	int ret;

	p9_get_string(in, name, sizeof(name));
	mode = p9_get_u32(in) & 07777;
	gid = p9_get_u32(in);
	ret = in->error ? in->error : find_place(s, id, name, &dir);
	if (ret)
		return ret;
	if (mkdirat(dir->file->fd, name, s->x->mapped ? S_IRWXU : mode))
		return -errno;
	return finish_new(s, dir, name, S_IFDIR | mode, gid, 0, out);
}

/* A regular file with text in it, that stands for something else. */
static int make_stand_in(int dir, const char *name, const char *text)
{
	size_t len = strlen(text);
	int fd = p9_open_beneath(dir, name, O_CREAT | O_EXCL | O_WRONLY, 0600);
	int ret = 0;

	if (fd < 0)
		return fd;
	if (write(fd, text, len) != (ssize_t)len)
		ret = errno ? -errno : -ENOSPC;
	close(fd);
	if (ret)
		unlinkat(dir, name, 0);
	return ret;
}

static int make_node(struct p9_server *s, int dir, const char *name,
		     mode_t mode, unsigned int major, unsigned int minor)
{
	if (s->x->mapped)
		return make_stand_in(dir, name, "");
	if (mknodat(dir, name, mode, makedev(major, minor)))
		return -errno;
	return 0;
}

int p9_mknod(struct p9_request *r, struct p9_reader *in, struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t id = p9_get_u32(in), mode, major, minor, gid;
	char name[P9_NAME_BYTES];
	struct p9_fid *dir;
	int ret;

	p9_get_string(in, name, sizeof(name));
	mode = p9_get_u32(in);
	major = p9_get_u32(in);
	minor = p9_get_u32(in);
	gid = p9_get_u32(in);
	ret = in->error ? in->error : find_place(s, id, name, &dir);
	if (ret)
		return ret;
	if (!(mode & S_IFMT))
		mode |= S_IFREG;
	if (!S_ISREG(mode) && !S_ISCHR(mode) && !S_ISBLK(mode) &&
	    !S_ISFIFO(mode) && !S_ISSOCK(mode))
		return -EINVAL;
	ret = make_node(s, dir->file->fd, name, mode, major, minor);
	if (ret)
		return ret;
	return finish_new(s, dir, name, mode & (S_IFMT | 07777), gid,
			  (uint32_t)makedev(major & 0xfff, minor & 0xfffff),
			  out);
}

int p9_symlink(struct p9_request *r, struct p9_reader *in,
	       struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t id = p9_get_u32(in), gid;
	char name[P9_NAME_BYTES], target[PATH_MAX];
	struct p9_fid *dir;
	int ret;

	p9_get_string(in, name, sizeof(name));
	p9_get_string(in, target, sizeof(target));
	gid = p9_get_u32(in);
	ret = in->error ? in->error : find_place(s, id, name, &dir);
	if (ret)
		return ret;
	if (!*target)
		return -ENOENT;
	if (s->x->mapped) {
		ret = make_stand_in(dir->file->fd, name, target);
		if (!ret)
			ret = finish_new(s, dir, name, S_IFLNK | 0777, gid, 0,
					 out);
		if (ret != -EOPNOTSUPP)
			return ret;
	}
	if (symlinkat(target, dir->file->fd, name))
		return -errno;
	return finish_new(s, dir, name, S_IFLNK | 0777, gid, 0, out);
}

/* A stand-in's content is the target. */
static ssize_t read_stand_in(int path_fd, char *target, size_t size)
{
	int fd = p9_reopen(path_fd, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = pread(fd, target, size, 0);
	if (n < 0)
		n = -errno;
	close(fd);
	return n;
}

int p9_readlink(struct p9_request *r, struct p9_reader *in,
		struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t id = p9_get_u32(in);
	char target[PATH_MAX];
	struct p9_fid *f;
	ssize_t n;
	int ret = in->error ? in->error : p9_fid_find(s, id, &f);

	if (ret)
		return ret;
	if (f->kind == P9_FID_XATTR || !S_ISLNK(f->file->type))
		return -EINVAL;
	if (S_ISLNK(f->file->host_type)) {
		n = readlinkat(f->file->fd, "", target, sizeof(target) - 1);
		n = n < 0 ? -errno : n;
	} else {
		n = read_stand_in(f->file->fd, target, sizeof(target) - 1);
	}
	if (n < 0)
		return (int)n;
	target[n] = '\0';
	p9_put_string(out, target);
	return 0;
}

int p9_link(struct p9_request *r, struct p9_reader *in, struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t dir_id = p9_get_u32(in), id = p9_get_u32(in);
	char name[P9_NAME_BYTES], text[P9_PROC_BYTES];
	struct p9_fid *dir, *f;
	int ret;

	(void)out;
	p9_get_string(in, name, sizeof(name));
	ret = in->error ? in->error : find_place(s, dir_id, name, &dir);
	if (!ret)
		ret = p9_fid_find(s, id, &f);
	if (ret)
		return ret;
	if (f->kind == P9_FID_XATTR)
		return -EBADF;
	/* The magic link ends at the file itself, also when that is a symlink. */
	if (linkat(AT_FDCWD, p9_proc_path(f->file->fd, text), dir->file->fd,
		   name, AT_SYMLINK_FOLLOW))
		return -errno;
	return 0;
}
