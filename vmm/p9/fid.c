/* SPDX-License-Identifier: MIT */
/* Fids and the files behind them. The server's thread. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "p9/internal.h"

#define FIRST_BITS 8

static struct p9_fid **bucket(struct p9_server *s, uint32_t id)
{
	/* Fibonacci hashing: clients count upwards. */
	uint32_t hash = id * UINT32_C(2654435769);

	return &s->buckets[hash >> (32 - s->bucket_bits)];
}

struct p9_fid *p9_fid_lookup(struct p9_server *s, uint32_t id)
{
	struct p9_fid *f = s->buckets ? *bucket(s, id) : NULL;

	while (f && f->id != id)
		f = f->next;
	return f;
}

int p9_fid_find(struct p9_server *s, uint32_t id, struct p9_fid **out)
{
	struct p9_fid *f = p9_fid_lookup(s, id);

	if (!f)
		return -EBADF;
	*out = f;
	return p9_file_use(s, f->file);
}

int p9_fid_find_dir(struct p9_server *s, uint32_t id, struct p9_fid **out)
{
	int ret = p9_fid_find(s, id, out);

	if (ret)
		return ret;
	if ((*out)->kind == P9_FID_XATTR)
		return -EBADF;
	return S_ISDIR((*out)->file->type) ? 0 : -ENOTDIR;
}

/* On failure the table is only fuller than it should be. */
static int grow(struct p9_server *s)
{
	unsigned int bits = s->buckets ? s->bucket_bits + 1 : FIRST_BITS;
	struct p9_fid **old = s->buckets, *f, *next;
	size_t old_count = old ? (size_t)1 << s->bucket_bits : 0;
	struct p9_fid **new = calloc((size_t)1 << bits, sizeof(struct p9_fid *));

	if (!new)
		return old ? 0 : -ENOMEM;
	s->buckets = new;
	s->bucket_bits = bits;
	for (size_t i = 0; i < old_count; i++)
		for (f = old[i]; f; f = next) {
			struct p9_fid **b = bucket(s, f->id);

			next = f->next;
			f->next = *b;
			*b = f;
		}
	free(old);
	return 0;
}

int p9_fid_add(struct p9_server *s, uint32_t id, uint32_t uid,
	       struct p9_file *file, struct p9_fid **out)
{
	struct p9_fid **b, *f;

	if (id == P9_NOFID || p9_fid_lookup(s, id))
		return -EBADF;
	if (s->fid_count >= P9_MAX_FIDS)
		return -EMFILE;
	if ((!s->buckets || s->fid_count >> s->bucket_bits) && grow(s))
		return -ENOMEM;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->id = id;
	f->uid = uid;
	f->file = p9_file_get(file);
	b = bucket(s, id);
	f->next = *b;
	*b = f;
	s->fid_count++;
	if (out)
		*out = f;
	return 0;
}

void p9_fid_set_file(struct p9_server *s, struct p9_fid *f,
		     struct p9_file *file)
{
	p9_file_put(s, f->file);
	f->file = file;
}

static void destroy(struct p9_server *s, struct p9_fid *f)
{
	p9_xattr_free(s, f);
	p9_file_put(s, f->file);
	free(f);
	s->fid_count--;
}

void p9_fid_remove(struct p9_server *s, struct p9_fid *f)
{
	struct p9_fid **at = bucket(s, f->id);

	if (f->kind == P9_FID_OPEN)
		p9_locks_drop(s, f);
	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	destroy(s, f);
}

void p9_fids_clear(struct p9_server *s)
{
	struct p9_fid *f, *next;

	p9_locks_clear(s);
	for (size_t i = 0; s->buckets && i >> s->bucket_bits == 0; i++)
		for (f = s->buckets[i]; f; f = next) {
			next = f->next;
			destroy(s, f);
		}
	free(s->buckets);
	s->buckets = NULL;
}

bool p9_fid_open_elsewhere(struct p9_server *s, const struct p9_fid *f)
{
	for (size_t i = 0; i >> s->bucket_bits == 0; i++)
		for (struct p9_fid *o = s->buckets[i]; o; o = o->next)
			if (o != f && o->kind == P9_FID_OPEN &&
			    o->file->qid.path == f->file->qid.path)
				return true;
	return false;
}

int p9_file_create(struct p9_server *s, int fd, bool opened,
		   struct p9_file **out)
{
	struct p9_file *file;
	struct stat host;
	struct statx st;
	int ret;

	if (fd < 0)
		return fd;
	file = calloc(1, sizeof(*file));
	ret = file ? p9_file_room(s) : -ENOMEM;
	if (!ret)
		ret = p9_stat(s, fd, opened, &st);
	if (!ret && s->x->mapped && fstat(fd, &host))
		ret = -errno;
	if (ret) {
		free(file);
		close(fd);
		return ret;
	}
	file->refs = 1;
	file->fd = fd;
	file->opened = opened;
	file->type = st.stx_mode & S_IFMT;
	file->host_type = s->x->mapped ? host.st_mode & S_IFMT : file->type;
	file->strip = st.stx_mode & (S_ISUID | S_ISGID);
	file->dev = (uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor;
	file->ino = st.stx_ino;
	p9_qid_fill(s, &st, &file->qid);
	p9_files_count(s, 1);
	if (!opened)
		p9_file_watch(s, file);
	*out = file;
	return 0;
}

struct p9_file *p9_file_get(struct p9_file *file)
{
	file->refs++;
	return file;
}

void p9_file_put(struct p9_server *s, struct p9_file *file)
{
	if (!file || --file->refs)
		return;
	p9_file_unwatch(s, file);
	if (file->fd >= 0) {
		close(file->fd);
		p9_files_count(s, -1);
	}
	free(file);
}
