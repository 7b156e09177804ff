/* SPDX-License-Identifier: MIT */
/* Files of a save in places of their own. Threads: see files.h. */
#include "save/files.h"

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

#include "save/directory.h"
#include "save/unfinished.h"

#define STATE	"state"
#define MEMORY	"memory"
/* Of a name, with room for what the temporary one has more. */
#define NAME_BYTES (NAME_MAX - 48)

/* A file that is written under another name, then gets its own. */
struct place {
	int parent_fd;			/* -1: not used */
	char parent[PATH_MAX];
	char name[NAME_MAX + 1], temporary[NAME_MAX + 1];
	int lock_fd;			/* the temporary one, locked; -1 */
};

struct save_files {
	struct save_directory *directory;	/* NULL: none */
	struct place memory, state, other;
	char memory_prefix[PATH_MAX];	/* of all generations */
	char *old_memory;
	char memory_name[PATH_MAX];
};

static void place_init(struct place *p)
{
	*p = (struct place){ .parent_fd = -1, .lock_fd = -1 };
}

static void place_deinit(struct place *p)
{
	if (p->lock_fd >= 0) {
		unlinkat(p->parent_fd, p->temporary, 0);
		close(p->lock_fd);
	}
	if (p->parent_fd >= 0)
		close(p->parent_fd);
}

/* suffix: what the final name has more than the path. */
static int place_open(struct place *p, const char *what, const char *path,
		      const char *suffix, struct error *e)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char dir[PATH_MAX];

	if (!*name || strlen(path) >= sizeof(dir) || strlen(name) > NAME_BYTES ||
	    !strcmp(name, ".") || !strcmp(name, ".."))
		return error_config(e, -EINVAL, "%s: '%.100s' cannot be the "
				    "name of a file", what, path);
	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) : 1,
		 slash ? path : ".");
	if (!realpath(*dir ? dir : "/", p->parent))
		return error_errno(e, -errno, "%s %s", what, path);
	p->parent_fd = open(p->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->parent_fd < 0)
		return error_errno(e, -errno, "%s %s", what, path);
	snprintf(p->name, sizeof(p->name), "%.*s%s", NAME_BYTES, name, suffix);
	snprintf(p->temporary, sizeof(p->temporary), ".%.*s.saving",
		 NAME_MAX - 16, name);
	return 0;
}

/* What a process that died has left is not locked any more: it is here now. */
static int place_lock(struct place *p, struct error *e)
{
	int fd = openat(p->parent_fd, p->temporary, O_RDWR | O_CREAT |
			O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_errno(e, -errno, "%s/%s", p->parent, p->name);
	/* Who had it may just have given it its name. */
	if (flock(fd, LOCK_EX | LOCK_NB) ||
	    !save_still_called(p->parent_fd, p->temporary, fd)) {
		close(fd);
		return error_set(e, -EBUSY, "%s/%s: another VM is being saved "
				 "there", p->parent, p->name);
	}
	p->lock_fd = fd;
	return 0;
}

static int place_empty(struct place *p, struct error *e)
{
	return ftruncate(p->lock_fd, 0) ?
	       error_errno(e, -errno, "%s/%s", p->parent, p->name) : 0;
}

static int place_create(struct place *p, struct error *e)
{
	int ret = place_lock(p, e);

	return ret ? ret : place_empty(p, e);
}

static int place_commit(struct place *p, struct error *e)
{
	if (p->lock_fd < 0)
		return 0;
	if (renameat(p->parent_fd, p->temporary, p->parent_fd, p->name))
		return error_errno(e, -errno, "%s/%s", p->parent, p->name);
	close(p->lock_fd);
	p->lock_fd = -1;
	return fsync(p->parent_fd) ? error_errno(e, -errno, "%s", p->parent) :
				     0;
}

static int open_memory(struct save_files *f, const struct save_places *p,
		       const uint8_t *id, struct error *e)
{
	char path[PATH_MAX], suffix[2 * SAVE_FILES_ID_BYTES + 2] = ".";
	size_t stem;
	int ret;

	if (!p->memory_path && !p->state_path) {
		strcpy(f->memory_name, MEMORY);
		return 0;
	}
	for (size_t i = 0; i < SAVE_FILES_ID_BYTES; i++)
		sprintf(suffix + 1 + 2 * i, "%02x", id[i]);
	snprintf(path, sizeof(path), "%.*s%s", PATH_MAX - 16,
		 p->memory_path ? p->memory_path : p->state_path,
		 p->memory_path ? "" : "." MEMORY);
	ret = place_open(&f->memory, "memory-path", path, suffix, e);
	if (ret)
		return ret;
	stem = strlen(f->memory.name) - strlen(suffix) + 1;
	if (snprintf(f->memory_name, PATH_MAX, "%s/%s", f->memory.parent,
		     f->memory.name) >= PATH_MAX)
		return error_config(e, -ENAMETOOLONG, "memory-path");
	snprintf(f->memory_prefix, PATH_MAX, "%.*s",
		 (int)(strlen(f->memory.parent) + 1 + stem), f->memory_name);
	return p->no_memory ? 0 : place_create(&f->memory, e);
}

/* Not to take away what is not a state: an empty file may be there. */
static int check_old_state(const struct place *p, struct error *e)
{
	int fd = openat(p->parent_fd, p->name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char magic[8] = "";
	ssize_t n = 0;
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) ||
	    (S_ISREG(st.st_mode) && (n = read(fd, magic, sizeof(magic))) < 0)) {
		int ret = error_errno(e, -errno, "state-path %s/%s", p->parent,
				      p->name);

		if (fd >= 0)
			close(fd);
		return ret;
	}
	close(fd);
	if (S_ISREG(st.st_mode) && (!n || !memcmp(magic, "MOTESAVE", 8)))
		return 0;
	return error_config(e, -EEXIST, "state-path %s/%s: neither empty nor a "
			    "saved VM's", p->parent, p->name);
}

