/* SPDX-License-Identifier: MIT */
/*
 * Standard input and output, a terminal or not. Loop's thread (main).
 *
 * The open file descriptions of 0 and 1 may be shared with the shell and other
 * processes, so they are not made non-blocking: a terminal or a pipe is opened
 * anew by /proc, sockets need no flag, and a regular file, whose position must
 * stay shared, does not block for long. Only where /proc does not help is the
 * flag set, and set back in the end (terminal.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "char/backend.h"
#include "char/escape.h"
#include "char/terminal.h"

/* How often a process in the background looks whether it is in the foreground
 * again: not every shell sends SIGCONT to one that was running. */
#define FOREGROUND_POLL_NS	500000000

struct stdio {
	int tty_in;		/* 0 when it is a terminal, or -1 */
	int tty_out;		/* 1 when it is a terminal, or -1 */
	bool taken;		/* this is the terminal of terminal.c */
	struct escape escape;
	struct loop_timer poll;	/* while in the background */
};

/*
 * A descriptor of our own for fd, or -1: closed by whoever started us. It does
 * not block, as far as its kind could.
 */
static int own_descriptor(int fd, int flags)
{
	char path[32];
	struct stat st;
	int own;

	if (fstat(fd, &st))
		return -1;
	if (S_ISFIFO(st.st_mode) || isatty(fd)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (own >= 0)
			return own;
		terminal_share_nonblock(fd);
	}
	return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* True when the terminal may be read from; it is raw then. */
static bool take_terminal(struct stdio *s)
{
	if (!terminal_is_ours(s->tty_in))
		return false;
	if (!s->taken)
		s->taken = !terminal_take(s->tty_in);
	else if (!chardev_terminal_is_raw())
		terminal_retake();
	return true;
}

static bool stdio_may_read(struct chardev *c)
{
	struct stdio *s = c->backend;

	if (s->tty_in < 0 || take_terminal(s))
		return true;
	loop_timer_set(&s->poll, FOREGROUND_POLL_NS, 0);
	return false;
}

static void on_poll(void *opaque)
{
	struct chardev *c = opaque;
	struct stdio *s = c->backend;

	/* Who had the terminal meanwhile has set it to their liking. */
	if (s->taken && terminal_is_ours(s->tty_in))
		terminal_retake();
	chardev_resume_input(c);
}

static void stdio_size(struct chardev *c, uint16_t *columns, uint16_t *rows)
{
	const struct stdio *s = c->backend;

	terminal_size(s->tty_out >= 0 ? s->tty_out : s->tty_in, columns, rows);
}

static void stdio_update(struct chardev *c)
{
	struct stdio *s = c->backend;
	uint16_t columns, rows;

	if (s->taken && terminal_is_ours(s->tty_in))
		terminal_retake();
	stdio_size(c, &columns, &rows);
	chardev_resized(c, columns, rows);
}

static void press(struct chardev *c, enum escape_key key)
{
	switch (key) {
	case ESCAPE_QUIT:
		if (c->key_fn)
			c->key_fn(c->key_opaque, CHARDEV_KEY_QUIT);
		break;
	case ESCAPE_STATUS:
		if (c->key_fn)
			c->key_fn(c->key_opaque, CHARDEV_KEY_STATUS);
		break;
	case ESCAPE_BREAK:
		if (c->client->break_received)
			c->client->break_received(c->client_opaque);
		break;
	case ESCAPE_HELP:
		(void)!write(STDERR_FILENO, escape_help, strlen(escape_help));
		break;
	case ESCAPE_NONE:
		break;
	}
}

static void stdio_filter(struct chardev *c, const uint8_t *data, size_t len)
{
	struct stdio *s = c->backend;
	uint8_t out[512];

	if (s->tty_in < 0) {
		chardev_input(c, data, len);
		return;
	}
	while (len) {
		size_t part = len < sizeof(out) / 2 ? len : sizeof(out) / 2;
		size_t out_len, n;
		enum escape_key key;

		n = escape_scan(&s->escape, data, part, out, &out_len, &key);
		chardev_input(c, out, out_len);
		press(c, key);
		data += n;
		len -= n;
	}
}

/* Whoever read our output has gone, or there is no terminal any more. */
static void stdio_output_failed(struct chardev *c, int err)
{
	if (err == -ENOSPC || err == -EDQUOT || err == -EFBIG)
		chardev_drop_stage(c);
	else
		chardev_output_dead(c);
}

static int stdio_open(struct chardev *c, const struct config_char *cfg,
		      struct error *e)
{
	struct stdio *s = calloc(1, sizeof(*s));
	int in, out, ret;

	(void)cfg;
	if (!s)
		return error_errno(e, -ENOMEM, "stdio");
	if (!terminal_claim()) {
		free(s);
		return error_config(e, -EBUSY, "stdio: used by two devices");
	}
	s->poll.watch.fd = -1;
	s->tty_in = isatty(STDIN_FILENO) ? STDIN_FILENO : -1;
	s->tty_out = isatty(STDOUT_FILENO) ? STDOUT_FILENO : -1;
	c->backend = s;
	if (s->tty_in >= 0) {
		ret = loop_timer_init(c->loop, &s->poll, on_poll, c);
		if (ret)
			return error_errno(e, ret, "stdio");
		take_terminal(s);
	}
	stdio_size(c, &c->columns, &c->rows);
	in = own_descriptor(STDIN_FILENO, O_RDONLY);
	out = own_descriptor(STDOUT_FILENO, O_WRONLY);
	chardev_attach(c, in, out);
	if (out < 0)
		chardev_output_dead(c);
	return 0;
}

static void stdio_close(struct chardev *c)
{
	struct stdio *s = c->backend;

	loop_timer_deinit(&s->poll);
	terminal_release();
	free(s);
	c->backend = NULL;
}

const struct chardev_backend_ops stdio_backend = {
	.name = "stdio",
	.open = stdio_open,
	.close = stdio_close,
	.filter = stdio_filter,
	.may_read = stdio_may_read,
	.output_failed = stdio_output_failed,
	.update = stdio_update,
	.size = stdio_size,
};
