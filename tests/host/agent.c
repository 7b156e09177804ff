// SPDX-License-Identifier: MIT
/*
 * The first process inside the test host: runs one command and relays between it and tests/host/run on the outside, over one
 * virtio port. One thread.
 *
 * Everything is framed, {type, length} and payload, in one ordered stream a direction, so that the last word, the exit status, cannot
 * overtake output:
 *   from outside  'a' an argument · 'e' NAME=VALUE for the environment · 'p' run on pipes, one for both outputs if there is a payload · 't' run on a terminal, payload {rows, columns}
 *                 'i' input, empty at its end · 'w' new window size {rows, columns}
 *   to outside    'o' standard output · 'e' standard error · 'x' exit status {uint32}
 * When the outside goes away, so does the machine.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>


enum { CHUNK = 32768, LINGER_MS = 1000 };

struct frame {
	uint32_t type;
	uint32_t len;
};

struct command {
	char **argv;
	size_t argc;
	pid_t pid;
	int in, out, err; /* our ends; -1 when closed or not there */
	bool terminal;
	bool merged; /* standard error goes where standard output goes, in order */
	struct winsize size;
};

static _Noreturn void machine_stop(void)
{
	sync();
	reboot(RB_AUTOBOOT);
	_exit(1);
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static void port_write(int port, const void *data, size_t len)
{
	for (const char *p = data; len > 0;) {
		ssize_t n = write(port, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			machine_stop();
		p += n;
		len -= (size_t)n;
	}
}

static void port_send(int port, char type, const void *data, size_t len)
{
	struct frame frame = { (uint32_t)type, (uint32_t)len };

	port_write(port, &frame, sizeof(frame));
	port_write(port, data, len);
}

static void port_read(int port, void *data, size_t len)
{
	for (char *p = data; len > 0;) {
		ssize_t n = read(port, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			machine_stop();
		p += n;
		len -= (size_t)n;
	}
}

static char *port_receive(int port, struct frame *frame)
{
	port_read(port, frame, sizeof(*frame));
	char *payload = malloc((size_t)frame->len + 1);
	if (!payload)
		machine_stop();
	port_read(port, payload, frame->len);
	payload[frame->len] = '\0';
	return payload;
}

/* The port reads as closed until the outside's "open" message has come. */
static int port_open(const char *path)
{
	int port = open(path, O_RDWR | O_CLOEXEC);

	if (port < 0)
		err(1, "%s", path);
	struct pollfd p = { .fd = port, .events = POLLIN };
	while (poll(&p, 1, -1) == 1 && !(p.revents & POLLIN))
		sleep_ms(1);
	return port;
}

static void command_add_argument(struct command *c, char *arg)
{
	c->argv = realloc(c->argv, (c->argc + 2) * sizeof(*c->argv));
	if (!c->argv)
		machine_stop();
	c->argv[c->argc++] = arg;
	c->argv[c->argc] = NULL;
}

static void command_set_size(struct command *c, const char *payload, size_t len)
{
	uint16_t size[2];

	if (len != sizeof(size))
		return;
	memcpy(size, payload, sizeof(size));
	c->size.ws_row = size[0];
	c->size.ws_col = size[1];
}

/* Frames up to the one that says go. */
static void command_receive(struct command *c, int port)
{
	for (;;) {
		struct frame frame;
		char *payload = port_receive(port, &frame);

		switch (frame.type) {
		case 'a':
			command_add_argument(c, payload);
			break;
		case 'e':
			putenv(payload);
			break;
		case 't':
			c->terminal = true;
			command_set_size(c, payload, frame.len);
			free(payload);
			return;
		case 'p':
			c->merged = frame.len > 0;
			free(payload);
			return;
		default:
			machine_stop();
		}
	}
}

static _Noreturn void command_exec(struct command *c)
{
	signal(SIGPIPE, SIG_DFL);
	execvp(c->argv[0], c->argv);
	warn("%s", c->argv[0]);
	_exit(errno == ENOENT ? 127 : 126);
}

static void command_start_terminal(struct command *c)
{
	c->pid = forkpty(&c->in, NULL, NULL, &c->size);
	if (c->pid == 0)
		command_exec(c);
	if (c->pid < 0)
		err(1, "forkpty");
	c->out = fcntl(c->in, F_DUPFD_CLOEXEC, 3);
	c->err = -1;
}

static void command_start_pipes(struct command *c)
{
	int in[2], out[2], error[2];

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(error, O_CLOEXEC))
		err(1, "pipe");
	c->pid = fork();
	if (c->pid == 0) {
		setsid();
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(c->merged ? out[1] : error[1], 2);
		command_exec(c);
	}
	if (c->pid < 0)
		err(1, "fork");
	close(in[0]);
	close(out[1]);
	close(error[1]);
	c->in = in[1];
	c->out = out[0];
	c->err = error[0];
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Forward what is there; closes the descriptor at its end. A terminal ends with EIO. */
static void relay_output(int port, char type, int *fd)
{
	static char buf[CHUNK];
	ssize_t n = read(*fd, buf, sizeof(buf));

	if (n > 0)
		port_send(port, type, buf, (size_t)n);
	else if (n == 0 || (errno != EINTR && errno != EAGAIN))
		close_fd(fd);
}

struct input {
	char *data; /* NULL: nothing pending, the next frame may be read */
	size_t len, done;
};

static void relay_frame(int port, struct command *c, struct input *input)
{
	struct frame frame;
	char *payload = port_receive(port, &frame);

	if (frame.type == 'w') {
		command_set_size(c, payload, frame.len);
		if (c->terminal)
			ioctl(c->out, TIOCSWINSZ, &c->size);
	} else if (frame.type == 'i' && frame.len == 0) {
		close_fd(&c->in);
	} else if (frame.type == 'i' && c->in >= 0) {
		*input = (struct input){ payload, frame.len, 0 };
		return;
	}
	free(payload);
}

static void relay_input(struct command *c, struct input *input)
{
	ssize_t n = write(c->in, input->data + input->done, input->len - input->done);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n < 0)
		close_fd(&c->in);
	else
		input->done += (size_t)n;
	if (n < 0 || input->done == input->len) {
		free(input->data);
		input->data = NULL;
	}
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void child_died(int sig)
{
	(void)sig; /* only there to interrupt ppoll */
}

/* Everybody's orphans end here. */
static bool reap(pid_t pid, int *status)
{
	bool found = false;
	int s;

	for (pid_t p; (p = waitpid(-1, &s, WNOHANG)) > 0;) {
		if (p == pid) {
			*status = s;
			found = true;
		}
	}
	return found;
}

/*
 * Until the command is gone and its output has ended. Output that a left-behind process keeps open is not waited for longer than
 * LINGER_MS.
 */
static int relay(int port, struct command *c, const sigset_t *waiting)
{
	struct input input = { 0 };
	int status = 0;
	long deadline = 0;

	while (deadline == 0 || ((c->out >= 0 || c->err >= 0) && now_ms() < deadline)) {
		if (deadline == 0 && reap(c->pid, &status))
			deadline = now_ms() + LINGER_MS;
		struct pollfd p[] = {
			{ .fd = input.data ? -1 : port, .events = POLLIN },
			{ .fd = input.data ? c->in : -1, .events = POLLOUT },
			{ .fd = c->out, .events = POLLIN },
			{ .fd = c->err, .events = POLLIN },
		};
		struct timespec tick = { .tv_nsec = 50 * 1000000 };
		if (ppoll(p, 4, deadline ? &tick : NULL, waiting) <= 0)
			continue;
		if (p[0].revents)
			relay_frame(port, c, &input);
		if (p[1].revents)
			relay_input(c, &input);
		if (p[2].revents)
			relay_output(port, 'o', &c->out);
		if (p[3].revents)
			relay_output(port, 'e', &c->err);
	}
	return status;
}

/*
 * QEMU's SVM emulation changes the CPU's word of pending interrupts at every VM exit without a lock, and so loses, now and then, the
 * interrupt that another thread is raising at that moment. The local APIC still knows it and raises it again with the next one that
 * comes; but when the lost one was the one-shot timer, nothing may come any more. The RTC's periodic interrupt is edge-triggered, so
 * that it comes again whatever became of the one before; the kernel's driver acknowledges it and does nothing else.
 */
static void heartbeat_start(void)
{
	if (ioperm(0x70, 2, 1))
		err(1, "ioperm");
	outb(0x0a, 0x70); /* register A: 32768 >> (10 - 1) = 64 Hz */
	outb((unsigned char)((inb(0x71) & 0xf0) | 10), 0x71);
	outb(0x0b, 0x70); /* register B: periodic interrupt enable */
	outb(inb(0x71) | 0x40, 0x71);
}

int main(int argc, char **argv)
{
	struct command c = { .in = -1, .out = -1, .err = -1 };
	sigset_t blocked, before;

	if (argc < 2)
		errx(2, "usage: agent PORT [heartbeat]");
	signal(SIGPIPE, SIG_IGN);
	if (argc > 2)
		heartbeat_start();
	int port = port_open(argv[1]);
	command_receive(&c, port);
	if (c.argc == 0)
		machine_stop();
	if (c.terminal)
		command_start_terminal(&c);
	else
		command_start_pipes(&c);
	fcntl(c.in, F_SETFL, O_NONBLOCK);

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	sigaction(SIGCHLD, &(struct sigaction){ .sa_handler = child_died }, NULL);
	int status = relay(port, &c, &before);
	sync();
	uint32_t code = WIFSIGNALED(status) ? 128 + (uint32_t)WTERMSIG(status) : (uint32_t)WEXITSTATUS(status);
	port_send(port, 'x', &code, sizeof(code));
	for (;;)
		pause();
}
