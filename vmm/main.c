/* SPDX-License-Identifier: MIT */
/*
 * mote: subcommand → configuration → VM → event loop → exit status. The main
 * thread, and the only place that ends the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "char/chardev.h"
#include "config/cli.h"
#include "ctl.h"
#include "error.h"
#include "exit_report.h"
#include "log.h"
#include "merge.h"
#include "monitor/monitor.h"
#include "snapshot.h"
#include "vm.h"

/* Exit statuses: see `mote help run`. */
enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

/* What `mote run` and `mote restore` have open, in order of construction. */
struct run {
	struct cli_run cli;
	struct saved_vm *saved;		/* mote restore, until it is made */
	struct loop *loop;
	struct loop_watch signals;
	struct vm *vm;
	struct monitor *monitor;
};

static int fail(const struct error *e)
{
	error_say(e->text);
	return e->class == ERROR_INVALID_CONFIG ? STATUS_USAGE : STATUS_FAILED;
}

/* A crash leaves the user's terminal usable, and says so. */
static void on_fatal_signal(int sig)
{
	static const char why[] = "mote: ended by a fatal signal\n";

	chardev_restore_terminal();
	(void)!write(STDERR_FILENO, why, sizeof(why) - 1);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void catch_fatal_signals(void)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT,
				     SIGQUIT };
	struct sigaction sa = { .sa_handler = on_fatal_signal,
				.sa_flags = (int)SA_RESETHAND };

	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		sigaction(fatal[i], &sa, NULL);
	/* What writes gets an error instead: neither a client that leaves nor a
	 * guest that makes a file larger than its user may (RLIMIT_FSIZE) ends
	 * the VM. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

/*
 * A closed descriptor 0, 1 or 2 would become something else's number, and be
 * read or written as the user's terminal.
 */
static void open_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* Every device takes some: as many descriptors as the user may have. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

#define REASON_BYTES 64

static void quit_reason(char *reason, int sig)
{
	snprintf(reason, REASON_BYTES, "quit by signal %d (%s)", sig,
		 strsignal(sig));
}

static void on_signal(struct loop_watch *w, uint32_t events)
{
	struct run *r = w->opaque;
	struct signalfd_siginfo info;
	char reason[REASON_BYTES];

	(void)events;
	if (read(w->fd, &info, sizeof(info)) != sizeof(info))
		return;
	/* After a stop, too, the terminal may not be what it was. */
	if (info.ssi_signo == SIGWINCH || info.ssi_signo == SIGCONT) {
		vm_terminal_resized(r->vm);
		return;
	}
	quit_reason(reason, (int)info.ssi_signo);
	vm_end(r->vm, VM_EXIT_QUIT, STATUS_OK, reason);
}

/* A signal that means quit and waits for the loop to run, or 0. */
static int pending_quit(void)
{
	static const int quits[] = { SIGTERM, SIGINT, SIGHUP };
	sigset_t pending;

	sigpending(&pending);
	for (size_t i = 0; i < sizeof(quits) / sizeof(quits[0]); i++)
		if (sigismember(&pending, quits[i]) == 1)
			return quits[i];
	return 0;
}

static bool start_cancelled(void)
{
	return pending_quit();
}

static void block_quits(sigset_t *mask)
{
	sigemptyset(mask);
	sigaddset(mask, SIGTERM);
	sigaddset(mask, SIGINT);
	sigaddset(mask, SIGHUP);
	pthread_sigmask(SIG_BLOCK, mask, NULL);
}

/* Before the first thread: all inherit the mask. */
static int watch_signals(struct run *r, struct error *e)
{
	sigset_t mask;
	int fd, ret;

	block_quits(&mask);
	sigaddset(&mask, SIGWINCH);
	sigaddset(&mask, SIGCONT);
	pthread_sigmask(SIG_BLOCK, &mask, NULL);
	fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return error_errno(e, -errno, "signalfd");
	ret = loop_add(r->loop, &r->signals, fd, EPOLLIN, on_signal, r);
	if (ret) {
		close(fd);
		return error_errno(e, ret, "event loop");
	}
	return 0;
}

