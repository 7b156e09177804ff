/* SPDX-License-Identifier: MIT */
/* Replacing directories. One thread at a time. */
#include "save/directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "save/unfinished.h"

#define DIRECTORY (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

struct save_directory {
	int parent_fd, fd;		/* -1: none */
	char name[NAME_MAX + 1];	/* in the parent */
	char temporary[NAME_MAX + 1];
	bool made;			/* the temporary one is ours */
};

/* The parent's path in dir, the last component in name. */
static int split(const char *path, char *dir, char *name, struct error *e)
{
	char copy[PATH_MAX];
	size_t len = strlen(path);
	char *slash;

	if (!len || len >= sizeof(copy))
		return error_config(e, -EINVAL, "directory '%.100s': no such "
				    "name is possible", path);
	strcpy(copy, path);
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	slash = strrchr(copy, '/');
	snprintf(dir, PATH_MAX, "%s", slash == copy ? "/" : slash ? copy : ".");
	if (slash && slash != copy)
		dir[slash - copy] = '\0';
	if (slash)
		memmove(copy, slash + 1, strlen(slash));
	/* With room for what the temporary one's name has more. */
	if (!*copy || !strcmp(copy, ".") || !strcmp(copy, "..") ||
	    strlen(copy) > NAME_MAX - 16)
		return error_config(e, -EINVAL, "directory %s: its name cannot "
				    "be replaced by another", path);
	strcpy(name, copy);
	return 0;
}

/* Only files: a save has no directories in it. */
static void remove_tree(int parent_fd, const char *name)
{
	int fd = openat(parent_fd, name, DIRECTORY | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			unlinkat(fd, entry->d_name, 0);
	if (dir)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
	unlinkat(parent_fd, name, AT_REMOVEDIR);
}

/* A file of a save's, or one that was left beside its state. */
static bool is_part(const char *name)
{
	static const char *const parts[] = { "state", "memory", "config.json" };

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!strcmp(name, parts[i]))
			return true;
	return !strncmp(name, "state.pages", strlen("state.pages"));
}

/* Not to take away what is not a save: all that is there goes with it. */
static int check_old(const struct save_directory *d, const char *path,
		     struct error *e)
{
	int fd = openat(d->parent_fd, d->name, DIRECTORY | O_NOFOLLOW);
	char other[NAME_MAX + 1] = "";
	bool empty = true, save = false;
	struct dirent *entry;
	DIR *dir;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return error_errno(e, -errno, "directory %s", path);
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return error_set(e, -ENOMEM, "out of memory");
	}
	while ((entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		empty = false;
		save = save || !strcmp(entry->d_name, "state");
		if (!is_part(entry->d_name))
			snprintf(other, sizeof(other), "%s", entry->d_name);
	}
	closedir(dir);
	if (!empty && !save)
		return error_config(e, -ENOTEMPTY, "directory %s: neither empty "
				    "nor a saved VM", path);
	if (!*other)
		return 0;
	return error_config(e, -ENOTEMPTY, "directory %s: it would be replaced, "
			    "but '%s' in it is not of a saved VM", path, other);
}

