/* SPDX-License-Identifier: MIT */
/*
 * The process's terminal. Loop's thread (main); chardev_restore_terminal() also
 * in signal handlers, chardev_terminal_is_raw() on any thread.
 */
#include "char/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "char/chardev.h"

#define SHARED_MAX	2

/*
 * The one exception to "no globals": a terminal belongs to the process, and a
 * handler of a fatal signal has no argument by which to find it. What is kept
 * does not change between the stores to `held` and `shared`.
 */
static struct {
	atomic_bool claimed;
	atomic_int held;	/* 0, or the descriptor + 1 */
	atomic_bool raw;
	struct termios saved;
	struct termios ours;
	atomic_int shared;	/* entries of the arrays */
	int shared_fd[SHARED_MAX];
	int shared_flags[SHARED_MAX];
} terminal;

bool terminal_is_ours(int fd)
{
	pid_t group = tcgetpgrp(fd);

	return group < 0 || group == getpgrp();
}

/*
 * SIGTTOU would stop a process that has just lost the foreground: blocked, the
 * call goes through (POSIX 2017, XBD 11.1.4). Async-signal-safe.
 */
static void set_attributes(int fd, const struct termios *t)
{
	sigset_t block, old;

	sigemptyset(&block);
	sigaddset(&block, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &block, &old);
	tcsetattr(fd, TCSANOW, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

bool terminal_claim(void)
{
	return !atomic_exchange(&terminal.claimed, true);
}

int terminal_take(int fd)
{
	if (tcgetattr(fd, &terminal.saved))
		return -errno;
	terminal.ours = terminal.saved;
	cfmakeraw(&terminal.ours);
	terminal.ours.c_cc[VMIN] = 1;
	terminal.ours.c_cc[VTIME] = 0;
	atomic_store(&terminal.held, fd + 1);
	terminal_retake();
	return 0;
}

void terminal_retake(void)
{
	int fd = atomic_load(&terminal.held) - 1;

	if (fd < 0)
		return;
	atomic_store(&terminal.raw, true);
	set_attributes(fd, &terminal.ours);
}

int terminal_share_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL), n = atomic_load(&terminal.shared);

	if (flags < 0)
		return -errno;
	if (flags & O_NONBLOCK)
		return 0;
	if (n == SHARED_MAX)
		return -EBUSY;
	terminal.shared_fd[n] = fd;
	terminal.shared_flags[n] = flags;
	atomic_store(&terminal.shared, n + 1);
	return fcntl(fd, F_SETFL, flags | O_NONBLOCK) ? -errno : 0;
}

void chardev_restore_terminal(void)
{
	int fd = atomic_load(&terminal.held) - 1;
	int shared = atomic_load(&terminal.shared);
	int saved_errno = errno;

	/* In the background the terminal is another's, who has set it. */
	if (fd >= 0 && atomic_exchange(&terminal.raw, false) &&
	    terminal_is_ours(fd))
		set_attributes(fd, &terminal.saved);
	for (int i = 0; i < shared; i++)
		fcntl(terminal.shared_fd[i], F_SETFL, terminal.shared_flags[i]);
	errno = saved_errno;
}

void terminal_release(void)
{
	chardev_restore_terminal();
	atomic_store(&terminal.held, 0);
	atomic_store(&terminal.shared, 0);
	atomic_store(&terminal.claimed, false);
}

bool chardev_terminal_is_raw(void)
{
	return atomic_load(&terminal.raw);
}

void terminal_size(int fd, uint16_t *columns, uint16_t *rows)
{
	struct winsize w;

	*columns = *rows = 0;
	if (fd >= 0 && !ioctl(fd, TIOCGWINSZ, &w)) {
		*columns = w.ws_col;
		*rows = w.ws_row;
	}
}
