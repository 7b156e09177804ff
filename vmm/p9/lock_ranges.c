/* SPDX-License-Identifier: MIT */
/*
 * Which ranges of a file a lock's descriptor holds: the kernel tells in
 * /proc/self/fdinfo (proc(5)), so that nobody has to keep the same list twice. For
 * saving, loading, and against guests that lock every other byte. The server's
 * thread.
 *
 *	locks u32, then for each: qid.path u64 · process u32 · client string ·
 *	ranges u32, then for each: type u8 (P9_LOCK_*) · start u64 · length u64
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "p9/internal.h"
#include "state.h"

/* "lock:\t1: OFDLCK  ADVISORY  WRITE -1 fd:00:1234 0 EOF" */
static bool parse_range(const char *line, struct flock *l)
{
	char access[8], end[24];
	intmax_t start;

	if (sscanf(line, "lock: %*u: OFDLCK %*s %7s %*d %*s %" SCNdMAX " %23s",
		   access, &start, end) != 3)
		return false;
	*l = (struct flock){
		.l_type = strcmp(access, "WRITE") ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = (off_t)start,
		.l_len = strcmp(end, "EOF") ?
			 (off_t)(strtoimax(end, NULL, 10) - start + 1) : 0,
	};
	return true;
}

typedef void range_fn(const struct flock *l, void *opaque);

/* -errno: then there may be more than were told. */
static int each_range(int fd, range_fn *tell, void *opaque)
{
	char path[48], *line = NULL;
	size_t size = 0;
	struct flock l;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (getline(&line, &size, file) > 0)
		if (parse_range(line, &l))
			tell(&l, opaque);
	free(line);
	fclose(file);
	return 0;
}

static void count_one(const struct flock *l, void *opaque)
{
	(void)l;
	++*(unsigned int *)opaque;
}

static unsigned int count(int fd)
{
	unsigned int n = 0;

	each_range(fd, count_one, &n);
	return n;
}

int p9_lock_room(struct p9_server *s)
{
	/* A lock in the middle of another makes three of one. */
	if (s->lock_ranges + 2 <= P9_MAX_LOCK_RANGES)
		return 0;
	s->lock_ranges = 0;
	for (const struct p9_lock *l = s->locks; l; l = l->next)
		s->lock_ranges += count(l->fd);
	return s->lock_ranges + 2 <= P9_MAX_LOCK_RANGES ? 0 : -ENOLCK;
}

/* ---- saving and loading -------------------------------------------------- */

struct saved_ranges {
	struct state_writer w;
	uint32_t count;
};

static void save_one(const struct flock *l, void *opaque)
{
	struct saved_ranges *s = opaque;
	struct state_writer *w = &s->w;

	s->count++;
	state_put_u8(w, l->l_type == F_WRLCK ? P9_LOCK_WRITE : P9_LOCK_READ);
	state_put_u64(w, (uint64_t)l->l_start);
	state_put_u64(w, (uint64_t)l->l_len);
}

/* Read once: a count of its own might be of others. */
static void save_ranges(int fd, struct state_writer *w)
{
	struct saved_ranges s = { .w = STATE_WRITER_INIT };
	int ret = each_range(fd, save_one, &s);

	if (ret || s.w.error)
		w->error = ret ? ret : s.w.error;
	state_put_u32(w, s.count);
	state_put_bytes(w, s.w.data, s.w.len_bytes);
	state_writer_deinit(&s.w);
}

void p9_locks_save(struct p9_server *s, struct state_writer *w)
{
	state_put_u32(w, s->lock_count);
	for (const struct p9_lock *l = s->locks; l; l = l->next) {
		state_put_u64(w, l->path);
		state_put_u32(w, l->process);
		state_put_string(w, l->client);
		save_ranges(l->fd, w);
	}
}

static struct p9_fid *find_open(struct p9_server *s, uint64_t path)
{
	for (size_t i = 0; s->buckets && i >> s->bucket_bits == 0; i++)
		for (struct p9_fid *f = s->buckets[i]; f; f = f->next)
			if (f->kind == P9_FID_OPEN && f->file->fd >= 0 &&
			    f->file->qid.path == path)
				return f;
	return NULL;
}

static int load_range(const struct p9_lock *l, struct state_reader *r)
{
	uint8_t type = state_get_u8(r);
	uint64_t start = state_get_u64(r), length = state_get_u64(r);
	struct flock fl = {
		.l_type = type == P9_LOCK_WRITE ? F_WRLCK : F_RDLCK,
		.l_whence = SEEK_SET,
		.l_start = (off_t)start,
		.l_len = (off_t)length,
	};
	int ret = state_reader_error(r);

	if (ret)
		return ret;
	if (type > P9_LOCK_WRITE || start > INT64_MAX || length > INT64_MAX)
		return -EINVAL;
	/* Its file is lost, and so is it. */
	if (!l || !fcntl(l->fd, F_OFD_SETLK, &fl))
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

static int load_lock(struct p9_server *s, struct state_reader *r)
{
	uint64_t path = state_get_u64(r);
	uint32_t process = state_get_u32(r), ranges;
	char client[P9_NAME_BYTES];
	struct p9_lock *l = NULL;
	const struct p9_fid *f;
	int ret;

	state_get_string(r, client, sizeof(client));
	ranges = state_get_u32(r);
	ret = state_reader_error(r);
	if (!ret && ranges > P9_MAX_LOCK_RANGES - s->lock_ranges)
		ret = -EINVAL;
	f = ret ? NULL : find_open(s, path);
	if (f)
		ret = p9_lock_add(s, f, process, client, &l);
	if (l)
		s->lock_ranges += ranges;
	while (!ret && ranges--)
		ret = load_range(l, r);
	return ret;
}

int p9_locks_load(struct p9_server *s, struct state_reader *r)
{
	uint32_t n = state_get_u32(r);
	int ret = state_reader_error(r);

	/* Each is looked for among all fids. */
	if (!ret && n > P9_MAX_LOCKS)
		ret = -EINVAL;
	while (!ret && n--)
		ret = load_lock(s, r);
	return ret;
}
