/* SPDX-License-Identifier: MIT */
/* Listening Unix sockets. Main thread. */
#include "char/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define AGAIN_NS UINT64_C(1000000000)

static int bind_to(int fd, const struct sockaddr_un *addr)
{
	return bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) ?
	       -errno : 0;
}

/*
 * 0 when there is a socket at addr that nobody has open. Asked with a socket of
 * another type, so that a live listener does not see a client come and go: it
 * answers with EPROTOTYPE (connect(2)).
 */
static int check_stale(const struct sockaddr_un *addr)
{
	struct stat st;
	int fd, ret;

	if (lstat(addr->sun_path, &st))
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	ret = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) ?
	      -errno : -EADDRINUSE;
	close(fd);
	if (ret == -ECONNREFUSED)
		return 0;
	return ret == -EPROTOTYPE ? -EADDRINUSE : ret;
}

static int bind_replacing(int fd, const struct sockaddr_un *addr,
			  struct error *e)
{
	int ret = bind_to(fd, addr);

	if (ret == -EADDRINUSE) {
		ret = check_stale(addr);
		if (!ret && unlink(addr->sun_path))
			ret = -errno;
		if (!ret)
			ret = bind_to(fd, addr);
	}
	if (ret == -EADDRINUSE)
		return error_set(e, ret, "%s: another process listens there",
				 addr->sun_path);
	if (ret == -EEXIST)
		return error_set(e, ret, "%s: exists and is no socket",
				 addr->sun_path);
	if (ret)
		return error_errno(e, ret, "%s", addr->sun_path);
	return 0;
}

int listener_open(struct listener *l, const char *path, int backlog,
		  struct error *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct stat st;
	int ret;

	*l = (struct listener)LISTENER_INIT;
	if (strlen(path) >= sizeof(addr.sun_path))
		return error_config(e, -ENAMETOOLONG,
				    "%s: a socket's path has at most %zu bytes",
				    path, sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, path);
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return error_errno(e, -errno, "%s", path);
	ret = bind_replacing(l->fd, &addr, e);
	if (ret)
		goto err_close;
	l->path = strdup(path);
	if (!l->path || lstat(path, &st) || listen(l->fd, backlog)) {
		ret = error_errno(e, l->path ? -errno : -ENOMEM, "%s", path);
		goto err_unlink;
	}
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;

err_unlink:
	unlink(path);
	free(l->path);
	l->path = NULL;
err_close:
	close(l->fd);
	l->fd = -1;
	return ret;
}

int listener_adopt(struct listener *l, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	*l = (struct listener)LISTENER_INIT;
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC))
		return -errno;
	l->fd = fd;
	return 0;
}

static void on_readable(struct loop_watch *w, uint32_t events);

void listener_pause(struct listener *l)
{
	loop_remove(&l->watch);
	loop_timer_set(&l->again, 0, 0);
}

void listener_resume(struct listener *l)
{
	loop_remove(&l->watch);
	if (loop_add(l->loop, &l->watch, l->fd, EPOLLIN, on_readable, l))
		loop_timer_set(&l->again, AGAIN_NS, 0);
}

static void on_again(void *opaque)
{
	listener_resume(opaque);
}

static void on_readable(struct loop_watch *w, uint32_t events)
{
	struct listener *l = w->opaque;
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	/* These are about one client, who is gone again; but a socket that
	 * somebody has shut down stays ready and has no clients. */
	if (fd < 0 && !(events & EPOLLHUP) &&
	    (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
		return;
	if (fd < 0) {
		fd = -errno;
		/* The socket stays readable: the loop would spin. */
		listener_pause(l);
		loop_timer_set(&l->again, AGAIN_NS, 0);
	}
	l->fn(l->opaque, fd);
}

int listener_start(struct listener *l, struct loop *loop, listener_fn fn,
		   void *opaque)
{
	int ret = loop_timer_init(loop, &l->again, on_again, l);

	if (ret)
		return ret;
	l->loop = loop;
	l->fn = fn;
	l->opaque = opaque;
	return loop_add(loop, &l->watch, l->fd, EPOLLIN, on_readable, l);
}

void listener_close(struct listener *l)
{
	struct stat st;

	if (l->fd < 0)
		return;
	loop_remove(&l->watch);
	loop_timer_deinit(&l->again);
	/* Somebody may have put another socket there since. */
	if (l->path && !lstat(l->path, &st) && st.st_dev == l->dev &&
	    st.st_ino == l->ino)
		unlink(l->path);
	close(l->fd);
	free(l->path);
	*l = (struct listener)LISTENER_INIT;
}
