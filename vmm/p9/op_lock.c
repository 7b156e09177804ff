/* SPDX-License-Identifier: MIT */
/*
 * Tlock and Tgetlock: record locks of the guest's processes as locks on the host
 * (F_OFD_SETLK, fcntl(2)), so that several guests and the host see each other's.
 * An owner, a process of one client, has one open file description per file: its
 * own locks never conflict with each other, those of others do.
 *
 * A server never waits for a lock; the client asks again. The server's thread.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "p9/internal.h"

struct lock_request {
	uint8_t type;
	uint64_t start, length;		/* length 0: to the end */
	uint32_t process;
	char client[P9_NAME_BYTES];
};

static struct p9_lock *find(struct p9_server *s, const struct p9_fid *f,
			    const struct lock_request *q)
{
	struct p9_lock *l = s->locks;

	while (l && (l->path != f->file->qid.path ||
		     l->process != q->process ||
		     strcmp(l->client, q->client)))
		l = l->next;
	return l;
}

static void remove_lock(struct p9_server *s, struct p9_lock *l)
{
	struct p9_lock **at = &s->locks;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	close(l->fd);
	p9_files_count(s, -1);
	s->lock_count--;
	free(l);
}

/* For writing when the file can be: the owner may have it open in both ways. */
static int open_lock(struct p9_server *s, const struct p9_fid *f,
		     struct p9_lock *l)
{
	l->writable = false;
	l->fd = -EROFS;
	if (!s->x->readonly && S_ISREG(f->file->type)) {
		l->fd = p9_reopen(f->file->fd, O_RDWR);
		l->writable = l->fd >= 0;
	}
	if (l->fd < 0)
		l->fd = p9_reopen(f->file->fd, O_RDONLY);
	return l->fd < 0 ? l->fd : 0;
}

int p9_lock_add(struct p9_server *s, const struct p9_fid *f,
		uint32_t process, const char *client, struct p9_lock **out)
{
	struct p9_lock *l;
	int ret;

	if (s->lock_count >= P9_MAX_LOCKS || p9_file_room(s))
		return -ENOLCK;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->path = f->file->qid.path;
	l->process = process;
	snprintf(l->client, sizeof(l->client), "%s", client);
	ret = open_lock(s, f, l);
	if (ret) {
		free(l);
		return ret;
	}
	l->next = s->locks;
	s->locks = l;
	s->lock_count++;
	p9_files_count(s, 1);
	*out = l;
	return 0;
}

void p9_locks_drop(struct p9_server *s, const struct p9_fid *f)
{
	struct p9_lock *l = s->locks, *next;

	while (l && l->path != f->file->qid.path)
		l = l->next;
	if (!l || p9_fid_open_elsewhere(s, f))
		return;
	for (; l; l = next) {
		next = l->next;
		if (l->path == f->file->qid.path)
			remove_lock(s, l);
	}
}

void p9_locks_clear(struct p9_server *s)
{
	while (s->locks)
		remove_lock(s, s->locks);
}

static int get_request(struct p9_reader *in, struct lock_request *q,
		       struct flock *l)
{
	static const short types[] = { F_RDLCK, F_WRLCK, F_UNLCK };

	q->start = p9_get_u64(in);
	q->length = p9_get_u64(in);
	q->process = p9_get_u32(in);
	p9_get_string(in, q->client, sizeof(q->client));
	if (in->error)
		return in->error;
	if (q->type > P9_LOCK_UNLOCK || q->start > INT64_MAX ||
	    q->length > INT64_MAX)
		return -EINVAL;
	*l = (struct flock){ .l_type = types[q->type], .l_whence = SEEK_SET,
			     .l_start = (off_t)q->start,
			     .l_len = (off_t)q->length };
	return 0;
}

static int find_open(struct p9_server *s, uint32_t id, struct p9_fid **f)
{
	int ret = p9_fid_find(s, id, f);

	return ret ? ret : (*f)->kind == P9_FID_OPEN ? 0 : -EBADF;
}

/* What the client gets for it: P9_LOCK_*, or -errno. */
static int set_lock(struct p9_server *s, const struct p9_fid *f,
		    const struct lock_request *q, struct flock *fl)
{
	struct p9_lock *l = find(s, f, q);
	int ret;

	if (q->type == P9_LOCK_UNLOCK && !l)
		return P9_LOCK_SUCCESS;
	if (q->type == P9_LOCK_UNLOCK && !q->start && !q->length) {
		remove_lock(s, l);
		return P9_LOCK_SUCCESS;
	}
	ret = p9_lock_room(s);
	if (!ret && !l)
		ret = p9_lock_add(s, f, q->process, q->client, &l);
	if (ret)
		return ret;
	s->lock_ranges += 2;
	/* A directory or a read-only share: there is nobody to be kept out. */
	if (!l->writable && fl->l_type == F_WRLCK)
		fl->l_type = F_RDLCK;
	if (!fcntl(l->fd, F_OFD_SETLK, fl))
		return P9_LOCK_SUCCESS;
	return errno == EAGAIN || errno == EACCES ? P9_LOCK_BLOCKED :
						    -errno;
}

int p9_lock(struct p9_request *r, struct p9_reader *in, struct p9_writer *out)
{
	uint32_t id = p9_get_u32(in);
	struct lock_request q;
	struct p9_fid *f;
	struct flock fl;
	int ret;

	q.type = p9_get_u8(in);
	p9_get_u32(in);			/* flags: to block is the client's part */
	ret = get_request(in, &q, &fl);
	if (!ret)
		ret = find_open(r->server, id, &f);
	if (!ret)
		ret = set_lock(r->server, f, &q, &fl);
	if (ret < 0)
		return ret;
	p9_put_u8(out, (uint8_t)ret);
	return 0;
}

/* Whose the conflicting lock is: one of this client's, else nobody it knows. */
static uint32_t holder(struct p9_server *s, const struct p9_fid *f,
		       const struct lock_request *q)
{
	for (const struct p9_lock *l = s->locks; l; l = l->next)
		if (l->path == f->file->qid.path && l->process != q->process)
			return l->process;
	return 0;
}

int p9_getlock(struct p9_request *r, struct p9_reader *in,
	       struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint32_t id = p9_get_u32(in);
	struct lock_request q;
	struct p9_lock *own;
	struct p9_fid *f;
	struct flock fl;
	int ret;

	q.type = p9_get_u8(in);
	ret = get_request(in, &q, &fl);
	if (!ret)
		ret = find_open(s, id, &f);
	if (ret)
		return ret;
	/* Linux's client asks with this type: for what is in anybody's way. */
	if (q.type == P9_LOCK_UNLOCK)
		fl.l_type = F_RDLCK;
	own = find(s, f, &q);
	if (fcntl(own ? own->fd : f->file->fd, F_OFD_GETLK, &fl))
		return -errno;
	if (fl.l_type == F_UNLCK) {
		q.type = P9_LOCK_UNLOCK;
	} else {
		q.type = fl.l_type == F_RDLCK ? P9_LOCK_READ : P9_LOCK_WRITE;
		q.start = (uint64_t)fl.l_start;
		q.length = (uint64_t)fl.l_len;
		q.process = holder(s, f, &q);
	}
	p9_put_u8(out, q.type);
	p9_put_u64(out, q.start);
	p9_put_u64(out, q.length);
	p9_put_u32(out, q.process);
	p9_put_string(out, q.client);
	return 0;
}
