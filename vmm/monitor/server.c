/* SPDX-License-Identifier: MIT */
/*
 * The monitor's listening socket, from the first client to the last. Main
 * thread.
 */
#include "monitor/monitor.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "monitor/block_nodes.h"
#include "monitor/internal.h"
#include "monitor/objects.h"

/* A non-blocking client that finds it full is refused, not kept waiting. */
#define BACKLOG		MONITOR_MAX_SESSIONS
#define FLUSH_MS	1000

void server_session_gone(struct monitor *m)
{
	if (m->session_count == MONITOR_MAX_SESSIONS - 1 && m->listener.fd >= 0)
		listener_resume(&m->listener);
}

static void on_client(void *opaque, int fd)
{
	struct monitor *m = opaque;
	int ret = fd < 0 ? fd : session_create(m, fd);

	if (ret)
		log_warn("monitor: no client can be accepted (error %d)", -ret);
	if (m->session_count == MONITOR_MAX_SESSIONS)
		listener_pause(&m->listener);
}

static bool has_option(int fd, int option, int expected)
{
	int value;
	socklen_t len = sizeof(value);

	return !getsockopt(fd, SOL_SOCKET, option, &value, &len) &&
	       value == expected;
}

/* Nobody is asked who he is: a socket that others reach will not do. */
static int adopt(struct monitor *m, int fd, struct error *e)
{
	int ret;

	if (!has_option(fd, SO_DOMAIN, AF_UNIX) ||
	    !has_option(fd, SO_TYPE, SOCK_STREAM) ||
	    !has_option(fd, SO_ACCEPTCONN, 1))
		return error_config(e, -EINVAL, "--monitor fd=%d: not a "
				    "listening Unix stream socket", fd);
	ret = listener_adopt(&m->listener, fd);
	return ret ? error_errno(e, ret, "--monitor fd=%d", fd) : 0;
}

/*
 * The mask makes the socket the owner's alone from its first moment. It is the
 * process's; at this time no other thread makes files.
 */
static int listen_at(struct monitor *m, const char *path, struct error *e)
{
	mode_t old = umask(0077);
	int ret = listener_open(&m->listener, path, BACKLOG, e);

	umask(old);
	return ret ? error_prefix(e, ret, "--monitor") : 0;
}

int monitor_create(struct monitor **out, const struct config_monitor *c,
		   struct vm *vm, struct loop *loop, struct error *e)
{
	struct monitor *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return error_set(e, -ENOMEM, "out of memory");
	m->vm = vm;
	m->loop = loop;
	m->listener = (struct listener)LISTENER_INIT;
	ret = c->path ? listen_at(m, c->path, e) : adopt(m, c->fd, e);
	if (ret)
		goto err_free;
	ret = listener_start(&m->listener, loop, on_client, m);
	if (ret) {
		error_errno(e, ret, "--monitor: event loop");
		goto err_listener;
	}
	vm_set_event_fn(vm, events_from_vm, m);
	*out = m;
	return 0;

err_listener:
	listener_close(&m->listener);
err_free:
	free(m);
	return ret;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void flush_all(struct monitor *m)
{
	int64_t left, end = now_ms() + FLUSH_MS;
	struct pollfd fds[MONITOR_MAX_SESSIONS];
	nfds_t n;

	do {
		n = 0;
		for (struct session *s = m->sessions; s; s = s->next)
			if (session_flush(s))
				fds[n++] = (struct pollfd){
					.fd = s->watch.fd, .events = POLLOUT,
				};
		left = end - now_ms();
		if (n && left > 0)
			poll(fds, n, (int)left);
	} while (n && left > 0);
}

void monitor_destroy(struct monitor *m)
{
	if (!m)
		return;
	vm_set_event_fn(m->vm, NULL, NULL);
	listener_pause(&m->listener);
	/* On a failed start, though, nobody is to start the VM. */
	if (vm_state(m->vm) == VM_SHUTDOWN)
		for (struct session *s = m->sessions; s; s = s->next)
			session_last_call(s);
	flush_all(m);
	while (m->sessions)
		session_destroy(m->sessions);
	objects_destroy(m);
	block_nodes_destroy(m);
	fdsets_destroy(m);
	netdevs_destroy(m);
	listener_close(&m->listener);
	free(m);
}
