/* SPDX-License-Identifier: MIT */
/*
 * A listening Unix socket with one client at a time, loop's thread (main). A
 * second client is closed at once. A client that has only shut down its sending
 * side still gets output.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "char/backend.h"
#include "char/listener.h"

#define BACKLOG	4

struct unix_server {
	struct listener listener;
	bool connected;
};

static void disconnect(struct chardev *c)
{
	struct unix_server *u = c->backend;

	if (!u->connected)
		return;
	u->connected = false;
	chardev_detach(c);
	chardev_connected(c, false);
}

/*
 * While the guest takes no input nobody reads from the client, so its end has
 * not been seen: it must not keep the next one out.
 */
static bool client_has_gone(const struct chardev *c)
{
	struct pollfd p = { .fd = c->in.fd };

	return poll(&p, 1, 0) > 0;
}

static void on_client(void *opaque, int fd)
{
	struct chardev *c = opaque;
	struct unix_server *u = c->backend;
	int out;

	if (fd < 0)
		return;
	if (u->connected && client_has_gone(c))
		disconnect(c);
	out = u->connected ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (out < 0) {
		close(fd);
		return;
	}
	u->connected = true;
	chardev_attach(c, fd, out);
	chardev_connected(c, true);
}

static void unix_input_ended(struct chardev *c, int err)
{
	struct pollfd p = { .fd = c->in.fd };

	if (!err && !poll(&p, 1, 0))
		chardev_await_hangup(c);
	else
		disconnect(c);
}

static void unix_output_failed(struct chardev *c, int err)
{
	(void)err;
	disconnect(c);
}

static int unix_open(struct chardev *c, const struct config_char *cfg,
		     struct error *e)
{
	struct unix_server *u = calloc(1, sizeof(*u));
	int ret;

	if (!u)
		return error_errno(e, -ENOMEM, "%s", cfg->path);
	u->listener = (struct listener)LISTENER_INIT;
	c->backend = u;
	ret = listener_open(&u->listener, cfg->path, BACKLOG, e);
	if (ret)
		return ret;
	ret = chardev_set_label(c, cfg->path);
	if (!ret)
		ret = listener_start(&u->listener, c->loop, on_client, c);
	return ret ? error_errno(e, ret, "%s", cfg->path) : 0;
}

static void unix_close(struct chardev *c)
{
	struct unix_server *u = c->backend;

	listener_close(&u->listener);
	free(u);
	c->backend = NULL;
}

const struct chardev_backend_ops unix_backend = {
	.name = "unix",
	.drops_oldest = true,
	.open = unix_open,
	.close = unix_close,
	.input_ended = unix_input_ended,
	.output_failed = unix_output_failed,
};
