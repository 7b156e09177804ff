/* SPDX-License-Identifier: MIT */
/* Tlopen and Tlcreate. The server's thread. */
#include <errno.h>
#include <unistd.h>

#include "p9/internal.h"

static int host_flags(uint32_t flags)
{
	int access = (int)(flags & P9_O_ACCMODE);
	int host = access == P9_O_WRONLY ? O_WRONLY :
		   access == 0 ? O_RDONLY : O_RDWR;

	/* Not O_DIRECT: the data lies where the guest has it, aligned or not. */
	if (flags & P9_O_APPEND)
		host |= O_APPEND;
	if (flags & P9_O_DSYNC)
		host |= O_DSYNC;
	if ((flags & P9_O_SYNC) == P9_O_SYNC)
		host |= O_SYNC;
	if (flags & P9_O_TRUNC)
		host |= O_TRUNC;
	return host;
}

/* Devices, sockets and FIFOs are the client's own to open. */
int p9_open_flags(struct p9_server *s, const struct p9_file *file,
		  uint32_t flags)
{
	bool write = flags & (P9_O_ACCMODE | P9_O_TRUNC);

	if (S_ISLNK(file->type))
		return -ELOOP;
	if ((!S_ISREG(file->type) && !S_ISDIR(file->type)) ||
	    file->type != file->host_type)
		return -ENXIO;
	if (S_ISDIR(file->type))
		return write ? -EISDIR : O_RDONLY | O_DIRECTORY;
	if (flags & P9_O_DIRECTORY)
		return -ENOTDIR;
	if (write && s->x->readonly)
		return -EROFS;
	return host_flags(flags);
}

/* f's file is opened from here on: takes the reference. */
static void set_open(struct p9_server *s, struct p9_fid *f,
		     struct p9_file *file, uint32_t flags,
		     struct p9_writer *out)
{
	p9_fid_set_file(s, f, file);
	f->kind = P9_FID_OPEN;
	f->flags = flags;
	f->dir_pos = 0;
	p9_put_qid(out, &file->qid);
	p9_put_u32(out, 0);		/* iounit: what msize allows */
}

static int open_file(struct p9_server *s, struct p9_file *file, uint32_t flags,
		     struct p9_file **out)
{
	int host = p9_open_flags(s, file, flags);

	if (host < 0)
		return host;
	return p9_file_create(s, p9_reopen(file->fd, host), true, out);
}

int p9_lopen(struct p9_request *r, struct p9_reader *in, struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t id = p9_get_u32(in), flags = p9_get_u32(in);
	struct p9_file *file;
	struct p9_fid *f;
	int ret;

	if (in->error)
		return in->error;
	ret = p9_fid_find(s, id, &f);
	if (ret)
		return ret;
	if (f->kind != P9_FID_PATH)
		return -EBADF;
	ret = open_file(s, f->file, flags, &file);
	if (!ret)
		set_open(s, f, file, flags, out);
	return ret;
}

/* There is one already: opened like any other. */
static int open_existing(struct p9_server *s, struct p9_file *dir,
			 const char *name, uint32_t flags,
			 struct p9_file **out)
{
	struct p9_file *there;
	int ret = p9_step(s, dir, name, &there);

	if (ret)
		return ret;
	ret = open_file(s, there, flags, out);
	p9_file_put(s, there);
	return ret;
}

static int create(struct p9_server *s, struct p9_fid *dir, const char *name,
		  uint32_t flags, mode_t mode, uint32_t gid,
		  struct p9_file **out)
{
	int dirfd = dir->file->fd;
	int ret = p9_open_beneath(dirfd, name, O_CREAT | O_EXCL | O_NOCTTY |
				  (host_flags(flags) & ~O_TRUNC),
				  p9_host_mode(s, mode));

	if (ret == -EEXIST && !(flags & P9_O_EXCL))
		return open_existing(s, dir->file, name, flags, out);
	if (ret < 0)
		return ret;
	ret = p9_file_create(s, ret, true, out);
	if (!ret) {
		ret = p9_set_created(s, *out, S_IFREG | mode, dir->uid, gid, 0);
		if (ret)
			p9_file_put(s, *out);
	}
	if (ret)
		unlinkat(dirfd, name, 0);
	return ret;
}

int p9_lcreate(struct p9_request *r, struct p9_reader *in,
	       struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t id = p9_get_u32(in), flags, mode, gid;
	char name[P9_NAME_BYTES];
	struct p9_file *file;
	struct p9_fid *f;
	int ret;

	p9_get_string(in, name, sizeof(name));
	flags = p9_get_u32(in);
	mode = p9_get_u32(in);
	gid = p9_get_u32(in);
	if (in->error)
		return in->error;
	ret = p9_fid_find_dir(s, id, &f);
	if (!ret && f->kind != P9_FID_PATH)
		ret = -EBADF;
	if (!ret)
		ret = p9_name_check(s, f->file, name);
	if (!ret)
		ret = create(s, f, name, flags, mode & 07777, gid, &file);
	if (!ret)
		set_open(s, f, file, flags, out);
	return ret;
}
