/* SPDX-License-Identifier: MIT */
/*
 * Qids: 64 bits that tell files apart although there may be several devices
 * below the export, each with inode numbers of 64 bits. The lower 48 bits are
 * those of the inode number; a device and the upper 16 bits of the number become
 * an index into a table, in the order in which they are met. The root's comes
 * first: on its device the guest sees the host's inode numbers.
 *
 * The server's thread.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "p9/internal.h"

#define LOW_BITS	48
#define LOW_MASK	((UINT64_C(1) << LOW_BITS) - 1)
#define MAX_PREFIXES	(1u << 10)

static uint64_t device(const struct statx *st)
{
	return (uint64_t)st->stx_dev_major << 32 | st->stx_dev_minor;
}

static int grow(struct p9_server *s, unsigned int count)
{
	struct p9_qid_prefix *p = realloc(s->prefixes, count * sizeof(*p));

	if (!p)
		return -ENOMEM;
	/* Holes, after a load: no device is like that. */
	for (unsigned int i = s->prefix_count; i < count; i++)
		p[i] = (struct p9_qid_prefix){ .dev = UINT64_MAX };
	s->prefixes = p;
	s->prefix_count = count;
	return 0;
}

static int find(const struct p9_server *s, uint64_t dev, uint16_t high)
{
	for (unsigned int i = 0; i < s->prefix_count; i++)
		if (s->prefixes[i].dev == dev && s->prefixes[i].high == high)
			return (int)i;
	return -1;
}

/*
 * A file system whose numbers use all 64 bits fills the table: the rest is
 * hashed, with an upper half that no index has.
 */
static uint64_t hashed(uint64_t dev, uint64_t ino)
{
	uint64_t h = (ino ^ dev * UINT64_C(0x9e3779b97f4a7c15)) *
		     UINT64_C(0xff51afd7ed558ccd);

	return (h ^ h >> 32) | UINT64_C(1) << 63;
}

static uint64_t path_of(struct p9_server *s, uint64_t dev, uint64_t ino)
{
	uint16_t high = (uint16_t)(ino >> LOW_BITS);
	int i = find(s, dev, high);

	if (i < 0) {
		if (s->prefix_count >= MAX_PREFIXES ||
		    grow(s, s->prefix_count + 1))
			return hashed(dev, ino);
		i = (int)s->prefix_count - 1;
		s->prefixes[i].dev = dev;
		s->prefixes[i].high = high;
	}
	return (uint64_t)i << LOW_BITS | (ino & LOW_MASK);
}

void p9_qid_fill(struct p9_server *s, const struct statx *st,
		 struct p9_qid *qid)
{
	qid->type = S_ISDIR(st->stx_mode) ? P9_QID_DIR :
		    S_ISLNK(st->stx_mode) ? P9_QID_SYMLINK : 0;
	/* Another one after each change; clients only compare it, and take 0
	 * for a server that has none. */
	qid->version = (uint32_t)st->stx_mtime.tv_sec ^
		       st->stx_mtime.tv_nsec ^ (uint32_t)st->stx_size << 8;
	if (!qid->version)
		qid->version = 1;
	qid->path = path_of(s, device(st), st->stx_ino);
}

void p9_qid_entry(struct p9_server *s, const struct stat *dir, uint64_t ino,
		  unsigned char d_type, struct p9_qid *qid)
{
	uint64_t dev = (uint64_t)major(dir->st_dev) << 32 | minor(dir->st_dev);

	qid->type = d_type == DT_DIR ? P9_QID_DIR :
		    d_type == DT_LNK ? P9_QID_SYMLINK : 0;
	qid->version = 0;
	qid->path = path_of(s, dev, ino);
}

int p9_qid_bind(struct p9_server *s, const struct statx *st, uint64_t path)
{
	uint16_t high = (uint16_t)(st->stx_ino >> LOW_BITS);
	unsigned int i = (unsigned int)(path >> LOW_BITS);

	if (i >= MAX_PREFIXES || find(s, device(st), high) >= 0)
		return 0;
	if (i >= s->prefix_count && grow(s, i + 1))
		return -ENOMEM;
	if (s->prefixes[i].dev == UINT64_MAX) {
		s->prefixes[i].dev = device(st);
		s->prefixes[i].high = high;
	}
	return 0;
}
