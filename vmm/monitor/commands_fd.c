/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that clients pass: by name, of one session, and in sets, of all.
 * Main thread.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/internal.h"

#define MAX_FDS 256		/* in each: a client's mistake must not eat all */

struct named_fd {
	struct named_fd *next;
	char *name;
	int fd;
};

struct set_fd {
	struct set_fd *next;
	unsigned int set;
	int fd;
	char *opaque;
};

int session_take_fd(struct session *s, struct error *e)
{
	int fd;

	if (!s->fd_count)
		return error_set(e, -ENOENT, "No file descriptor supplied via "
				 "SCM_RIGHTS");
	fd = s->fds[0];
	s->fd_count--;
	memmove(s->fds, s->fds + 1, s->fd_count * sizeof(s->fds[0]));
	return fd;
}

/* ---- by name ------------------------------------------------------------- */

static struct named_fd **find_named(struct session *s, const char *name)
{
	struct named_fd **link = &s->named_fds;

	while (*link && strcmp((*link)->name, name))
		link = &(*link)->next;
	return link;
}

static int take_named(struct session *s, const char *name)
{
	struct named_fd **link = find_named(s, name), *n = *link;
	int fd;

	if (!n)
		return -ENOENT;
	fd = n->fd;
	*link = n->next;
	free(n->name);
	free(n);
	return fd;
}

int session_named_fd(struct session *s, const char *name, struct error *e)
{
	int fd = take_named(s, name);

	if (fd < 0)
		error_set(e, fd, "File descriptor named '%s' not found", name);
	return fd;
}

/* The next of NAME[:NAME...] into buf, which has room for all; false: none. */
static bool next_name(const char **names, char *buf)
{
	size_t len;

	if (!*names)
		return false;
	len = strcspn(*names, ":");
	memcpy(buf, *names, len);
	buf[len] = '\0';
	*names = (*names)[len] ? *names + len + 1 : NULL;
	return true;
}

static int list_fds(struct session *s, const char *names, char *name, int *fds,
		    unsigned int max, unsigned int *count, struct error *e)
{
	for (*count = 0; next_name(&names, name); ++*count) {
		const struct named_fd *n = *find_named(s, name);

		if (!n)
			return error_set(e, -ENOENT, "File descriptor named "
					 "'%s' not found", name);
		if (*count == max)
			return error_set(e, -E2BIG, "more than %u descriptors",
					 max);
		for (unsigned int i = 0; i < *count; i++)
			if (fds[i] == n->fd)
				return error_set(e, -EINVAL, "descriptor '%s' "
						 "is there twice", name);
		fds[*count] = n->fd;
	}
	return 0;
}

int session_list_fds(struct session *s, const char *names, int *fds,
		     unsigned int max, unsigned int *count, struct error *e)
{
	char *name = malloc(strlen(names) + 1);
	int ret = name ? list_fds(s, names, name, fds, max, count, e) :
			 error_set(e, -ENOMEM, "out of memory");

	free(name);
	return ret;
}

void session_drop_fds(struct session *s, const char *names)
{
	char *name = malloc(strlen(names) + 1);

	while (name && next_name(&names, name)) {
		int fd = take_named(s, name);

		if (fd >= 0)
			close(fd);
	}
	free(name);
}

void session_close_fds(struct session *s)
{
	while (s->fd_count)
		close(s->fds[--s->fd_count]);
	while (s->named_fds)
		close(take_named(s, s->named_fds->name));
}

static int getfd(struct session *s, struct json_object *args,
		 struct json_object **result, struct error *e)
{
	const char *name = arg_string(args, "fdname");
	unsigned int count = 0;
	struct named_fd *n;
	int fd, old;

	(void)result;
	if (!*name || isdigit((unsigned char)*name))
		return error_set(e, -EINVAL, "Parameter 'fdname' expects a "
				 "name not starting with a digit");
	for (n = s->named_fds; n; n = n->next)
		count++;
	if (count >= MAX_FDS)
		return error_set(e, -EMFILE, "a client keeps at most %d "
				 "descriptors", MAX_FDS);
	fd = session_take_fd(s, e);
	if (fd < 0)
		return fd;
	n = calloc(1, sizeof(*n));
	if (n)
		n->name = strdup(name);
	if (!n || !n->name) {
		free(n);
		close(fd);
		return error_set(e, -ENOMEM, "out of memory");
	}
	/* The same name again: the new one counts. */
	old = take_named(s, name);
	if (old >= 0)
		close(old);
	n->fd = fd;
	n->next = s->named_fds;
	s->named_fds = n;
	return 0;
}

