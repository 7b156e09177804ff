/* SPDX-License-Identifier: MIT */
/* What changes or removes names. The server's thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "p9/internal.h"

/* A name that is there: one that allowed= hides is not. */
static int check_old(struct p9_server *s, const struct p9_file *dir,
		     const char *name)
{
	int ret = p9_name_check(s, dir, name);

	return ret == -EACCES ? -ENOENT : ret == -EEXIST ? -EINVAL : ret;
}

static int move(struct p9_server *s, const struct p9_file *old,
		const char *old_name, const struct p9_file *dir,
		const char *name)
{
	char *from = p9_moving(s, old, old_name);
	int ret = renameat(old->fd, old_name, dir->fd, name) ? -errno : 0;

	p9_moved(s, from, dir, name, !ret);
	return ret;
}

int p9_renameat(struct p9_request *r, struct p9_reader *in,
		struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t old_id = p9_get_u32(in), new_id;
	char old_name[P9_NAME_BYTES], name[P9_NAME_BYTES];
	struct p9_fid *old, *dir;
	int ret;

	(void)out;
	p9_get_string(in, old_name, sizeof(old_name));
	new_id = p9_get_u32(in);
	p9_get_string(in, name, sizeof(name));
	ret = in->error ? in->error : p9_fid_find_dir(s, old_id, &old);
	if (!ret)
		ret = p9_fid_find_dir(s, new_id, &dir);
	if (!ret)
		ret = check_old(s, old->file, old_name);
	if (!ret)
		ret = p9_name_check(s, dir->file, name);
	if (ret)
		return ret;
	return move(s, old->file, old_name, dir->file, name);
}

int p9_rename(struct p9_request *r, struct p9_reader *in,
	      struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t id = p9_get_u32(in), dir_id = p9_get_u32(in);
	char old_name[P9_NAME_BYTES], name[P9_NAME_BYTES];
	struct p9_fid *f, *dir;
	int ret, parent;

	(void)out;
	p9_get_string(in, name, sizeof(name));
	ret = in->error ? in->error : p9_fid_find(s, id, &f);
	if (!ret)
		ret = p9_fid_find_dir(s, dir_id, &dir);
	if (!ret && f->kind == P9_FID_XATTR)
		ret = -EBADF;
	if (!ret)
		ret = p9_name_check(s, dir->file, name);
	if (!ret)
		ret = p9_locate_parent(s, f->file, &parent, old_name);
	if (ret)
		return ret;
	ret = move(s, &(struct p9_file){ .fd = parent }, old_name, dir->file,
		   name);
	close(parent);
	return ret;
}

int p9_unlinkat(struct p9_request *r, struct p9_reader *in,
		struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t id = p9_get_u32(in), flags;
	char name[P9_NAME_BYTES];
	struct p9_fid *dir;
	int ret;

	(void)out;
	p9_get_string(in, name, sizeof(name));
	flags = p9_get_u32(in);
	ret = in->error ? in->error : p9_fid_find_dir(s, id, &dir);
	if (!ret && flags & ~(uint32_t)P9_UNLINK_DIR)
		ret = -EINVAL;
	if (!ret)
		ret = check_old(s, dir->file, name);
	if (ret)
		return ret;
	return unlinkat(dir->file->fd, name,
			flags & P9_UNLINK_DIR ? AT_REMOVEDIR : 0) ? -errno : 0;
}

static int remove_file(struct p9_server *s, const struct p9_fid *f)
{
	char name[P9_NAME_BYTES];
	int parent, ret;

	if (s->x->readonly)
		return -EROFS;
	if (f->kind == P9_FID_XATTR)
		return -EBADF;
	ret = p9_locate_parent(s, f->file, &parent, name);
	if (ret)
		return ret;
	if (unlinkat(parent, name, S_ISDIR(f->file->host_type) ? AT_REMOVEDIR :
								  0))
		ret = -errno;
	close(parent);
	return ret;
}

/* remove(5): a clunk, even when nothing could be removed. */
int p9_remove(struct p9_request *r, struct p9_reader *in,
	      struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t id = p9_get_u32(in);
	struct p9_fid *f = p9_fid_lookup(s, id);
	int ret;

	(void)out;
	if (in->error)
		return in->error;
	if (!f)
		return -EBADF;
	ret = p9_file_use(s, f->file);
	if (!ret)
		ret = remove_file(s, f);
	p9_fid_remove(s, f);
	return ret;
}