static int set_up(struct run *r, struct error *e)
{
	const struct vm_config *c = &r->cli.config;
	int ret = loop_create(&r->loop);

	if (ret)
		return error_errno(e, ret, "event loop");
	ret = watch_signals(r, e);
	if (!ret && r->saved)
		ret = vm_restore(&r->vm, c, r->loop, r->saved,
				 start_cancelled, e);
	else if (!ret)
		ret = vm_create(&r->vm, c, r->loop, start_cancelled, e);
	saved_vm_close(r->saved);
	r->saved = NULL;
	if (!ret && (c->monitor.path || c->monitor.fd >= 0))
		ret = error_of_named(e, monitor_create(&r->monitor,
						       &c->monitor, r->vm,
						       r->loop, e));
	if (!ret && !c->paused)
		ret = vm_cont(r->vm, e);
	return ret;
}

static void tear_down(struct run *r)
{
	int fd = r->signals.fd;

	monitor_destroy(r->monitor);
	vm_destroy(r->vm);
	if (fd >= 0) {
		loop_remove(&r->signals);
		close(fd);
	}
	loop_destroy(r->loop);
}

static void write_report(const struct vm_exit_report *r, const char *path)
{
	struct error e;

	if (path && exit_report_write(r, path, &e))
		error_say(e.text);
}

/* The last line on stderr says why, after the terminal is the user's again. */
static int report(const struct vm_exit_report *r, const char *path)
{
	write_report(r, path);
	error_say(r->reason);
	return r->code;
}

/*
 * Where what was asked for is at fault nothing is changed, and so no report is
 * written; otherwise there is one, of a VM that has never run.
 */
static int start_failed(int ret, const struct error *e, const char *path)
{
	int sig = ret == -ECANCELED ? pending_quit() : 0;
	struct vm_exit_report r = { .kind = VM_EXIT_HOST_ERROR,
				    .code = STATUS_FAILED };

	clock_gettime(CLOCK_REALTIME, &r.stopped);
	if (sig) {
		r.kind = VM_EXIT_QUIT;
		r.code = STATUS_OK;
		quit_reason(r.reason, sig);
		return report(&r, path);
	}
	if (e->class != ERROR_INVALID_CONFIG) {
		snprintf(r.reason, sizeof(r.reason), "%.255s",
			 e->text);
		write_report(&r, path);
	}
	return fail(e);
}

static int unknown(const char *name)
{
	const char *nearest = cli_nearest_command(name);
	struct error e;

	/* `mote -k bzImage`: only the word run is missing. */
	if (*name == '-')
		nearest = "run";
	error_config(&e, -ENOENT, "unknown command '%s'%s%s%s", name,
		     nearest ? "; did you mean '" : "", nearest ? nearest : "",
		     nearest ? "'?" : "");
	fail(&e);
	fputs("mote: see 'mote help'\n", stderr);
	return STATUS_USAGE;
}

static int help(const char *topic)
{
	if (cli_help(stdout, topic))
		return STATUS_OK;
	return unknown(topic);
}

/* From a valid command line to the exit status. */
static int run_vm(struct run *r)
{
	const struct vm_config *c = &r->cli.config;
	struct vm_exit_report result;
	struct error e;
	int ret;

	if (log_open(c->log_level, c->log_file)) {
		error_config(&e, -errno, "--log: %s: %s", c->log_file,
			     strerror(errno));
		return fail(&e);
	}
	catch_fatal_signals();
	/* Before the guest has the terminal, and known when it fails, too. */
	if (c->kernel_defaulted)
		fprintf(stderr, "mote: kernel %s\n", c->kernel);
	if (c->paused && !c->monitor.path && c->monitor.fd < 0)
		log_warn("--paused without --monitor: nothing can let the VM "
			 "run");
	ret = c->exit_report ? exit_report_check(c->exit_report, &e) : 0;
	if (!ret)
		ret = set_up(r, &e);
	if (ret) {
		tear_down(r);
		return start_failed(ret, &e, c->exit_report);
	}
	loop_run(r->loop);
	result = *vm_exit_report(r->vm);
	tear_down(r);
	return report(&result, c->exit_report);
}

