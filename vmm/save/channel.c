/* SPDX-License-Identifier: MIT */
/* Channels. See channel.h for the threads. */
#include "save/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "char/listener.h"
#include "save/command.h"
#include "save/output.h"

/* How long a command may take to end when it has all that there is. */
#define COMMAND_END_MS	30000

struct channel {
	enum channel_direction direction;
	int fd;			/* -1: a socket's client has not come yet */
	struct listener listener;	/* never started */
	struct output output;
	int cancel_fd;
	bool regular;		/* a file that can have holes */
	uint64_t at;		/* bytes from its start */
	struct command command;
};

/* ---- opening -------------------------------------------------------------- */

static int open_file(struct channel *c, const char *path, struct error *e)
{
	int ret;

	if (c->direction == CHANNEL_OUT) {
		ret = output_open(&c->output, path);
		c->fd = c->output.fd;
	} else {
		/* A pipe without anybody at its other end must not hold us
		 * up. */
		c->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		ret = c->fd < 0 ? -errno : 0;
	}
	return ret ? error_errno(e, ret, "Could not open '%s'", path) : 0;
}

static int open_command(struct channel *c, const char *text, struct error *e)
{
	int ret = command_start(&c->command, text,
				c->direction == CHANNEL_OUT, &c->fd);

	return ret ? error_errno(e, ret, "exec:%s", text) : 0;
}

static int connect_socket(struct channel *c, const char *path, struct error *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (!*path || strlen(path) >= sizeof(a.sun_path))
		return error_set(e, -EINVAL, "unix:%s: no socket can have that "
				 "path", path);
	strcpy(a.sun_path, path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof(a)))
		return error_errno(e, -errno, "unix:%s", path);
	return 0;
}

static int open_socket(struct channel *c, const char *path, struct error *e)
{
	int ret;

	if (c->direction == CHANNEL_OUT)
		return connect_socket(c, path, e);
	ret = listener_open(&c->listener, path, 1, e);
	return ret ? error_prefix(e, ret, "unix") : 0;
}

static struct channel *new_channel(enum channel_direction direction)
{
	struct channel *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->direction = direction;
	c->fd = c->cancel_fd = -1;
	c->listener = (struct listener)LISTENER_INIT;
	c->output = (struct output)OUTPUT_INIT;
	c->command = (struct command)COMMAND_INIT;
	return c;
}

/* Holes are only for a file that is empty and written from its start. */
static void look(struct channel *c)
{
	struct stat st;

	c->regular = c->fd >= 0 && !fstat(c->fd, &st) && S_ISREG(st.st_mode) &&
		     !st.st_size && !lseek(c->fd, 0, SEEK_CUR);
}

int channel_open(struct channel **out, const char *uri,
		 enum channel_direction direction, struct error *e)
{
	static const struct {
		const char *scheme;
		int (*open)(struct channel *c, const char *rest,
			    struct error *e);
	} schemes[] = {
		{ "file:", open_file },
		{ "exec:", open_command },
		{ "unix:", open_socket },
	};
	struct channel *c;
	int ret;

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t len = strlen(schemes[i].scheme);

		if (strncmp(uri, schemes[i].scheme, len))
			continue;
		c = new_channel(direction);
		if (!c)
			return error_set(e, -ENOMEM, "out of memory");
		ret = schemes[i].open(c, uri + len, e);
		if (ret) {
			channel_close(c);
			return ret;
		}
		look(c);
		*out = c;
		return 0;
	}
	return error_set(e, -EINVAL, "'%.100s' is none of file:PATH, "
			 "exec:COMMAND and unix:PATH", uri);
}

int channel_from_fd(struct channel **out, int fd, struct error *e)
{
	struct channel *c = new_channel(CHANNEL_OUT);

	if (!c) {
		close(fd);
		return error_set(e, -ENOMEM, "out of memory");
	}
	c->fd = fd;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	look(c);
	*out = c;
	return 0;
}

void channel_close(struct channel *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	listener_close(&c->listener);
	output_close(&c->output);
	command_kill(&c->command);
	free(c);
}

void channel_set_cancel(struct channel *c, int cancel_fd)
{
	c->cancel_fd = cancel_fd;
}

/* ---- moving bytes --------------------------------------------------------- */

