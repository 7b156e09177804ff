/* SPDX-License-Identifier: MIT */
/*
 * A Unix socket that is connected to, loop's thread (main). When the other side
 * leaves, that is the end, or it is tried again every reconnect_s seconds.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "char/backend.h"

struct peer {
	struct sockaddr_un addr;
	struct loop_timer again;	/* watch.fd is -1: never */
	uint64_t again_ns;
	bool connected;
};

/* A Unix socket's connect() does not take long: a full backlog is an error. */
static int connect_to(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int ret;

	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)addr, sizeof(*addr)))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

static int attach(struct chardev *c)
{
	struct peer *p = c->backend;
	int in = connect_to(&p->addr), out;

	if (in < 0)
		return in;
	out = fcntl(in, F_DUPFD_CLOEXEC, 0);
	if (out < 0) {
		out = -errno;
		close(in);
		return out;
	}
	p->connected = true;
	chardev_attach(c, in, out);
	chardev_connected(c, true);
	return 0;
}

static void try_later(struct peer *p)
{
	if (p->again.watch.fd >= 0)
		loop_timer_set(&p->again, p->again_ns, 0);
}

static void on_timer(void *opaque)
{
	struct chardev *c = opaque;

	if (attach(c))
		try_later(c->backend);
}

static void disconnect(struct chardev *c)
{
	struct peer *p = c->backend;

	if (!p->connected)
		return;
	p->connected = false;
	chardev_detach(c);
	chardev_connected(c, false);
	try_later(p);
}

/* Who has only shut down his sending side still gets output. */
static void connect_input_ended(struct chardev *c, int err)
{
	struct pollfd p = { .fd = c->in.fd };

	if (!err && !poll(&p, 1, 0))
		chardev_await_hangup(c);
	else
		disconnect(c);
}

static void connect_output_failed(struct chardev *c, int err)
{
	(void)err;
	disconnect(c);
}

static int connect_open(struct chardev *c, const struct config_char *cfg,
			struct error *e)
{
	struct peer *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return error_errno(e, -ENOMEM, "%s", cfg->path);
	p->again.watch.fd = -1;
	p->addr.sun_family = AF_UNIX;
	c->backend = p;
	if (strlen(cfg->path) >= sizeof(p->addr.sun_path))
		return error_errno(e, -ENAMETOOLONG, "%s", cfg->path);
	strcpy(p->addr.sun_path, cfg->path);
	ret = chardev_set_label(c, cfg->path);
	if (!ret && cfg->reconnect_s) {
		p->again_ns = cfg->reconnect_s * UINT64_C(1000000000);
		ret = loop_timer_init(c->loop, &p->again, on_timer, c);
	}
	if (ret)
		return error_errno(e, ret, "%s", cfg->path);
	ret = attach(c);
	if (!ret)
		return 0;
	try_later(p);
	return cfg->reconnect_s ? 0 : error_errno(e, ret, "%s", cfg->path);
}

static void connect_close(struct chardev *c)
{
	struct peer *p = c->backend;

	loop_timer_deinit(&p->again);
	free(p);
	c->backend = NULL;
}

const struct chardev_backend_ops connect_backend = {
	.name = "connect",
	.drops_oldest = true,
	.open = connect_open,
	.close = connect_close,
	.input_ended = connect_input_ended,
	.output_failed = connect_output_failed,
};
