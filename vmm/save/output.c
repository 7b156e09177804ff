/* SPDX-License-Identifier: MIT */
/* Files that are replaced when they are whole. See output.h. */
#include "save/output.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A pipe without anybody at its other end must not hold us up. */
#define FLAGS (O_WRONLY | O_CLOEXEC | O_NONBLOCK)

/* With its links followed, into *st where there is one already; NULL: it is not to
 * be replaced. */
static char *place_of(const char *path, bool *there, struct stat *st)
{
	struct stat resolved;
	char *real;

	*there = !stat(path, st);
	if (!*there)
		return *path && errno == ENOENT && lstat(path, &resolved) ?
			       strdup(path) : NULL;
	if (!S_ISREG(st->st_mode) || st->st_nlink != 1)
		return NULL;
	real = realpath(path, NULL);
	/* A descriptor's entry in /proc may lead to what has no name. */
	if (real && !stat(real, &resolved) &&
	    resolved.st_dev == st->st_dev && resolved.st_ino == st->st_ino)
		return real;
	free(real);
	return NULL;
}

static int open_beside(struct output *o, bool there, const struct stat *st)
{
	if (asprintf(&o->temporary, "%s.XXXXXX", o->path) < 0) {
		o->temporary = NULL;
		return -ENOMEM;
	}
	o->fd = mkostemp(o->temporary, O_CLOEXEC);
	if (o->fd < 0)
		return -errno;
	if (there && (fchown(o->fd, st->st_uid, st->st_gid) ||
		      fchmod(o->fd, st->st_mode & 07777)))
		return -errno;
	fcntl(o->fd, F_SETFL, fcntl(o->fd, F_GETFL) | O_NONBLOCK);
	return 0;
}

int output_open(struct output *o, const char *path)
{
	struct stat st;
	bool there;

	*o = (struct output)OUTPUT_INIT;
	o->path = place_of(path, &there, &st);
	/* Who may not write to it does not replace it either. */
	if (o->path && (!there || !access(o->path, W_OK)) &&
	    !open_beside(o, there, &st))
		return 0;
	if (o->fd >= 0)
		close(o->fd);
	output_close(o);
	o->fd = open(path, FLAGS | O_CREAT | O_TRUNC, 0600);
	return o->fd < 0 ? -errno : 0;
}

static int sync_parent(const char *path)
{
	char *copy = strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) :
			-1;
	int ret = fd < 0 || fsync(fd) ? -errno : 0;

	if (fd >= 0)
		close(fd);
	free(copy);
	return ret;
}

int output_commit(struct output *o)
{
	int ret = 0;

	if (!o->temporary)
		return 0;
	if (rename(o->temporary, o->path))
		return -errno;
	free(o->temporary);
	o->temporary = NULL;
	ret = sync_parent(o->path);
	return ret == -EINVAL ? 0 : ret;
}

void output_close(struct output *o)
{
	if (o->temporary && o->fd >= 0)
		unlink(o->temporary);
	free(o->temporary);
	free(o->path);
	*o = (struct output)OUTPUT_INIT;
}
