/* SPDX-License-Identifier: MIT */
/* Shell commands. */
#include "save/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"

static int spawn(pid_t *pid, const char *text, bool we_write, int theirs)
{
	char *argv[] = { "sh", "-c", (char *)text, NULL };
	int ours = we_write ? STDIN_FILENO : STDOUT_FILENO;
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int ret;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setpgroup(&attr, 0);
	child_set_signals(&attr, POSIX_SPAWN_SETPGROUP);
	posix_spawn_file_actions_adddup2(&actions, theirs, ours);
	posix_spawn_file_actions_addopen(&actions,
					 we_write ? STDOUT_FILENO :
						    STDIN_FILENO,
					 "/dev/null", O_RDWR, 0);
	ret = posix_spawn(pid, "/bin/sh", &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -ret;
}

int command_start(struct command *c, const char *text, bool we_write, int *fd)
{
	int ends[2], ours = we_write ? 1 : 0, ret;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	ret = spawn(&c->pid, text, we_write, ends[!ours]);
	close(ends[!ours]);
	if (ret) {
		c->pid = 0;
		close(ends[ours]);
		return ret;
	}
	c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	fcntl(ends[ours], F_SETFL, O_NONBLOCK);
	*fd = ends[ours];
	return 0;
}

static int reap(struct command *c)
{
	int status = 0;

	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	c->pid = 0;
	if (c->pidfd >= 0)
		close(c->pidfd);
	c->pidfd = -1;
	return status;
}

int command_wait(struct command *c, int cancel_fd, int timeout_ms)
{
	struct pollfd p[] = {
		{ .fd = c->pidfd, .events = POLLIN },
		{ .fd = cancel_fd, .events = POLLIN },
	};
	int n;

	do
		n = poll(p, 2, timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (!n)
		return -ETIMEDOUT;
	return p[0].revents ? reap(c) : -ECANCELED;
}

void command_kill(struct command *c)
{
	if (c->pid <= 0)
		return;
	kill(-c->pid, SIGKILL);
	kill(c->pid, SIGKILL);
	reap(c);
}
