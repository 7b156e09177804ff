/* SPDX-License-Identifier: MIT */
/* Tgetattr and Tsetattr. The server's thread. */
#include <errno.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "p9/internal.h"

/* What programs read and write at once: a round trip costs more than a page. */
#define BLOCK_BYTES (64u << 10)

static void put_time(struct p9_writer *out, const struct statx_timestamp *t)
{
	p9_put_u64(out, (uint64_t)t->tv_sec);
	p9_put_u64(out, t->tv_nsec);
}

static uint32_t block_bytes(const struct p9_server *s, const struct statx *st)
{
	uint32_t fits = (s->msize - P9_WRITE_HEADER_BYTES) & ~UINT32_C(4095);
	uint32_t bytes = fits < BLOCK_BYTES ? fits : BLOCK_BYTES;

	return bytes > st->stx_blksize ? bytes : st->stx_blksize;
}

int p9_getattr(struct p9_request *r, struct p9_reader *in,
	       struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t id = p9_get_u32(in);
	static const struct statx_timestamp never;
	struct p9_qid qid;
	struct p9_fid *f;
	struct statx st;
	int ret;

	p9_get_u64(in);			/* which are wanted: all are given */
	ret = in->error ? in->error : p9_fid_find(s, id, &f);
	if (ret)
		return ret;
	if (f->kind == P9_FID_XATTR)
		return -EBADF;
	ret = p9_stat(s, f->file->fd, f->file->opened, &st);
	if (ret)
		return ret;
	p9_qid_fill(s, &st, &qid);
	p9_put_u64(out, P9_ATTR_BASIC |
		   (st.stx_mask & STATX_BTIME ? P9_ATTR_BTIME : 0));
	p9_put_qid(out, &qid);
	p9_put_u32(out, st.stx_mode);
	p9_put_u32(out, st.stx_uid);
	p9_put_u32(out, st.stx_gid);
	p9_put_u64(out, st.stx_nlink);
	p9_put_u64(out, makedev(st.stx_rdev_major, st.stx_rdev_minor));
	p9_put_u64(out, st.stx_size);
	p9_put_u64(out, block_bytes(s, &st));
	p9_put_u64(out, st.stx_blocks);
	put_time(out, &st.stx_atime);
	put_time(out, &st.stx_mtime);
	put_time(out, &st.stx_ctime);
	put_time(out, st.stx_mask & STATX_BTIME ? &st.stx_btime : &never);
	p9_put_u64(out, 0);		/* generation, */
	p9_put_u64(out, 0);		/* data version: not given */
	return 0;
}

struct setattr {
	uint32_t valid, mode, uid, gid;
	uint64_t size;
	struct timespec times[2];	/* access, modification */
};

static struct timespec get_time(struct p9_reader *in)
{
	struct timespec t;

	t.tv_sec = (time_t)p9_get_u64(in);
	t.tv_nsec = (long)p9_get_u64(in);
	return t;
}

static void get_setattr(struct p9_reader *in, struct setattr *a)
{
	a->valid = p9_get_u32(in);
	a->mode = p9_get_u32(in);
	a->uid = p9_get_u32(in);
	a->gid = p9_get_u32(in);
	a->size = p9_get_u64(in);
	a->times[0] = get_time(in);
	a->times[1] = get_time(in);
}

static int set_times(const struct p9_file *file, const struct setattr *a)
{
	struct timespec t[2];

	for (int i = 0; i < 2; i++) {
		/* The bits of the modification time are next to the others. */
		if (!(a->valid & (uint32_t)P9_SET_ATIME << i)) {
			t[i].tv_nsec = UTIME_OMIT;
		} else if (!(a->valid & (uint32_t)P9_SET_ATIME_VALUE << i)) {
			t[i].tv_nsec = UTIME_NOW;
		} else {
			t[i] = a->times[i];
			/* utimensat(2) has meanings of its own for the others. */
			if (t[i].tv_nsec < 0 || t[i].tv_nsec >= 1000000000)
				return -EINVAL;
		}
	}
	return utimensat(file->fd, "", t, AT_EMPTY_PATH) ? -errno : 0;
}

static int set_size(const struct p9_file *file, uint64_t size)
{
	char text[P9_PROC_BYTES];

	if (S_ISDIR(file->type))
		return -EISDIR;
	if (!S_ISREG(file->type) || size > INT64_MAX)
		return -EINVAL;
	/* Who opened it for writing needs no permission any more. */
	if (file->opened && !ftruncate(file->fd, (off_t)size))
		return 0;
	return truncate(p9_proc_path(file->fd, text), (off_t)size) ? -errno : 0;
}

/* Linux's clients ask for this after a change that the host makes by itself. */
static int touch_ctime(struct p9_server *s, const struct p9_file *file)
{
	if (s->x->mapped)
		return 0;
	return fchownat(file->fd, "", (uid_t)-1, (gid_t)-1, AT_EMPTY_PATH) ?
		       -errno : 0;
}

int p9_setattr(struct p9_request *r, struct p9_reader *in,
	       struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t id = p9_get_u32(in), owner;
	struct setattr a;
	struct p9_fid *f;
	int ret;

	(void)out;
	get_setattr(in, &a);
	ret = in->error ? in->error : p9_fid_find(s, id, &f);
	if (ret)
		return ret;
	if (f->kind == P9_FID_XATTR)
		return -EBADF;
	owner = a.valid & (P9_SET_MODE | P9_SET_UID | P9_SET_GID);
	if (a.valid & P9_SET_SIZE)
		ret = set_size(f->file, a.size);
	if (!ret && owner) {
		ret = p9_set_attr(s, f->file, owner, a.mode, a.uid, a.gid);
		if (owner & P9_SET_MODE)
			f->file->strip = a.mode & (S_ISUID | S_ISGID);
	}
	if (!ret && a.valid & (P9_SET_ATIME | P9_SET_MTIME))
		ret = set_times(f->file, &a);
	if (!ret && (a.valid & ~(uint32_t)P9_SET_CTIME) == 0 && a.valid)
		ret = touch_ctime(s, f->file);
	return ret;
}