bool save_still_called(int parent_fd, const char *name, int fd)
{
	struct stat a, b;

	return !fstat(fd, &a) &&
	       !fstatat(parent_fd, name, &b, AT_SYMLINK_NOFOLLOW) &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Until it is locked another process may take it for one of the dead. */
static bool lock_temporary(const struct save_directory *d, int fd)
{
	return !flock(fd, LOCK_EX | LOCK_NB) &&
	       save_still_called(d->parent_fd, d->temporary, fd);
}

/* The lock ends with the process: what is there and not locked is dead, or was
 * replaced. False: it is neither. */
static bool clear_temporary(const struct save_directory *d, bool replaced)
{
	int fd = openat(d->parent_fd, d->temporary, DIRECTORY | O_NOFOLLOW);
	/* Who has what was replaced clears it away, or has done so and saves
	 * under that name, for as long as that takes: nobody waits for it. */
	bool ours = fd < 0 || lock_temporary(d, fd);

	if (fd >= 0 && ours && !replaced)
		save_unfinished_clear(fd, "state");
	if (fd >= 0 && ours)
		remove_tree(d->parent_fd, d->temporary);
	if (fd >= 0)
		close(fd);
	return ours;
}

static int make_temporary(struct save_directory *d, const char *path,
			  struct error *e)
{
	bool clear = clear_temporary(d, false);

	if (clear && mkdirat(d->parent_fd, d->temporary, 0700)) {
		if (errno != EEXIST)
			return error_errno(e, -errno, "directory %s", path);
	} else if (clear) {
		d->fd = openat(d->parent_fd, d->temporary,
			       DIRECTORY | O_NOFOLLOW);
		if (d->fd < 0 && errno != ENOENT)
			return error_errno(e, -errno, "directory %s", path);
		d->made = d->fd >= 0 && lock_temporary(d, d->fd);
	}
	return d->made ? 0 : error_set(e, -EBUSY, "directory %s: another VM is "
				       "being saved there", path);
}

int save_directory_create(struct save_directory **out, const char *path,
			  struct error *e)
{
	struct save_directory *d = calloc(1, sizeof(*d));
	char dir[PATH_MAX];
	int ret;

	if (!d)
		return error_set(e, -ENOMEM, "out of memory");
	d->parent_fd = d->fd = -1;
	ret = split(path, dir, d->name, e);
	if (!ret) {
		snprintf(d->temporary, sizeof(d->temporary), ".%.230s.saving",
			 d->name);
		d->parent_fd = open(dir, DIRECTORY);
		if (d->parent_fd < 0)
			ret = error_errno(e, -errno, "directory %s", path);
	}
	if (!ret)
		ret = check_old(d, path, e);
	if (!ret)
		ret = make_temporary(d, path, e);
	if (ret) {
		save_directory_destroy(d);
		return ret;
	}
	*out = d;
	return 0;
}

int save_directory_file(struct save_directory *d, const char *name,
			struct error *e)
{
	int fd = openat(d->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
			0600);

	return fd < 0 ? error_errno(e, -errno, "%s", name) : fd;
}

int save_directory_commit(struct save_directory *d, struct error *e)
{
	int ret;

	if (fsync(d->fd))
		return error_errno(e, -errno, "%s", d->name);
	ret = renameat2(d->parent_fd, d->temporary, d->parent_fd, d->name,
			RENAME_EXCHANGE);
	if (!ret) {
		/* The next one may replace it at once, and be at what was
		 * replaced, which has the temporary name now. */
		flock(d->fd, LOCK_UN);
		fsync(d->parent_fd);
		clear_temporary(d, true);
	} else if (errno == ENOENT) {
		ret = renameat2(d->parent_fd, d->temporary, d->parent_fd,
				d->name, RENAME_NOREPLACE);
	}
	if (ret)
		return error_errno(e, -errno, "%s", d->name);
	d->made = false;
	if (fsync(d->parent_fd))
		return error_errno(e, -errno, "%s", d->name);
	return 0;
}

bool save_directory_in_place(const struct save_directory *d)
{
	return !d->made;
}

void save_directory_destroy(struct save_directory *d)
{
	if (!d)
		return;
	if (d->made)
		remove_tree(d->parent_fd, d->temporary);
	if (d->fd >= 0)
		close(d->fd);
	if (d->parent_fd >= 0)
		close(d->parent_fd);
	free(d);
}

int save_file(int fd, const void *data, size_t len_bytes, const char *name,
	      struct error *e)
{
	const char *p = data;
	int ret = 0;

	while (len_bytes && !ret) {
		ssize_t n = write(fd, p, len_bytes);

		if (n < 0 && errno != EINTR)
			ret = -errno;
		if (n > 0) {
			p += n;
			len_bytes -= (size_t)n;
		}
	}
	if (!ret && fsync(fd))
		ret = -errno;
	if (close(fd) && !ret)
		ret = -errno;
	return ret ? error_errno(e, ret, "%s", name) : 0;
}
