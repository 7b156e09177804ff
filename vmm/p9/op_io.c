/* SPDX-License-Identifier: MIT */
/*
 * Tread, Twrite and Tfsync: between the file and the request's own buffers. What
 * the page cache has, or takes at once (RWF_NOWAIT, preadv2(2)), is copied on the
 * server's thread, as is all of a tmpfs; a worker does the rest.
 */
#include <errno.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "p9/internal.h"

/* One call for what is left: the bytes, 0 at the end, or -errno. */
static ssize_t transfer(struct p9_request *r, int flags)
{
	bool writing = r->type == P9_TWRITE;
	uint64_t offset = r->offset + r->payload_bytes;
	uint32_t left = r->count - r->payload_bytes;
	ssize_t n;

	if (writing)
		p9_slice_make(&r->slice, r->out, r->out_count,
			      P9_WRITE_HEADER_BYTES + r->payload_bytes, left);
	else
		p9_slice_make(&r->slice, r->in, r->in_count,
			      P9_READ_HEADER_BYTES + r->payload_bytes, left);
	if (writing)
		n = pwritev2(r->file->fd, r->slice.iov, r->slice.count,
			     (off_t)offset, flags);
	else
		n = preadv2(r->file->fd, r->slice.iov, r->slice.count,
			    (off_t)offset, flags);
	if (n < 0)
		n = -errno;
	p9_slice_undo(&r->slice);
	return n;
}

/* 0 when it is done, or -errno; what was transferred before an error counts. */
static int transfer_all(struct p9_request *r, int flags)
{
	while (r->payload_bytes < r->count) {
		ssize_t n = transfer(r, flags);

		if (n == -EINTR)
			continue;
		if (n < 0 && (flags || !r->payload_bytes))
			return (int)n;
		if (n <= 0)
			break;
		r->payload_bytes += (uint32_t)n;
	}
	return 0;
}

static void put_count(struct p9_request *r, struct p9_writer *out)
{
	p9_put_u32(out, r->payload_bytes);
	if (r->type == P9_TWRITE)
		r->payload_bytes = 0;	/* the reply is the count alone */
}

static void transfer_job(struct p9_job *j)
{
	struct p9_request *r = (struct p9_request *)
		((char *)j - offsetof(struct p9_request, job));

	r->result = transfer_all(r, 0);
}

static void fsync_job(struct p9_job *j)
{
	struct p9_request *r = (struct p9_request *)
		((char *)j - offsetof(struct p9_request, job));
	int ret = r->count ? fdatasync(r->file->fd) : fsync(r->file->fd);

	r->result = ret ? -errno : 0;
}

static void job_done(struct p9_job *j)
{
	struct p9_request *r = (struct p9_request *)
		((char *)j - offsetof(struct p9_request, job));
	uint8_t count[4];
	struct p9_writer out = { .data = count, .size_bytes = sizeof(count) };

	p9_file_put(r->server, r->file);
	if (r->type != P9_TFSYNC)
		put_count(r, &out);
	if (r->result)
		r->payload_bytes = 0;
	p9_request_end(r, r->result, &out);
}

static int start_job(struct p9_request *r, void (*run)(struct p9_job *j))
{
	p9_file_get(r->file);
	r->job.run = run;
	r->job.done = job_done;
	return P9_PENDING;
}

/* Its data is in memory; before Linux 6.6 it does not know RWF_NOWAIT. */
static bool is_memory(int fd)
{
	struct statfs st;

	return !fstatfs(fd, &st) && (st.f_type == TMPFS_MAGIC ||
				     st.f_type == RAMFS_MAGIC);
}

/* Now, or as far as it goes, or -EAGAIN: by a worker. */
static int try_now(struct p9_request *r)
{
	enum p9_wait *wait = r->type == P9_TWRITE ? &r->file->wait_write :
						    &r->file->wait_read;
	int ret;

	if (*wait == P9_WAIT)
		return -EAGAIN;
	if (*wait == P9_WAIT_NEVER)
		return transfer_all(r, 0);
	ret = transfer_all(r, RWF_NOWAIT);
	if (ret == -EOPNOTSUPP || ret == -EINVAL) {
		*wait = is_memory(r->file->fd) ? P9_WAIT_NEVER : P9_WAIT;
		return try_now(r);
	}
	/* The worker meets the error again, or counts what came before it. */
	return ret && r->payload_bytes ? -EAGAIN : ret;
}

