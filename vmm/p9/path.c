/* SPDX-License-Identifier: MIT */
/*
 * Names: every way from a name to a file goes through here. The server's thread.
 *
 * A walk opens one component with O_PATH from its directory's descriptor;
 * RESOLVE_BENEATH refuses what would lead out of that directory (openat2(2)). The
 * few requests that start from a file instead of a directory (`..`, Trename,
 * Tremove, saving) ask the kernel where the descriptor is now and resolve that
 * beneath the export's root: if it lies elsewhere, there is nothing.
 */
#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "p9/internal.h"

static int open_how(int dir, const char *path, int flags, mode_t mode,
		    uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned int)(flags | O_CLOEXEC),
		.mode = mode,
		.resolve = resolve,
	};
	long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

int p9_open_beneath(int dir, const char *name, int flags, mode_t mode)
{
	return open_how(dir, name, flags | O_NOFOLLOW, mode,
			RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

int p9_open_path(struct p9_server *s, const char *path)
{
	return open_how(s->x->root, *path ? path : ".", O_PATH | O_NOFOLLOW, 0,
			RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS |
			RESOLVE_NO_SYMLINKS);
}

const char *p9_proc_path(int fd, char text[P9_PROC_BYTES])
{
	snprintf(text, P9_PROC_BYTES, "/proc/self/fd/%d", fd);
	return text;
}

int p9_reopen(int fd, int flags)
{
	char text[P9_PROC_BYTES];
	int new = open(p9_proc_path(fd, text),
		       flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	return new < 0 ? -errno : new;
}

static bool is_root(struct p9_server *s, const struct p9_file *dir)
{
	return dir == s->root ||
	       (s->root && dir->qid.path == s->root->qid.path);
}

bool p9_name_visible(struct p9_server *s, const struct p9_file *dir,
		     const char *name)
{
	if (!s->x->allowed_count || !is_root(s, dir))
		return true;
	for (size_t i = 0; i < s->x->allowed_count; i++)
		if (!strcmp(s->x->allowed[i], name))
			return true;
	return false;
}

int p9_name_check(struct p9_server *s, const struct p9_file *dir,
		  const char *name)
{
	if (!*name || strchr(name, '/'))
		return -EINVAL;
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return -EEXIST;
	return p9_name_visible(s, dir, name) ? 0 : -EACCES;
}

static int step_up(struct p9_server *s, struct p9_file *dir,
		   struct p9_file **out)
{
	char path[PATH_MAX], *slash;
	int ret;

	if (is_root(s, dir)) {
		*out = p9_file_get(dir);
		return 0;
	}
	ret = p9_locate(s, dir, path);
	if (ret)
		return ret;
	slash = strrchr(path, '/');
	*(slash ? slash : path) = '\0';
	return p9_file_create(s, p9_open_path(s, path), false, out);
}

int p9_step(struct p9_server *s, struct p9_file *dir, const char *name,
	    struct p9_file **out)
{
	if (!S_ISDIR(dir->host_type))
		return -ENOTDIR;
	if (!*name || strchr(name, '/'))
		return -ENOENT;
	if (!strcmp(name, ".")) {
		*out = p9_file_get(dir);
		return 0;
	}
	if (!strcmp(name, ".."))
		return step_up(s, dir, out);
	if (!p9_name_visible(s, dir, name))
		return -ENOENT;
	return p9_file_create(s, p9_open_beneath(dir->fd, name, O_PATH, 0),
			      false, out);
}

/* What the kernel calls fd, without a trailing slash. */
static int name_of(int fd, char path[PATH_MAX])
{
	char text[P9_PROC_BYTES];
	ssize_t n = readlink(p9_proc_path(fd, text), path, PATH_MAX);

	if (n < 0)
		return -errno;
	if (n == PATH_MAX)
		return -ENAMETOOLONG;
	if (n == 1)
		n = 0;
	path[n] = '\0';
	return 0;
}

int p9_locate(struct p9_server *s, const struct p9_file *file,
	      char path[PATH_MAX])
{
	char root[PATH_MAX];
	int ret = name_of(s->x->root, root);
	size_t len = strlen(root);

	if (!ret)
		ret = name_of(file->fd, path);
	if (ret)
		return ret;
	if (strncmp(path, root, len) || (path[len] && path[len] != '/'))
		return -ENOENT;
	memmove(path, path + len + (path[len] == '/'),
		strlen(path + len + (path[len] == '/')) + 1);
	return 0;
}

static bool same_file(int a, int dir, const char *name)
{
	struct stat one, other;

	return !fstat(a, &one) &&
	       !fstatat(dir, name, &other, AT_SYMLINK_NOFOLLOW) &&
	       one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

int p9_locate_parent(struct p9_server *s, const struct p9_file *file,
		     int *dir, char name[P9_NAME_BYTES])
{
	char path[PATH_MAX], *slash;
	int ret = p9_locate(s, file, path);
	int fd;

	if (ret)
		return ret;
	if (!*path)
		return -EBUSY;
	slash = strrchr(path, '/');
	if (strlen(slash ? slash + 1 : path) >= P9_NAME_BYTES)
		return -ESTALE;
	strcpy(name, slash ? slash + 1 : path);
	*(slash ? slash : path) = '\0';
	fd = p9_open_path(s, path);
	if (fd < 0)
		return fd;
	/* A file without this name any more: "x (deleted)". */
	if (!same_file(file->fd, fd, name)) {
		close(fd);
		return -ESTALE;
	}
	*dir = fd;
	return 0;
}