static int print_config(const struct vm_config *c)
{
	char *text = config_json_print(c);
	int status = text && puts(text) >= 0 ? STATUS_OK : STATUS_FAILED;

	free(text);
	return status;
}

static int run(int argc, char **argv)
{
	struct run r = { .signals = LOOP_WATCH_INIT };
	struct error e;
	int status;

	raise_descriptor_limit();
	if (cli_parse_run(argc, argv, &r.cli, &e))
		return r.cli.help ? help("run") : fail(&e);
	status = r.cli.print_config ? print_config(&r.cli.config) : run_vm(&r);
	config_deinit(&r.cli.config);
	return status;
}

static int load_saved(struct cli_restore *cli, struct vm_config *c,
		      struct error *e)
{
	struct run *r = cli->opaque;
	const char *text;
	int ret = saved_vm_open(&r->saved, cli->saved, e);

	if (ret)
		return ret;
	text = saved_vm_config(r->saved);
	ret = config_json_load_text(c, "section 'config'", text, strlen(text),
				    e);
	return ret ? error_prefix(e, ret, "%s", cli->saved) : 0;
}

static int restore(int argc, char **argv)
{
	struct run r = { .signals = LOOP_WATCH_INIT };
	struct cli_restore cli = { .load = load_saved, .opaque = &r };
	struct error e;
	int status, ret;

	raise_descriptor_limit();
	ret = cli_parse_restore(argc, argv, &cli, &e);
	r.cli = cli.run;
	if (ret) {
		saved_vm_close(r.saved);
		return r.cli.help ? help("restore") : fail(&e);
	}
	ret = saved_vm_use(r.saved, cli.copy ? RESTORE_COPY :
			   cli.fault ? RESTORE_FAULT : RESTORE_MAP,
			   &r.cli.config, &e);
	if (ret)
		status = fail(&e);
	else
		status = r.cli.print_config ? print_config(&r.cli.config) :
					      run_vm(&r);
	saved_vm_close(r.saved);
	config_deinit(&r.cli.config);
	return status;
}

static int merge(int argc, char **argv)
{
	struct error e;
	sigset_t mask;
	int ret;

	for (int i = 0; i < argc; i++)
		if (argv[i][0] == '-') {
			error_config(&e, -EINVAL, "unknown option '%s'; see "
				     "'mote help merge'", argv[i]);
			return fail(&e);
		}
	if (argc < 2) {
		error_config(&e, -EINVAL, "mote merge: DIR... OUT");
		return fail(&e);
	}
	catch_fatal_signals();
	block_quits(&mask);
	ret = merge_saves(argv, (size_t)argc - 1, argv[argc - 1],
			  start_cancelled, &e);
	/* What has been waiting ends it, now that nothing is left of it. */
	pthread_sigmask(SIG_UNBLOCK, &mask, NULL);
	return ret ? fail(&e) : STATUS_OK;
}

static bool is_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h");
}

static int dispatch(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : NULL;

	if (!command) {
		cli_help(stderr, NULL);
		return STATUS_USAGE;
	}
	if (!strcmp(command, "run"))
		return run(argc - 2, argv + 2);
	if (!strcmp(command, "restore"))
		return restore(argc - 2, argv + 2);
	if (argc > 2 && is_help(argv[2]))
		return help(command);
	if (!strcmp(command, "merge"))
		return merge(argc - 2, argv + 2);
	if (!strcmp(command, "ctl"))
		return ctl_main(argc - 2, argv + 2);
	if (!strcmp(command, "help") || is_help(command))
		return help(argc > 2 ? argv[2] : NULL);
	if (!strcmp(command, "version") || !strcmp(command, "--version") ||
	    !strcmp(command, "-V")) {
		puts("mote " MOTE_VERSION);
		return STATUS_OK;
	}
	return unknown(command);
}

int main(int argc, char **argv)
{
	int status;

	open_standard_descriptors();
	status = dispatch(argc, argv);

	/* What was asked for did not arrive: a full disk, a closed pipe. */
	if ((fflush(stdout) || ferror(stdout)) && status == STATUS_OK)
		status = STATUS_FAILED;
	return status;
}