static int closefd(struct session *s, struct json_object *args,
		   struct json_object **result, struct error *e)
{
	int fd = session_named_fd(s, arg_string(args, "fdname"), e);

	(void)result;
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* ---- in sets ------------------------------------------------------------- */

int fdset_fd(const struct monitor *m, unsigned int set, bool readonly)
{
	for (const struct set_fd *f = m->fdsets; f; f = f->next) {
		int mode = fcntl(f->fd, F_GETFL) & O_ACCMODE;

		if (f->set == set &&
		    (mode == O_RDWR || (readonly && mode == O_RDONLY)))
			return f->fd;
	}
	return -ENOENT;
}

static void destroy_set_fd(struct set_fd *f)
{
	close(f->fd);
	free(f->opaque);
	free(f);
}

void fdsets_destroy(struct monitor *m)
{
	while (m->fdsets) {
		struct set_fd *f = m->fdsets;

		m->fdsets = f->next;
		destroy_set_fd(f);
	}
}

static bool set_exists(const struct monitor *m, uint64_t set)
{
	for (const struct set_fd *f = m->fdsets; f; f = f->next)
		if (f->set == set)
			return true;
	return false;
}

static int add_fd(struct session *s, struct json_object *args,
		  struct json_object **result, struct error *e)
{
	struct monitor *m = s->monitor;
	const char *opaque = arg_string(args, "opaque");
	uint64_t set = arg_uint(args, "fdset-id", UINT64_MAX);
	unsigned int count = 0;
	struct set_fd *f;
	int fd;

	for (f = m->fdsets; f; f = f->next)
		count++;
	if (count >= MAX_FDS)
		return error_set(e, -EMFILE, "there are %d descriptors in sets",
				 MAX_FDS);
	if (set == UINT64_MAX)
		for (set = 0; set_exists(m, set);)
			set++;
	if (set > INT32_MAX)
		return error_set(e, -ERANGE,
				 "Parameter 'fdset-id' is out of range");
	fd = session_take_fd(s, e);
	if (fd < 0)
		return fd;
	f = calloc(1, sizeof(*f));
	if (f && opaque)
		f->opaque = strdup(opaque);
	if (!f || (opaque && !f->opaque)) {
		free(f);
		close(fd);
		return error_set(e, -ENOMEM, "out of memory");
	}
	f->fd = fd;
	f->set = (unsigned int)set;
	f->next = m->fdsets;
	m->fdsets = f;
	*result = json_object_new_object();
	json_object_object_add(*result, "fdset-id",
			       json_object_new_int64((int64_t)set));
	json_object_object_add(*result, "fd", json_object_new_int(fd));
	return 0;
}

static int remove_fd(struct session *s, struct json_object *args,
		     struct json_object **result, struct error *e)
{
	uint64_t set = arg_uint(args, "fdset-id", 0);
	uint64_t fd = arg_uint(args, "fd", UINT64_MAX);
	struct set_fd **link = &s->monitor->fdsets, *f;
	bool found = false;

	(void)result;
	while ((f = *link)) {
		if (f->set == set &&
		    (fd == UINT64_MAX || (uint64_t)f->fd == fd)) {
			*link = f->next;
			destroy_set_fd(f);
			found = true;
		} else {
			link = &f->next;
		}
	}
	if (found)
		return 0;
	return error_set(e, -ENOENT, "File descriptor named 'fdset-id:%llu' "
			 "not found", (unsigned long long)set);
}

static const struct command_arg name_args[] = {
	{ "fdname", ARG_STRING, true },
	{ 0 },
};

static const struct command_arg add_args[] = {
	{ "fdset-id", ARG_UINT, false },
	{ "opaque", ARG_STRING, false },
	{ 0 },
};

static const struct command_arg remove_args[] = {
	{ "fdset-id", ARG_UINT, true },
	{ "fd", ARG_UINT, false },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "getfd",
		.help = "Keep the descriptor that comes along, fdname",
		.args = name_args,
		.run = getfd,
	}, {
		.name = "closefd",
		.help = "Close a descriptor that was kept, fdname",
		.args = name_args,
		.run = closefd,
	}, {
		.name = "add-fd",
		.help = "Put the descriptor that comes along into a set, "
			"[fdset-id]: /dev/fdset/N",
		.args = add_args,
		.run = add_fd,
	}, {
		.name = "remove-fd",
		.help = "Close a set's descriptors, fdset-id, [fd]",
		.args = remove_args,
		.run = remove_fd,
	},
};

const struct command_group fd_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
