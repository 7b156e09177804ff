/* SPDX-License-Identifier: MIT */
/*
 * Starts a virtual machine monitor and prints how many nanoseconds after its
 * exec something happened:
 *
 *	measure ROOT marker TEXT SECONDS COMMAND [ARG…]
 *		TEXT was on its standard output
 *	measure ROOT entry SECONDS COMMAND [ARG…]
 *		KVM entered a guest for the first time (tracefs, so root)
 *	measure ROOT work SECONDS COMMAND [ARG…]
 *		the same, but only the time that its threads ran until then
 *
 * Then ends it, and all that it started. COMMAND is a path in ROOT, which
 * becomes its root directory unless that is "/". One thread. Exit status: 0, or
 * 1 with a line on stderr, also after SECONDS.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S	1000000000ll
#define TRACEFS		"/sys/kernel/tracing"
#define READ_SIZE	4096
#define MAX_TASKS	64

struct run {
	const char *root;
	pid_t pid;		/* also its process group */
	int in_fd;		/* never written: a silent, open input */
	int out_fd;
	int64_t *exec_ns;	/* shared with the child, which sets it */
	int64_t deadline_ns;
};

__attribute__((format(printf, 1, 2)))
static int fail(const char *fmt, ...)
{
	va_list ap;

	fputs("measure: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return -1;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static void exec_child(const struct run *r, int in_fd, int out_fd, char **argv)
{
	setpgid(0, 0);
	dup2(in_fd, STDIN_FILENO);
	dup2(out_fd, STDOUT_FILENO);
	if (strcmp(r->root, "/") && (chroot(r->root) || chdir("/"))) {
		fail("%s: %s", r->root, strerror(errno));
		_exit(127);
	}
	/* Nothing but the exec lies between the stamp and the new program. */
	*r->exec_ns = now_ns();
	execv(argv[0], argv);
	fail("%s: %s", argv[0], strerror(errno));
	_exit(127);
}

static int start(struct run *r, const char *seconds, char **argv)
{
	int in[2], out[2];

	r->exec_ns = mmap(NULL, sizeof(*r->exec_ns), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (r->exec_ns == MAP_FAILED || pipe2(in, O_CLOEXEC) ||
	    pipe2(out, O_CLOEXEC))
		return fail("%s", strerror(errno));
	r->in_fd = in[1];
	r->out_fd = out[0];
	r->deadline_ns = now_ns() + atoll(seconds) * NS_PER_S;
	r->pid = fork();
	if (r->pid < 0)
		return fail("fork: %s", strerror(errno));
	if (!r->pid)
		exec_child(r, in[0], out[1], argv);
	setpgid(r->pid, r->pid);
	close(in[0]);
	close(out[1]);
	return 0;
}

static void end(struct run *r)
{
	if (r->pid <= 0)
		return;
	kill(-r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
}

/* 1 when fd has something, also its end; 0 at the deadline. */
static int wait_for(const struct run *r, struct pollfd *fds, nfds_t count)
{
	int64_t left = r->deadline_ns - now_ns();

	return left > 0 && poll(fds, count, (int)(left / 1000000)) > 0;
}

static int report(const struct run *r, int64_t ns)
{
	if (ns < *r->exec_ns)
		return fail("clocks do not agree");
	printf("%lld\n", (long long)(ns - *r->exec_ns));
	return 0;
}

/* The marker may arrive in pieces: what could be its start is kept. */
static int wait_marker(const struct run *r, const char *marker)
{
	struct pollfd p = { .fd = r->out_fd, .events = POLLIN };
	size_t keep = strlen(marker) - 1, len = 0;
	char buf[2 * READ_SIZE];
	ssize_t n;

	while (wait_for(r, &p, 1)) {
		n = read(r->out_fd, buf + len, READ_SIZE);
		if (n <= 0)
			return fail("ended without printing '%s'", marker);
		len += (size_t)n;
		if (memmem(buf, len, marker, keep + 1))
			return report(r, now_ns());
		if (len > keep) {
			memmove(buf, buf + len - keep, keep);
			len = keep;
		}
	}
	return fail("did not print '%s' in time", marker);
}

static int put(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
	ssize_t len = (ssize_t)strlen(text);
	int ret = 0;

	if (fd < 0 || write(fd, text, (size_t)len) != len)
		ret = fail("%s/…/%s: %s", TRACEFS, name, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ret;
}

/* An instance of our own sees entries of our descendants only. */
static int trace_setup(int dir)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	return put(dir, "trace_clock", "mono") ||
	       put(dir, "options/event-fork", "1") ||
	       put(dir, "set_event_pid", pid) ||
	       put(dir, "events/kvm/kvm_entry/enable", "1");
}

/* "  vcpu 0-123  [000] d..1.  12.345678: EVENT: …"; -1: another event. */
static int64_t parse_time(const char *line, const char *event)
{
	const char *tail = strstr(line, event);
	long long s, us;

	if (!tail)
		return -1;
	while (tail > line && tail[-1] != ' ')
		tail--;
	if (sscanf(tail, "%lld.%6lld:", &s, &us) != 2)
		return -1;
	return s * NS_PER_S + us * 1000;
}

/* Time that the monitor's threads ran, from sched_switch. */
struct work {
	struct {
		pid_t tid;
		int64_t since_ns;	/* 0: does not run */
	} tasks[MAX_TASKS];
	size_t count;
	int64_t total_ns;
};

/* Also what has ended already, like a child that did a part of the work. */
static bool is_ours(const struct run *r, pid_t tid)
{
	pid_t group = getpgid(tid);

	return group == r->pid || (group < 0 && errno == ESRCH);
}

static void work_switch_in(struct work *w, const struct run *r, pid_t tid,
			   int64_t ns)
{
	size_t i;

	if (!tid || !is_ours(r, tid))
		return;
	for (i = 0; i < w->count && w->tasks[i].tid != tid; i++)
		;
	if (i == MAX_TASKS)
		return;
	if (i == w->count)
		w->count++;
	w->tasks[i].tid = tid;
	/* The first switch to the child may lie before its exec. */
	w->tasks[i].since_ns = ns > *r->exec_ns ? ns : *r->exec_ns;
}

static void work_switch_out(struct work *w, pid_t tid, int64_t ns)
{
	for (size_t i = 0; i < w->count; i++) {
		if (w->tasks[i].tid != tid)
			continue;
		if (w->tasks[i].since_ns && ns > w->tasks[i].since_ns)
			w->total_ns += ns - w->tasks[i].since_ns;
		w->tasks[i].since_ns = 0;
	}
}

static void work_line(struct work *w, const struct run *r, const char *line)
{
	int64_t ns = parse_time(line, ": sched_switch:");
	const char *prev = strstr(line, " prev_pid=");
	const char *next = strstr(line, " next_pid=");

	if (ns < 0 || !prev || !next)
		return;
	work_switch_out(w, atoi(prev + strlen(" prev_pid=")), ns);
	work_switch_in(w, r, atoi(next + strlen(" next_pid=")), ns);
}

/* 1 when the text, whole lines, has the first entry and it is reported. */
static int take_lines(const struct run *r, struct work *w, char *text)
{
	char *line, *rest;
	int64_t ns;

	for (line = strtok_r(text, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest)) {
		ns = parse_time(line, ": kvm_entry:");
		if (ns >= 0 && !w)
			return report(r, ns) ? -1 : 1;
		if (ns >= 0) {
			for (size_t i = 0; i < w->count; i++)
				work_switch_out(w, w->tasks[i].tid, ns);
			return report(r, *r->exec_ns + w->total_ns) ? -1 : 1;
		}
		if (w)
			work_line(w, r, line);
	}
	return 0;
}

/* Output is thrown away meanwhile: a full pipe would stop the monitor. */
static int wait_entry(const struct run *r, struct work *w, int pipe_fd)
{
	const struct timespec pause = { .tv_nsec = 200 * 1000 * 1000 };
	struct pollfd p[] = { { .fd = pipe_fd, .events = POLLIN },
			      { .fd = r->out_fd, .events = POLLIN } };
	char buf[READ_SIZE + 1];
	ssize_t n;
	int ret;

	while (wait_for(r, p, 2)) {
		/* Woken by each switch, we would be in the way. */
		if (w)
			nanosleep(&pause, NULL);
		if (p[0].revents) {
			/* At most a page, and whole lines, at a time. */
			n = read(pipe_fd, buf, READ_SIZE);
			if (n <= 0)
				return fail("trace: %s", strerror(errno));
			buf[n] = '\0';
			ret = take_lines(r, w, buf);
			if (ret)
				return ret < 0 ? ret : 0;
		} else if (read(r->out_fd, buf, READ_SIZE) <= 0) {
			return fail("ended without running a guest");
		}
	}
	return fail("did not run a guest in time");
}

static int run_traced(struct run *r, struct work *w, char **argv, int dir,
		      int pipe_fd)
{
	int ret = trace_setup(dir);

	if (!ret && w)
		ret = put(dir, "events/sched/sched_switch/enable", "1");
	if (!ret)
		ret = start(r, argv[0], argv + 1);
	if (!ret)
		ret = wait_entry(r, w, pipe_fd);
	end(r);
	put(dir, "events/enable", "0");
	return ret;
}

static int measure_entry(struct run *r, struct work *w, char **argv)
{
	char path[64];
	int dir, pipe_fd = -1, ret = -1;

	snprintf(path, sizeof(path), TRACEFS "/instances/mote-bench.%d",
		 getpid());
	if (mkdir(path, 0700))
		return fail("%s: %s", path, strerror(errno));
	dir = open(path, O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		pipe_fd = openat(dir, "trace_pipe", O_RDONLY | O_CLOEXEC);
	if (pipe_fd < 0)
		fail("%s/trace_pipe: %s", path, strerror(errno));
	else
		ret = run_traced(r, w, argv, dir, pipe_fd);
	if (pipe_fd >= 0)
		close(pipe_fd);
	if (dir >= 0)
		close(dir);
	rmdir(path);
	return ret;
}

static int measure_marker(struct run *r, char **argv)
{
	int ret = -1;

	if (!argv[0][0] || strlen(argv[0]) > READ_SIZE)
		return fail("no such marker");
	if (!start(r, argv[1], argv + 2))
		ret = wait_marker(r, argv[0]);
	end(r);
	return ret;
}

int main(int argc, char **argv)
{
	struct run r = { .pid = -1, .in_fd = -1, .out_fd = -1 };
	struct work w = { .count = 0 };

	if (argc > 1)
		r.root = argv[1];
	if (argc > 5 && !strcmp(argv[2], "marker"))
		return measure_marker(&r, argv + 3) ? 1 : 0;
	if (argc > 4 && !strcmp(argv[2], "entry"))
		return measure_entry(&r, NULL, argv + 3) ? 1 : 0;
	if (argc > 4 && !strcmp(argv[2], "work"))
		return measure_entry(&r, &w, argv + 3) ? 1 : 0;
	fail("ROOT {marker TEXT | entry | work} SECONDS COMMAND [ARG…]");
	return 1;
}
