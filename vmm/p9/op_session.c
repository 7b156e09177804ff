/* SPDX-License-Identifier: MIT */
/* Sessions and fids: version, attach, walk, clunk, statfs. */
#include <errno.h>
#include <string.h>
#include <sys/statfs.h>

#include "p9/internal.h"

/* version(5): all fids of the session before are gone. */
int p9_version(struct p9_request *r, struct p9_reader *in,
	       struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t msize = p9_get_u32(in);
	char version[32];
	bool known;

	p9_get_string(in, version, sizeof(version));
	if (in->error && in->error != -ENAMETOOLONG)
		return in->error;
	if (msize < P9_MIN_MSIZE)
		return -EMSGSIZE;
	known = !strcmp(version, "9P2000.L");
	if (r->in_bytes < P9_HEADER_BYTES + 4 + 2 + 8)
		return -EMSGSIZE;
	p9_fids_clear(s);
	p9_file_put(s, s->root);
	s->root = NULL;
	msize = msize < s->x->msize ? msize : s->x->msize;
	s->msize = known ? msize : 0;
	p9_put_u32(out, msize);
	p9_put_string(out, known ? "9P2000.L" : "unknown");
	return 0;
}

int p9_auth(struct p9_request *r, struct p9_reader *in, struct p9_writer *out)
{
	(void)r;
	(void)in;
	(void)out;
	return -EOPNOTSUPP;
}

int p9_attach(struct p9_request *r, struct p9_reader *in,
	      struct p9_writer *out)
{
	struct p9_server *s = r->server;
	char uname[P9_NAME_BYTES], aname[PATH_MAX];
	uint32_t id = p9_get_u32(in), afid = p9_get_u32(in), uid;
	struct p9_fid *f;
	int ret;

	p9_get_string(in, uname, sizeof(uname));
	p9_get_string(in, aname, sizeof(aname));
	uid = p9_get_u32(in);
	if (in->error)
		return in->error;
	if (afid != P9_NOFID)
		return -EINVAL;
	/* There is one tree. */
	if (*aname && strcmp(aname, "/"))
		return -ENOENT;
	if (!s->root) {
		ret = p9_file_create(s, p9_open_path(s, ""), false, &s->root);
		if (ret)
			return ret;
		p9_file_unwatch(s, s->root);
	}
	ret = p9_fid_add(s, id, uid, s->root, &f);
	if (!ret)
		p9_put_qid(out, &f->file->qid);
	return ret;
}

/* From *at along the names; how many were found. *at: a reference, changed. */
static unsigned int walk(struct p9_server *s, struct p9_reader *in,
			 unsigned int count, struct p9_file **at,
			 struct p9_qid *qids, int *error)
{
	char name[P9_NAME_BYTES];
	struct p9_file *next;

	*error = 0;
	for (unsigned int i = 0; i < count; i++) {
		p9_get_string(in, name, sizeof(name));
		*error = in->error;
		if (!*error)
			*error = p9_step(s, *at, name, &next);
		if (*error)
			return i;
		p9_file_put(s, *at);
		*at = next;
		qids[i] = next->qid;
	}
	return count;
}

/* The end of a walk: newfid is the file, or fid itself is now. */
static int settle(struct p9_server *s, struct p9_fid *f, uint32_t newfid,
		  struct p9_file *file)
{
	if (newfid != f->id)
		return p9_fid_add(s, newfid, f->uid, file, NULL);
	if (f->kind != P9_FID_PATH)
		return -EBADF;
	p9_fid_set_file(s, f, p9_file_get(file));
	return 0;
}

/* What was opened is opened again for a clone: it is to be opened anew. */
static int start_of_walk(struct p9_server *s, struct p9_fid *f,
			 struct p9_file **out)
{
	if (f->kind == P9_FID_XATTR)
		return -EBADF;
	if (f->kind == P9_FID_OPEN)
		return p9_file_create(s, p9_reopen(f->file->fd, O_PATH), false,
				      out);
	*out = p9_file_get(f->file);
	return 0;
}

int p9_walk(struct p9_request *r, struct p9_reader *in, struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t id = p9_get_u32(in), newfid = p9_get_u32(in);
	unsigned int count = p9_get_u16(in), found;
	struct p9_qid qids[P9_MAX_WALK];
	struct p9_file *file;
	struct p9_fid *f;
	int ret, error;

	if (in->error)
		return in->error;
	if (count > P9_MAX_WALK)
		return -EINVAL;
	if (r->in_bytes < P9_HEADER_BYTES + 2 + count * (size_t)P9_QID_BYTES)
		return -EMSGSIZE;
	ret = p9_fid_find(s, id, &f);
	if (ret)
		return ret;
	if (newfid != id && p9_fid_lookup(s, newfid))
		return -EBADF;
	ret = start_of_walk(s, f, &file);
	if (ret)
		return ret;
	found = walk(s, in, count, &file, qids, &error);
	/* walk(5): a partial walk succeeds, but makes no newfid. */
	if (error && !found)
		ret = error;
	else if (found == count)
		ret = settle(s, f, newfid, file);
	p9_file_put(s, file);
	if (ret)
		return ret;
	p9_put_u16(out, (uint16_t)found);
	for (unsigned int i = 0; i < found; i++)
		p9_put_qid(out, &qids[i]);
	return 0;
}

/* clunk(5): the fid is gone even when this fails. */
int p9_clunk(struct p9_request *r, struct p9_reader *in, struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t id = p9_get_u32(in);
	struct p9_fid *f = p9_fid_lookup(s, id);
	int ret = 0;

	(void)out;
	if (in->error)
		return in->error;
	if (!f)
		return -EBADF;
	if (f->kind == P9_FID_XATTR && f->xattr->writing)
		ret = p9_xattr_commit(s, f);
	p9_fid_remove(s, f);
	return ret;
}

int p9_statfs(struct p9_request *r, struct p9_reader *in,
	      struct p9_writer *out)
{
	uint32_t id = p9_get_u32(in);
	struct statfs st;
	struct p9_fid *f;
	uint64_t fsid;
	int ret;

	if (in->error)
		return in->error;
	ret = p9_fid_find(r->server, id, &f);
	if (ret)
		return ret;
	if (f->kind == P9_FID_XATTR)
		return -EBADF;
	if (fstatfs(f->file->fd, &st))
		return -errno;
	memcpy(&fsid, &st.f_fsid, sizeof(fsid));
	p9_put_u32(out, (uint32_t)st.f_type);
	p9_put_u32(out, (uint32_t)st.f_bsize);
	p9_put_u64(out, st.f_blocks);
	p9_put_u64(out, st.f_bfree);
	p9_put_u64(out, st.f_bavail);
	p9_put_u64(out, st.f_files);
	p9_put_u64(out, st.f_ffree);
	p9_put_u64(out, fsid);
	p9_put_u32(out, (uint32_t)st.f_namelen);
	return 0;
}
