/* SPDX-License-Identifier: MIT */
/* The exit report. Main thread. */
#include "exit_report.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "utf8.h"

static struct json_object *rfc3339(const struct timespec *t)
{
	char date[40], text[64];
	struct tm tm;

	if (!t->tv_sec)
		return NULL;
	gmtime_r(&t->tv_sec, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%03ldZ", date, t->tv_nsec / 1000000);
	return json_object_new_string(text);
}

struct json_object *exit_report_json(const struct vm_exit_report *r)
{
	struct json_object *o = json_object_new_object();
	char reason[sizeof(r->reason)];

	if (!o)
		return NULL;
	json_object_object_add(o, "kind", json_object_new_string(
				       vm_exit_kind_name(r->kind)));
	json_object_object_add(o, "code", json_object_new_int(r->code));
	/* Paths in it need not be UTF-8, and it may have been cut. */
	memcpy(reason, r->reason, sizeof(reason));
	utf8_repair(reason, strlen(reason));
	json_object_object_add(o, "reason", json_object_new_string(reason));
	json_object_object_add(o, "started", rfc3339(&r->started));
	json_object_object_add(o, "stopped", rfc3339(&r->stopped));
	return o;
}

static int write_all(int fd, const char *text)
{
	struct iovec line[] = { { (char *)text, strlen(text) }, { "\n", 1 } };
	ssize_t n = writev(fd, line, 2);

	if (n < 0)
		return -errno;
	return n == (ssize_t)line[0].iov_len + 1 ? 0 : -ENOSPC;
}

/*
 * A pipe, a terminal, a symbolic link (/dev/stdout is one): written to, not
 * replaced. O_NONBLOCK: nobody may be there to read a FIFO.
 */
static bool is_special(const char *path)
{
	struct stat st;

	return !lstat(path, &st) && !S_ISREG(st.st_mode);
}

static int write_special(const char *path, const char *text)
{
	/* /dev/stdout may be the user's log. */
	bool device = !strncmp(path, "/dev/", 5) || !strncmp(path, "/proc/", 6);
	int fd = open(path, O_WRONLY | (device ? O_APPEND : O_TRUNC) |
			    O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int ret;

	/* A link to nothing yet: the file is made where it points. */
	if (fd < 0 && errno == ENOENT)
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0)
		return -errno;
	ret = write_all(fd, text);
	close(fd);
	return ret;
}

/* Whoever watches for the file sees it whole, or not at all. */
static int replace_file(const char *path, const char *text)
{
	char temporary[PATH_MAX];
	int fd, ret;

	if (snprintf(temporary, sizeof(temporary), "%s.%d", path, getpid()) >=
	    (int)sizeof(temporary))
		return -ENAMETOOLONG;
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return -errno;
	ret = write_all(fd, text);
	close(fd);
	if (!ret && rename(temporary, path))
		ret = -errno;
	if (ret)
		unlink(temporary);
	return ret;
}

int exit_report_check(const char *path, struct error *e)
{
	char directory[PATH_MAX];
	struct stat st;
	int ret = 0;

	if (snprintf(directory, sizeof(directory), "%s", path) >=
	    (int)sizeof(directory))
		ret = -ENAMETOOLONG;
	else if ((!stat(path, &st) && S_ISDIR(st.st_mode)) ||
		 path[strlen(path) - 1] == '/')
		ret = -EISDIR;
	else if (is_special(path))
		return 0;
	else if (access(dirname(directory), W_OK | X_OK))
		ret = -errno;
	return ret ? error_config(e, ret, "--exit-report: %s: %s", path,
				  strerror(-ret)) : 0;
}

int exit_report_write(const struct vm_exit_report *r, const char *path,
		      struct error *e)
{
	struct json_object *o = exit_report_json(r);
	const char *text;
	int ret = -ENOMEM;

	if (o) {
		text = json_object_to_json_string_ext(
			o, JSON_C_TO_STRING_PLAIN |
			   JSON_C_TO_STRING_NOSLASHESCAPE);
		ret = is_special(path) ? write_special(path, text) :
					 replace_file(path, text);
	}
	json_object_put(o);
	return ret ? error_errno(e, ret, "--exit-report: %s", path) : 0;
}
