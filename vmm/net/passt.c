/* SPDX-License-Identifier: MIT */
/*
 * A passt of our own: a user's network without privileges. It gets one end of a
 * socket pair, goes into the background when it is ready and ends when it sees
 * the other end closed, also when mote is killed. Main thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "net/net.h"

#define READY_MS	20000
#define END_MS		2000
/* The child's numbers for what it inherits. */
#define SOCKET_FD	3
#define PID_FD		4

extern char **environ;

struct passt {
	struct net_backend base;	/* a copy, with ops of our own */
	struct net_backend *stream;
	int pidfd;			/* -1: not known */
};

static struct net_backend *stream_of(struct net_backend *b)
{
	return ((struct passt *)b)->stream;
}

static ssize_t passt_receive(struct net_backend *b, unsigned int pair,
			     const struct iovec *iov, unsigned int count)
{
	return stream_of(b)->ops->receive(stream_of(b), pair, iov, count);
}

static int passt_send(struct net_backend *b, unsigned int pair,
		      const struct iovec *iov, unsigned int count)
{
	return stream_of(b)->ops->send(stream_of(b), pair, iov, count);
}

static int passt_flush(struct net_backend *b)
{
	return stream_of(b)->ops->flush(stream_of(b));
}

/* Returns when it is gone, or does not go: nothing of it is left behind. */
static void passt_destroy(struct net_backend *b)
{
	struct passt *p = (struct passt *)b;
	struct pollfd end = { .fd = p->pidfd, .events = POLLIN };

	net_backend_destroy(p->stream);
	if (p->pidfd >= 0) {
		syscall(SYS_pidfd_send_signal, p->pidfd, SIGTERM, NULL, 0);
		poll(&end, 1, END_MS);
		close(p->pidfd);
	}
	free(p);
}

static const struct net_backend_ops passt_ops = {
	.receive = passt_receive,
	.send = passt_send,
	.flush = passt_flush,
	.destroy = passt_destroy,
};

/*
 * Its last words, on one line: what is in fd from the start, without the
 * complaints that nobody reads the system's log, as in containers.
 */
static void read_words(int fd, char *text, size_t size)
{
	static const char noise[] = "Failed to send ";
	char all[1000];
	ssize_t n = pread(fd, all, sizeof(all) - 1, 0);
	char *line, *rest = all;
	size_t used = 0;

	all[n < 0 ? 0 : n] = '\0';
	text[0] = '\0';
	while ((line = strsep(&rest, "\n")) && used < size) {
		if (!*line || !strncmp(line, noise, sizeof(noise) - 1))
			continue;
		used += (size_t)snprintf(text + used, size - used, "%s%s",
					 used ? "; " : "", line);
	}
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = ' ';
}

static int pidfd_of(int pid_fd)
{
	char text[32];
	ssize_t n = pread(pid_fd, text, sizeof(text) - 1, 0);
	long pid;

	text[n < 0 ? 0 : n] = '\0';
	pid = strtol(text, NULL, 10);
	return pid > 1 ? (int)syscall(SYS_pidfd_open, (pid_t)pid, 0) : -1;
}

/* 0 when it is ready, in the background. */
static int wait_ready(pid_t pid, int words_fd, struct error *e)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), status = 0;
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	char words[300];
	bool late = pidfd >= 0 && poll(&p, 1, READY_MS) == 0;

	if (late)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (pidfd >= 0)
		close(pidfd);
	if (late)
		return error_set(e, -ETIMEDOUT, "passt is not ready after %d "
				 "seconds", READY_MS / 1000);
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	read_words(words_fd, words, sizeof(words));
	return error_set(e, -EIO, "passt refuses: %s",
			 *words ? words : "it does not say why");
}

static int start(pid_t *pid, int socket_fd, int pid_fd, int words_fd)
{
	char *argv[] = { "passt", "--quiet", "--fd", "3", "--pid",
			 "/proc/self/fd/4", NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int ret;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	child_set_signals(&attr, 0);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null",
					 O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&actions, words_fd, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, words_fd, STDERR_FILENO);
	posix_spawn_file_actions_adddup2(&actions, socket_fd, SOCKET_FD);
	posix_spawn_file_actions_adddup2(&actions, pid_fd, PID_FD);
	ret = posix_spawnp(pid, argv[0], &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -ret;
}

/* Away from the numbers that the child's are moved to. */
static int move_up(int fd)
{
	int up = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 16);

	if (fd >= 0)
		close(fd);
	return up;
}

static int run(int socket_fd, int *pidfd, struct error *e)
{
	int pid_fd = move_up(memfd_create("passt-pid", MFD_CLOEXEC));
	int words_fd = move_up(memfd_create("passt-words", MFD_CLOEXEC));
	pid_t pid;
	int ret;

	if (pid_fd < 0 || words_fd < 0) {
		ret = error_errno(e, -errno, "passt: memfd");
		goto out;
	}
	ret = start(&pid, socket_fd, pid_fd, words_fd);
	if (ret == -ENOENT)
		error_config(e, ret, "there is no passt on the PATH: it is in "
			     "the package passt");
	else if (ret)
		error_errno(e, ret, "passt");
	else
		ret = wait_ready(pid, words_fd, e);
	if (!ret)
		*pidfd = pidfd_of(pid_fd);
out:
	if (pid_fd >= 0)
		close(pid_fd);
	if (words_fd >= 0)
		close(words_fd);
	return ret;
}

int net_passt_create(struct net_backend **out, struct error *e)
{
	struct passt *p = calloc(1, sizeof(*p));
	int pair[2], ret;

	if (!p)
		return error_set(e, -ENOMEM, "out of memory");
	p->pidfd = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		ret = error_errno(e, -errno, "passt: socketpair");
		goto err_free;
	}
	pair[1] = move_up(pair[1]);
	ret = net_stream_create(&p->stream, pair[0], e);
	if (ret) {
		close(pair[0]);
		close(pair[1]);
		goto err_free;
	}
	ret = run(pair[1], &p->pidfd, e);
	close(pair[1]);
	if (ret) {
		net_backend_destroy(p->stream);
		goto err_free;
	}
	p->base = *p->stream;
	p->base.ops = &passt_ops;
	*out = &p->base;
	return 0;

err_free:
	free(p);
	return ret;
}
