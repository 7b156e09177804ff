/* SPDX-License-Identifier: MIT */
/*
 * More files than descriptors: a client with a cache keeps a fid for each name
 * it has seen. The one that was not used for longest is closed and its path in
 * the export kept; when it is used again it is opened by that path, beneath the
 * root and without symlinks, and must be the same inode. What the guest renames
 * meanwhile changes the path; what the host renames is lost (ESTALE), as on NFS.
 *
 * Open files are never given back. The server's thread.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "p9/internal.h"

#define IN_USE		4	/* more than any request names */
#define MIN_FILES	32	/* more than any request needs */

void p9_files_count(struct p9_server *s, int change)
{
	s->file_count += (unsigned int)change;
	atomic_fetch_add(&s->x->files->held, (unsigned int)change);
}

/* A part becomes smaller when there is one export more: p9_file_room(). */
static bool may_hold_more(const struct p9_server *s)
{
	struct p9_files *f = s->x->files;

	return s->file_count < MIN_FILES ||
	       (s->file_count < f->max / atomic_load(&f->exports) &&
		atomic_load(&f->held) < f->max);
}

static void enqueue(struct p9_server *s, struct p9_file *file)
{
	file->newer = NULL;
	file->older = s->newest;
	*(s->newest ? &s->newest->newer : &s->oldest) = file;
	s->newest = file;
}

static bool queued(const struct p9_server *s, const struct p9_file *file)
{
	return file->newer || s->newest == file;
}

static void dequeue(struct p9_server *s, struct p9_file *file)
{
	*(file->newer ? &file->newer->older : &s->newest) = file->older;
	*(file->older ? &file->older->newer : &s->oldest) = file->newer;
	file->newer = file->older = NULL;
}

static void drop_path(struct p9_server *s, struct p9_file *file)
{
	struct p9_file **next = file->newer ? &file->newer->older :
					      &s->reclaimed;

	*next = file->older;
	if (file->older)
		file->older->newer = file->newer;
	file->newer = file->older = NULL;
	s->path_bytes -= strlen(file->path) + 1;
	free(file->path);
	file->path = NULL;
}

static void keep_path(struct p9_server *s, struct p9_file *file, char *path)
{
	file->path = path;
	s->path_bytes += strlen(path) + 1;
	file->newer = NULL;
	file->older = s->reclaimed;
	if (s->reclaimed)
		s->reclaimed->newer = file;
	s->reclaimed = file;
}

void p9_file_watch(struct p9_server *s, struct p9_file *file)
{
	enqueue(s, file);
}

void p9_file_unwatch(struct p9_server *s, struct p9_file *file)
{
	if (file->path)
		drop_path(s, file);
	else if (queued(s, file))
		dequeue(s, file);
}

/* It waits for its next turn, behind those in use. */
static void pass_over(struct p9_server *s, struct p9_file *file)
{
	struct p9_file *at = s->newest;

	for (int i = 1; i < IN_USE && at->older; i++)
		at = at->older;
	dequeue(s, file);
	file->newer = at;
	file->older = at->older;
	*(at->older ? &at->older->newer : &s->oldest) = file;
	at->older = file;
}

/* False: it has no name any more, or not one that can be kept. */
static bool give_back(struct p9_server *s, struct p9_file *file)
{
	char path[PATH_MAX], name[P9_NAME_BYTES], *copy;
	int parent;

	if (s->path_bytes > P9_PATH_BUDGET || p9_locate(s, file, path) ||
	    p9_locate_parent(s, file, &parent, name))
		return false;
	close(parent);
	copy = strdup(path);
	if (!copy)
		return false;
	dequeue(s, file);
	close(file->fd);
	file->fd = -1;
	p9_files_count(s, -1);
	keep_path(s, file, copy);
	return true;
}

/* The last few are what the request is about: they stay. */
static bool in_use(const struct p9_server *s, const struct p9_file *file)
{
	const struct p9_file *f = s->newest;

	for (int i = 0; i < IN_USE && f; i++, f = f->older)
		if (f == file)
			return true;
	return false;
}

/*
 * A few are looked at: a client may hold many that cannot be given back. One in
 * the place of another is fine even where there are too many already.
 */
int p9_file_room(struct p9_server *s)
{
	bool freed = false;

	for (int tries = 0; tries < 16; tries++) {
		struct p9_file *file = s->oldest;

		if (may_hold_more(s))
			return 0;
		if (!file || in_use(s, file))
			break;
		if (give_back(s, file))
			freed = true;
		else
			pass_over(s, file);
	}
	return freed || may_hold_more(s) ? 0 : -EMFILE;
}

static int open_again(struct p9_server *s, struct p9_file *file)
{
	struct statx st;
	int fd, ret = p9_file_room(s);

	if (ret)
		return ret;
	fd = p9_open_path(s, file->path);
	if (fd == -EMFILE || fd == -ENFILE)
		return fd;
	if (fd < 0)
		return -ESTALE;
	if (p9_stat(s, fd, false, &st) || st.stx_ino != file->ino ||
	    ((uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor) !=
		    file->dev) {
		close(fd);
		return -ESTALE;
	}
	drop_path(s, file);
	file->fd = fd;
	p9_files_count(s, 1);
	enqueue(s, file);
	return 0;
}

int p9_file_use(struct p9_server *s, struct p9_file *file)
{
	if (file->path)
		return open_again(s, file);
	if (file->fd < 0)
		return -ESTALE;
	if (queued(s, file) && s->newest != file) {
		dequeue(s, file);
		enqueue(s, file);
	}
	return 0;
}

static char *path_of(struct p9_server *s, const struct p9_file *dir,
		     const char *name)
{
	char path[PATH_MAX];
	char *text;

	if (p9_locate(s, dir, path) ||
	    asprintf(&text, "%s%s%s", path, *path ? "/" : "", name) < 0)
		return NULL;
	return text;
}

char *p9_moving(struct p9_server *s, const struct p9_file *dir,
		const char *name)
{
	return s->reclaimed ? path_of(s, dir, name) : NULL;
}

void p9_moved(struct p9_server *s, char *from, const struct p9_file *dir,
	      const char *name, bool done)
{
	size_t len = from ? strlen(from) : 0;
	char *to = from && done ? path_of(s, dir, name) : NULL, *path;

	for (struct p9_file *file = to ? s->reclaimed : NULL; file;
	     file = file->older) {
		const char *rest = file->path + len;

		if (strncmp(file->path, from, len) || (*rest && *rest != '/'))
			continue;
		if (asprintf(&path, "%s%s", to, rest) < 0)
			continue;
		s->path_bytes += strlen(path) - strlen(file->path);
		free(file->path);
		file->path = path;
	}
	free(to);
	free(from);
}
