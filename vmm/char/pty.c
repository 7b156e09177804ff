/* SPDX-License-Identifier: MIT */
/*
 * A pseudo-terminal of our own, loop's thread (main). While nobody has its
 * other side open, the kernel reports a hang-up and reads give EIO; then it is
 * looked at twice a second.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "char/backend.h"

#define POLL_NS		500000000
#define NAME_BYTES	64

struct pty {
	int master;
	struct loop_timer poll;
	bool connected;
};

static bool is_open(const struct pty *p)
{
	struct pollfd pfd = { .fd = p->master };

	return poll(&pfd, 1, 0) >= 0 && !(pfd.revents & POLLHUP);
}

static void look(void *opaque)
{
	struct chardev *c = opaque;
	struct pty *p = c->backend;
	int in, out;

	if (!is_open(p))
		goto again;
	in = fcntl(p->master, F_DUPFD_CLOEXEC, 0);
	out = fcntl(p->master, F_DUPFD_CLOEXEC, 0);
	if (in < 0 || out < 0) {
		if (in >= 0)
			close(in);
		if (out >= 0)
			close(out);
		goto again;
	}
	p->connected = true;
	chardev_attach(c, in, out);
	chardev_connected(c, true);
	return;

again:
	loop_timer_set(&p->poll, POLL_NS, 0);
}

static void disconnect(struct chardev *c, int err)
{
	struct pty *p = c->backend;

	(void)err;
	if (!p->connected)
		return;
	p->connected = false;
	chardev_detach(c);
	chardev_connected(c, false);
	loop_timer_set(&p->poll, POLL_NS, 0);
}

/* Raw from the start, whatever its first reader does; its last close leaves
 * the hang-up that look() waits to end. -errno */
static int set_raw(const char *name)
{
	int fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC), ret = 0;
	struct termios t;

	if (fd < 0)
		return -errno;
	if (!tcgetattr(fd, &t)) {
		cfmakeraw(&t);
		if (tcsetattr(fd, TCSANOW, &t))
			ret = -errno;
	} else {
		ret = -errno;
	}
	close(fd);
	return ret;
}

static int pty_make(struct pty *p, char name[NAME_BYTES])
{
	int ret;

	p->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (p->master < 0 || grantpt(p->master) || unlockpt(p->master))
		return -errno;
	ret = -ptsname_r(p->master, name, NAME_BYTES);
	return ret ? ret : set_raw(name);
}

static int pty_open(struct chardev *c, const struct config_char *cfg,
		    struct error *e)
{
	struct pty *p = calloc(1, sizeof(*p));
	char name[NAME_BYTES];
	int ret;

	(void)cfg;
	if (!p)
		return error_errno(e, -ENOMEM, "pty");
	p->master = -1;
	p->poll.watch.fd = -1;
	c->backend = p;
	ret = pty_make(p, name);
	if (!ret)
		ret = loop_timer_init(c->loop, &p->poll, look, c);
	if (!ret)
		ret = chardev_set_label(c, name);
	if (ret)
		return error_errno(e, ret, "pty");
	loop_timer_set(&p->poll, 1, 0);
	/* The user has no other way to learn the name. */
	dprintf(STDERR_FILENO, "mote: pty is %s\n", name);
	return 0;
}

static void pty_close(struct chardev *c)
{
	struct pty *p = c->backend;

	loop_timer_deinit(&p->poll);
	if (p->master >= 0)
		close(p->master);
	free(p);
	c->backend = NULL;
}

const struct chardev_backend_ops pty_backend = {
	.name = "pty",
	.drops_oldest = true,
	.open = pty_open,
	.close = pty_close,
	.input_ended = disconnect,
	.output_failed = disconnect,
};