static int wait_for(struct channel *c, int fd, short events)
{
	struct pollfd p[] = {
		{ .fd = fd, .events = events },
		{ .fd = c->cancel_fd, .events = POLLIN },
	};

	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			return -errno;
	return p[1].revents ? -ECANCELED : 0;
}

static int accept_client(struct channel *c)
{
	int ret = wait_for(c, c->listener.fd, POLLIN);

	if (ret)
		return ret;
	c->fd = accept4(c->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (c->fd < 0)
		return errno == EAGAIN || errno == ECONNABORTED ? 0 : -errno;
	listener_close(&c->listener);
	return 0;
}

static bool again(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* Now and then, so that a channel that is always ready can be cancelled, too. */
static int check_cancel(struct channel *c)
{
	struct pollfd p = { .fd = c->cancel_fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0 ? -ECANCELED : 0;
}

int channel_write(struct channel *c, const void *data, size_t len_bytes)
{
	const uint8_t *from = data;
	int ret = check_cancel(c);

	while (!ret && len_bytes) {
		ssize_t n = write(c->fd, from, len_bytes);

		if (n < 0) {
			ret = again() ? wait_for(c, c->fd, POLLOUT) : -errno;
			continue;
		}
		from += n;
		len_bytes -= (size_t)n;
		c->at += (size_t)n;
	}
	return ret;
}

int channel_skip(struct channel *c, uint64_t len_bytes)
{
	static const uint8_t zeros[65536];
	int ret = 0;

	if (c->regular) {
		c->at += len_bytes;
		return lseek(c->fd, (off_t)c->at, SEEK_SET) < 0 ? -errno : 0;
	}
	while (!ret && len_bytes) {
		size_t n = len_bytes < sizeof(zeros) ? len_bytes :
						       sizeof(zeros);

		ret = channel_write(c, zeros, n);
		len_bytes -= n;
	}
	return ret;
}

int channel_read(struct channel *c, void *data, size_t len_bytes)
{
	uint8_t *to = data;
	int ret = check_cancel(c);

	while (!ret && c->fd < 0)
		ret = accept_client(c);
	while (!ret && len_bytes) {
		ssize_t n = read(c->fd, to, len_bytes);

		if (n < 0) {
			ret = again() ? wait_for(c, c->fd, POLLIN) : -errno;
			continue;
		}
		if (!n)
			return -ENODATA;
		to += n;
		len_bytes -= (size_t)n;
	}
	return ret;
}

/* ---- the end -------------------------------------------------------------- */

static int finish_file(struct channel *c)
{
	if (ftruncate(c->fd, (off_t)c->at) || fsync(c->fd))
		return -errno;
	return output_commit(&c->output);
}

static int finish_command(struct channel *c, int ret, struct error *e)
{
	int status;

	close(c->fd);
	c->fd = -1;
	/* Of what it did not take, or give, its own reason comes first. */
	if (ret == -ECANCELED)
		return error_set(e, ret, "cancelled");
	status = command_wait(&c->command, c->cancel_fd, COMMAND_END_MS);
	if (status == -ECANCELED)
		return error_set(e, status, "cancelled");
	if (status == -ETIMEDOUT)
		return error_set(e, status, "the command has not ended within "
				 "%d seconds", COMMAND_END_MS / 1000);
	if (status < 0)
		return error_errno(e, status, "the command");
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGPIPE)
		return error_set(e, -EIO, "the command was ended by signal %d",
				 WTERMSIG(status));
	if (WIFEXITED(status) && WEXITSTATUS(status))
		return error_set(e, -EIO, "the command ended with status %d",
				 WEXITSTATUS(status));
	return ret;
}

int channel_finish(struct channel *c, int ret, struct error *e)
{
	if (c->command.pid > 0) {
		int end = finish_command(c, ret, e);

		if (end != ret || ret == -ECANCELED)
			return end;
	} else if (!ret && c->direction == CHANNEL_OUT && c->regular) {
		ret = finish_file(c);
	}
	if (ret == -ECANCELED)
		return error_set(e, ret, "cancelled");
	if (ret == -ENODATA)
		return error_config(e, ret, "the stream ends too early");
	return ret ? error_errno(e, ret, c->direction == CHANNEL_OUT ?
				 "writing" : "reading") : 0;
}