static int open_state(struct save_files *f, const struct save_places *p,
		      struct error *e)
{
	char path[PATH_MAX];
	int ret = place_open(&f->state, "state-path", p->state_path, "", e);

	if (!ret)
		ret = check_old_state(&f->state, e);
	if (!ret)
		ret = place_lock(&f->state, e);
	if (!ret) {
		save_unfinished_clear(f->state.parent_fd, f->state.temporary);
		ret = place_empty(&f->state, e);
	}
	if (ret || !p->directory)
		return ret;
	/* For what is only for people. */
	if (mkdir(p->directory, 0700) && errno != EEXIST)
		return error_errno(e, -errno, "directory %s", p->directory);
	snprintf(path, sizeof(path), "%.*s/config.json", PATH_MAX - 16,
		 p->directory);
	return place_open(&f->other, "directory", path, "", e);
}

/* What is in the directory goes when another takes its place. */
static int check_apart(const struct save_files *f, const struct save_places *p,
		       struct error *e)
{
	struct stat dir, parent;

	if (p->state_path || f->memory.parent_fd < 0 ||
	    stat(p->directory, &dir) || fstat(f->memory.parent_fd, &parent) ||
	    dir.st_dev != parent.st_dev || dir.st_ino != parent.st_ino)
		return 0;
	return error_config(e, -EINVAL, "memory-path: %s is in the directory "
			    "that is replaced", p->memory_path);
}

int save_files_create(struct save_files **out, const struct save_places *p,
		      const uint8_t *id, struct error *e)
{
	struct save_files *f = calloc(1, sizeof(*f));
	int ret = 0;

	if (!f)
		return error_set(e, -ENOMEM, "out of memory");
	place_init(&f->memory);
	place_init(&f->state);
	place_init(&f->other);
	if (!p->directory && !p->state_path)
		ret = error_class_set(e, ERROR_MISSING_PARAMETER, -EINVAL,
				      "Parameter 'directory' is missing");
	if (!ret && p->old_memory) {
		f->old_memory = strdup(p->old_memory);
		ret = f->old_memory ? 0 : error_set(e, -ENOMEM, "out of memory");
	}
	if (!ret)
		ret = open_memory(f, p, id, e);
	if (!ret)
		ret = check_apart(f, p, e);
	if (!ret)
		ret = p->state_path ? open_state(f, p, e) :
		      save_directory_create(&f->directory, p->directory, e);
	if (ret) {
		save_files_destroy(f);
		return ret;
	}
	*out = f;
	return 0;
}

void save_files_destroy(struct save_files *f)
{
	if (!f)
		return;
	save_directory_destroy(f->directory);
	place_deinit(&f->other);
	place_deinit(&f->state);
	place_deinit(&f->memory);
	free(f->old_memory);
	free(f);
}

int save_files_memory(struct save_files *f, struct error *e)
{
	int fd;

	if (f->memory.lock_fd < 0)
		return save_directory_file(f->directory, MEMORY, e);
	fd = fcntl(f->memory.lock_fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? error_errno(e, -errno, MEMORY) : fd;
}

const char *save_files_memory_name(const struct save_files *f)
{
	return f->memory_name;
}

int save_files_write(struct save_files *f, const char *name, const void *data,
		     size_t len_bytes, struct error *e)
{
	struct place *p = strcmp(name, STATE) ? &f->other : &f->state;
	int fd, ret;

	if (f->directory) {
		fd = save_directory_file(f->directory, name, e);
		return fd < 0 ? fd : save_file(fd, data, len_bytes, name, e);
	}
	if (p->parent_fd < 0)
		return 0;
	ret = p->lock_fd < 0 ? place_create(p, e) : 0;
	if (ret)
		return ret;
	fd = fcntl(p->lock_fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return error_errno(e, -errno, "%s", name);
	return save_file(fd, data, len_bytes, name, e);
}

/* A file of the user's that merely is called so is left alone. */
static void remove_old(const struct save_files *f)
{
	size_t len = strlen(f->memory_prefix);
	const char *id = f->old_memory ? f->old_memory + len : NULL;

	if (!len || !id || strncmp(f->old_memory, f->memory_prefix, len) ||
	    strlen(id) != 2 * SAVE_FILES_ID_BYTES ||
	    strspn(id, "0123456789abcdef") != strlen(id) ||
	    !strcmp(f->old_memory, f->memory_name))
		return;
	unlink(f->old_memory);
}

static bool state_in_place(const struct save_files *f)
{
	return f->directory ? save_directory_in_place(f->directory) :
			      f->state.lock_fd < 0;
}

int save_files_commit(struct save_files *f, struct error *e)
{
	int ret = place_commit(&f->memory, e);

	if (!ret)
		ret = place_commit(&f->other, e);
	if (!ret)
		ret = f->directory ? save_directory_commit(f->directory, e) :
				     place_commit(&f->state, e);
	if (!ret)
		remove_old(f);
	else if (f->memory.parent_fd >= 0 && f->memory.lock_fd < 0 &&
		 !state_in_place(f))
		unlinkat(f->memory.parent_fd, f->memory.name, 0);
	return ret;
}