static int start_transfer(struct p9_request *r, struct p9_fid *f,
			  struct p9_writer *out)
{
	int ret;

	if (r->offset > (uint64_t)INT64_MAX - r->count)
		return -EINVAL;
	r->file = f->file;
	ret = f->flags & (P9_O_SYNC | P9_O_DSYNC) && r->type == P9_TWRITE ?
		      -EAGAIN : try_now(r);
	if (ret == -EAGAIN)
		return start_job(r, transfer_job);
	if (!ret)
		put_count(r, out);
	return ret;
}

int p9_read(struct p9_request *r, struct p9_reader *in, struct p9_writer *out)
{
	uint32_t id = p9_get_u32(in), limit;
	size_t room = r->in_bytes - P9_READ_HEADER_BYTES;
	struct p9_fid *f;
	int ret;

	r->offset = p9_get_u64(in);
	r->count = p9_get_u32(in);
	if (in->error)
		return in->error;
	limit = r->server->msize - P9_READ_HEADER_BYTES;
	if (r->count > limit)
		r->count = limit;
	if (r->count > room)
		r->count = (uint32_t)room;
	ret = p9_fid_find(r->server, id, &f);
	if (ret)
		return ret;
	if (f->kind == P9_FID_XATTR)
		return p9_xattr_read(r, f, out);
	if (f->kind != P9_FID_OPEN)
		return -EBADF;
	return start_transfer(r, f, out);
}

/*
 * A write by who is not root takes set-ID bits away (inode(7)); here root writes,
 * and the client does not say anything.
 */
static int strip(struct p9_server *s, struct p9_fid *f)
{
	struct statx st;
	mode_t mode;
	int ret;

	if (!f->file->strip || !f->uid)
		return 0;
	ret = p9_stat(s, f->file->fd, true, &st);
	if (ret)
		return ret;
	mode = st.stx_mode & ~(mode_t)S_ISUID;
	if (mode & S_IXGRP)
		mode &= ~(mode_t)S_ISGID;
	f->file->strip = false;
	if (mode == st.stx_mode)
		return 0;
	return p9_set_attr(s, f->file, P9_SET_MODE, mode, 0, 0);
}

int p9_write(struct p9_request *r, struct p9_reader *in, struct p9_writer *out)
{
	uint32_t id = p9_get_u32(in);
	struct p9_fid *f;
	int ret;

	r->offset = p9_get_u64(in);
	r->count = p9_get_u32(in);
	if (in->error)
		return in->error;
	if (r->count > r->out_bytes - P9_WRITE_HEADER_BYTES)
		return -EBADMSG;
	ret = p9_fid_find(r->server, id, &f);
	if (ret)
		return ret;
	if (f->kind == P9_FID_XATTR)
		return p9_xattr_write(r, f, out);
	if (f->kind != P9_FID_OPEN || !(f->flags & P9_O_ACCMODE))
		return -EBADF;
	ret = strip(r->server, f);
	if (ret)
		return ret;
	return start_transfer(r, f, out);
}

int p9_fsync(struct p9_request *r, struct p9_reader *in, struct p9_writer *out)
{
	uint32_t id = p9_get_u32(in);
	struct p9_fid *f;
	int ret;

	(void)out;
	/* The first clients had no datasync field. */
	r->count = in->pos < in->len_bytes ? p9_get_u32(in) : 0;
	if (in->error)
		return in->error;
	ret = p9_fid_find(r->server, id, &f);
	if (ret)
		return ret;
	if (f->kind != P9_FID_OPEN)
		return -EBADF;
	r->file = f->file;
	return start_job(r, fsync_job);
}
