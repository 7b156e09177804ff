/* SPDX-License-Identifier: MIT */
/*
 * A session, saved and loaded: each fid by the path of its file in the export.
 * The server's thread, nothing in flight.
 *
 *	version u8 (2) · msize u32 · root qid.path u64 · fids u32, then for each:
 *	id u32 · uid u32 · kind u8 · flags u32 · position u64 · qid.path u64 ·
 *	there bool · path string · for an xattr: name string · flags u32 ·
 *	writing bool · filled u32 · size u32 · bytes; then the locks (lock_ranges.c)
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "p9/internal.h"
#include "state.h"

#define VERSION 2

static void save_xattr(const struct p9_xattr *x, struct state_writer *w)
{
	state_put_string(w, x->name);
	state_put_u32(w, x->flags);
	state_put_bool(w, x->writing);
	state_put_u32(w, x->filled);
	state_put_u32(w, x->size);
	state_put_bytes(w, x->data, x->size);
}

/* An unlinked file has a path, but no file is there: "x (deleted)". */
static bool save_path(struct p9_server *s, const struct p9_file *file,
		      char path[PATH_MAX])
{
	*path = '\0';
	if (file->path)
		return snprintf(path, PATH_MAX, "%s", file->path) < PATH_MAX;
	return file->fd >= 0 && !p9_locate(s, file, path);
}

static void save_fid(struct p9_server *s, const struct p9_fid *f,
		     struct state_writer *w)
{
	char path[PATH_MAX];
	bool there = save_path(s, f->file, path);

	state_put_u32(w, f->id);
	state_put_u32(w, f->uid);
	state_put_u8(w, (uint8_t)f->kind);
	state_put_u32(w, f->flags);
	state_put_u64(w, f->dir_pos);
	state_put_u64(w, f->file->qid.path);
	state_put_bool(w, there);
	state_put_string(w, there ? path : "");
	if (f->kind == P9_FID_XATTR)
		save_xattr(f->xattr, w);
}

void p9_server_save(struct p9_server *s, struct state_writer *w)
{
	state_put_u8(w, VERSION);
	state_put_u32(w, s->msize);
	state_put_u64(w, s->root ? s->root->qid.path : 0);
	state_put_u32(w, s->fid_count);
	for (size_t i = 0; s->buckets && i >> s->bucket_bits == 0; i++)
		for (struct p9_fid *f = s->buckets[i]; f; f = f->next)
			save_fid(s, f, w);
	p9_locks_save(s, w);
}

struct fid_state {
	uint32_t id, uid, flags;
	uint8_t kind;
	bool there;
	uint64_t dir_pos, qid_path;
	char path[PATH_MAX];
};

static int load_xattr(struct p9_server *s, struct p9_fid *f,
		      struct state_reader *r)
{
	char name[P9_NAME_BYTES];
	uint32_t flags, filled, size;
	struct p9_xattr *x;
	bool writing;
	int ret;

	state_get_string(r, name, sizeof(name));
	flags = state_get_u32(r);
	writing = state_get_bool(r);
	filled = state_get_u32(r);
	size = state_get_u32(r);
	ret = state_reader_error(r);
	if (!ret && (filled > size || (writing && p9_xattr_hidden(s, name))))
		ret = -EINVAL;
	if (!ret)
		ret = p9_xattr_alloc(s, size, &x);
	if (ret)
		return ret;
	f->xattr = x;
	f->kind = P9_FID_XATTR;
	strcpy(x->name, name);
	x->flags = flags;
	x->writing = writing;
	x->filled = filled;
	state_get_bytes(r, x->data, size);
	return state_reader_error(r);
}

/*
 * False: the guest could not walk there. Nothing leads up in a path of ours, and
 * only some names of the root may be for the guest.
 */
static bool is_for_guest(struct p9_server *s, const char *path)
{
	char name[P9_NAME_BYTES];
	bool first = true;

	for (; *path; path += strspn(path, "/"), first = false) {
		size_t len = strcspn(path, "/");

		if (len >= sizeof(name))
			return false;
		memcpy(name, path, len);
		name[len] = '\0';
		path += len;
		if (!strcmp(name, "..") ||
		    (first && s->root && !p9_name_visible(s, s->root, name)))
			return false;
	}
	return true;
}

