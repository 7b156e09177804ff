/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes: a fid stands for the value, read or written like a file;
 * what was written is set when the fid is clunked. The server's thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "p9/internal.h"

#define MAX_VALUE_BYTES 65536u		/* XATTR_SIZE_MAX, XATTR_LIST_MAX */

int p9_xattr_alloc(struct p9_server *s, uint32_t size, struct p9_xattr **out)
{
	struct p9_xattr *x;

	if (size > MAX_VALUE_BYTES)
		return -E2BIG;
	if (s->xattr_bytes + sizeof(*x) + size > P9_XATTR_BUDGET)
		return -ENOSPC;
	x = calloc(1, sizeof(*x) + size);
	if (!x)
		return -ENOMEM;
	s->xattr_bytes += sizeof(*x) + size;
	x->size = size;
	*out = x;
	return 0;
}

static void release(struct p9_server *s, struct p9_xattr *x)
{
	s->xattr_bytes -= sizeof(*x) + x->size;
	free(x);
}

void p9_xattr_free(struct p9_server *s, struct p9_fid *f)
{
	if (f->xattr)
		release(s, f->xattr);
	f->xattr = NULL;
}

/* Takes the names that the guest does not see out of a list; its new length. */
static size_t filter(struct p9_server *s, char *list, size_t len)
{
	size_t kept = 0;

	for (size_t at = 0; at < len;) {
		size_t n = strnlen(list + at, len - at);

		n += at + n < len;	/* the NUL */
		if (!p9_xattr_hidden(s, list + at)) {
			memmove(list + kept, list + at, n);
			kept += n;
		}
		at += n;
	}
	return kept;
}

/* Into a buffer on the server's own: the bytes, or -errno. */
static ssize_t fetch(struct p9_server *s, const struct p9_file *file,
		     const char *name, char *buf)
{
	char text[P9_PROC_BYTES];
	const char *path = p9_proc_path(file->fd, text);
	ssize_t n;

	if (*name && p9_xattr_hidden(s, name))
		return -EOPNOTSUPP;
	if (*name)
		n = getxattr(path, name, buf, MAX_VALUE_BYTES);
	else
		n = listxattr(path, buf, MAX_VALUE_BYTES);
	if (n < 0)
		return -errno;
	return *name ? n : (ssize_t)filter(s, buf, (size_t)n);
}

int p9_xattrwalk(struct p9_request *r, struct p9_reader *in,
		 struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t id = p9_get_u32(in), newfid = p9_get_u32(in);
	char name[P9_NAME_BYTES];
	struct p9_fid *f, *new;
	struct p9_xattr *x;
	ssize_t n;
	int ret;

	p9_get_string(in, name, sizeof(name));
	ret = in->error ? in->error : p9_fid_find(s, id, &f);
	if (ret)
		return ret;
	if (f->kind == P9_FID_XATTR || p9_fid_lookup(s, newfid))
		return -EBADF;
	n = fetch(s, f->file, name, (char *)s->dents);
	if (n < 0)
		return (int)n;
	ret = p9_xattr_alloc(s, (uint32_t)n, &x);
	if (ret)
		return ret;
	memcpy(x->data, s->dents, (size_t)n);
	ret = p9_fid_add(s, newfid, f->uid, f->file, &new);
	if (ret) {
		release(s, x);
		return ret;
	}
	new->kind = P9_FID_XATTR;
	new->xattr = x;
	p9_put_u64(out, (uint64_t)n);
	return 0;
}

int p9_xattrcreate(struct p9_request *r, struct p9_reader *in,
		   struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t id = p9_get_u32(in), flags;
	char name[P9_NAME_BYTES];
	struct p9_xattr *x;
	struct p9_fid *f;
	uint64_t size;
	int ret;

	(void)out;
	p9_get_string(in, name, sizeof(name));
	size = p9_get_u64(in);
	flags = p9_get_u32(in);
	ret = in->error ? in->error : p9_fid_find(s, id, &f);
	if (ret)
		return ret;
	if (f->kind != P9_FID_PATH)
		return -EBADF;
	if (!*name || flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	if (size > MAX_VALUE_BYTES)
		return -E2BIG;
	if (p9_xattr_hidden(s, name))
		return -EOPNOTSUPP;
	ret = p9_xattr_alloc(s, (uint32_t)size, &x);
	if (ret)
		return ret;
	strcpy(x->name, name);
	x->flags = flags;
	x->writing = true;
	f->xattr = x;
	f->kind = P9_FID_XATTR;
	return 0;
}

int p9_xattr_read(struct p9_request *r, struct p9_fid *f, struct p9_writer *out)
{
	const struct p9_xattr *x = f->xattr;
	uint32_t n = 0;

	if (x->writing)
		return -EBADF;
	if (r->offset < x->size) {
		n = x->size - (uint32_t)r->offset;
		if (n > r->count)
			n = r->count;
	}
	p9_put_u32(out, n);
	p9_put_bytes(out, x->data + (n ? r->offset : 0), n);
	return 0;
}

int p9_xattr_write(struct p9_request *r, struct p9_fid *f,
		   struct p9_writer *out)
{
	struct p9_xattr *x = f->xattr;

	if (!x->writing)
		return -EBADF;
	if (r->offset != x->filled || r->count > x->size - x->filled)
		return -EINVAL;
	p9_iov_read(r->out, r->out_count, P9_WRITE_HEADER_BYTES,
		    x->data + x->filled, r->count);
	x->filled += r->count;
	p9_put_u32(out, r->count);
	return 0;
}

/* No value, to replace one that must be there: that is how one is removed. */
int p9_xattr_commit(struct p9_server *s, struct p9_fid *f)
{
	const struct p9_xattr *x = f->xattr;
	char text[P9_PROC_BYTES];
	const char *path;
	int ret = p9_file_use(s, f->file);

	if (ret)
		return ret;
	path = p9_proc_path(f->file->fd, text);
	if (s->x->readonly)
		return -EROFS;
	if (x->filled != x->size)
		return -EINVAL;
	if (!x->size && x->flags == XATTR_REPLACE)
		ret = removexattr(path, x->name);
	else
		ret = setxattr(path, x->name, x->data, x->size, (int)x->flags);
	return ret ? -errno : 0;
}