/* Fails only for want of memory: else the file is one that is lost. */
static int open_saved(struct p9_server *s, const struct fid_state *fs,
		      struct p9_file **out)
{
	struct p9_file *file, *open = NULL;
	struct statx st;
	int fd = -ESTALE, ret;

	if (fs->there && is_for_guest(s, fs->path))
		fd = p9_open_path(s, fs->path);

	if (fd >= 0 && !p9_stat(s, fd, false, &st) &&
	    p9_qid_bind(s, &st, fs->qid_path))
		return -ENOMEM;
	ret = p9_file_create(s, fd, false, &file);
	if (!ret && fs->kind == P9_FID_OPEN) {
		ret = p9_open_flags(s, file, fs->flags & ~P9_O_TRUNC);
		if (ret >= 0)
			ret = p9_file_create(s, p9_reopen(file->fd, ret), true,
					     &open);
		p9_file_put(s, file);
		file = open;
	}
	if (ret) {
		file = calloc(1, sizeof(*file));
		if (!file)
			return -ENOMEM;
		file->refs = 1;
		file->fd = -1;
		file->qid.path = fs->qid_path;
	}
	*out = file;
	return 0;
}

static void get_fid(struct state_reader *r, struct fid_state *fs)
{
	fs->id = state_get_u32(r);
	fs->uid = state_get_u32(r);
	fs->kind = state_get_u8(r);
	fs->flags = state_get_u32(r);
	fs->dir_pos = state_get_u64(r);
	fs->qid_path = state_get_u64(r);
	fs->there = state_get_bool(r);
	state_get_string(r, fs->path, sizeof(fs->path));
}

static int load_fid(struct p9_server *s, struct state_reader *r)
{
	struct fid_state fs;
	struct p9_file *file;
	struct p9_fid *f;
	int ret;

	get_fid(r, &fs);
	ret = state_reader_error(r);
	if (!ret && fs.kind > P9_FID_XATTR)
		ret = -EINVAL;
	if (!ret)
		ret = open_saved(s, &fs, &file);
	if (ret)
		return ret;
	ret = p9_fid_add(s, fs.id, fs.uid, file, &f);
	p9_file_put(s, file);
	if (ret)
		return ret == -EBADF ? -EINVAL : ret;
	if (fs.kind == P9_FID_XATTR)
		return load_xattr(s, f, r);
	f->kind = (enum p9_fid_kind)fs.kind;
	f->flags = fs.flags;
	/* The descriptor is at its beginning. */
	if (f->kind == P9_FID_OPEN && S_ISDIR(file->type) && fs.dir_pos &&
	    lseek(file->fd, (off_t)fs.dir_pos, SEEK_SET) >= 0)
		f->dir_pos = fs.dir_pos;
	return 0;
}

int p9_server_load(struct p9_server *s, struct state_reader *r,
		   struct error *e)
{
	uint8_t version = state_get_u8(r);
	uint32_t msize = state_get_u32(r), count;
	uint64_t root_path = state_get_u64(r);
	struct fid_state root = { .there = true, .qid_path = root_path };
	int ret;

	count = state_get_u32(r);
	ret = state_reader_error(r);
	if (!ret && (version != VERSION || msize > s->x->msize ||
		     (msize && msize < P9_MIN_MSIZE) || (count && !msize)))
		ret = -EINVAL;
	if (!ret && msize)
		ret = open_saved(s, &root, &s->root);
	if (s->root)
		p9_file_unwatch(s, s->root);
	for (uint32_t i = 0; !ret && i < count; i++)
		ret = load_fid(s, r);
	if (!ret)
		ret = p9_locks_load(s, r);
	if (ret == -EBUSY)
		return error_set(e, ret, "9p: a lock that the guest has is "
				 "somebody else's now");
	if (ret)
		return error_errno(e, ret, "9p: bad state");
	s->msize = msize;
	return 0;
}
