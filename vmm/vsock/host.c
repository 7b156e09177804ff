/* SPDX-License-Identifier: MIT */
/*
 * Host programs that connect to PATH, and the guest's way to PATH_port. Listening
 * begins and ends on the main thread, the rest is the loop's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vsock/internal.h"

#define BACKLOG		1024
#define LINE_MAX_BYTES	32		/* "CONNECT 4294967295\n" and some */
/* accept() without descriptors, connect() to a full backlog: tried again. */
#define AGAIN_NS	UINT64_C(5000000)
#define DIALS		400u		/* two seconds: Linux's own patience */

static void try_later(struct vsock *v)
{
	loop_timer_set(&v->again, AGAIN_NS, 0);
}

/*
 * What a slow program has not read waits in its socket before it waits here,
 * where it is copied once more: there is room for a window, which is bounded.
 */
static void size_buffer(const struct conn *c)
{
	/* A message is sent as one. */
	int bytes = c->seqpacket ? 2 * (int)WINDOW_MAX : (int)c->window;

	setsockopt(c->watch.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

/* ---- from a host program to the guest ------------------------------------ */

static bool peer_uid(int fd, uid_t *uid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return false;
	*uid = cred.uid;
	return true;
}

static void add_client(struct vsock *v, int fd)
{
	struct conn *c;
	uid_t uid;

	if (!peer_uid(fd, &uid)) {
		close(fd);
		return;
	}
	c = conn_create(v, CONN_LINE, fd);
	if (!c)
		return;
	c->uid = uid;
	if (!conn_reserve(c) || conn_watch(c))
		conn_free(c);
	else
		size_buffer(c);
}

static void on_accept(struct loop_watch *w, uint32_t events)
{
	struct vsock *v = w->opaque;
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0) {
		add_client(v, fd);
	} else if (errno != EAGAIN && errno != EINTR &&
		   errno != ECONNABORTED) {
		/* It would be reported again and again. */
		loop_modify(w, 0);
		v->accept_later = true;
		try_later(v);
	}
}

/* "CONNECT <port>\n": 0 and the port, or -EINVAL. */
static int parse_line(const char *line, size_t len, uint32_t *port)
{
	static const char word[] = "CONNECT ";
	const size_t skip = sizeof(word) - 1;
	uint64_t n = 0;

	if (len < skip + 2 || memcmp(line, word, skip))
		return -EINVAL;
	for (size_t i = skip; i < len - 1; i++) {
		if (line[i] < '0' || line[i] > '9')
			return -EINVAL;
		n = n * 10 + (uint64_t)(line[i] - '0');
		if (n > UINT32_MAX)
			return -EINVAL;
	}
	*port = (uint32_t)n;
	return 0;
}

static void ask_guest(struct conn *c, uint32_t port)
{
	struct vsock *v = c->vsock;

	c->state = CONN_REQUESTED;
	/* The first event may have told of input behind the line. */
	c->readable = true;
	c->due = DUE_REQUEST;
	conn_hash(c, port, conn_pick_port(v, port));
	conn_schedule(c);
}

/* Refused: closed without a reply. What is read before makes that an end of
 * file for the program and no error. */
static void hang_up(struct conn *c)
{
	char scrap[1024];

	(void)!recv(c->watch.fd, scrap, sizeof(scrap), MSG_DONTWAIT);
	conn_free(c);
}

void host_read_line(struct conn *c)
{
	char line[LINE_MAX_BYTES];
	ssize_t n = recv(c->watch.fd, line, sizeof(line),
			 MSG_PEEK | MSG_DONTWAIT);
	char *end = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;
	uint32_t port;
	size_t len;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (!end) {
		/* The rest of the line may come, unless it is too long or
		 * nothing more does. */
		if (n <= 0 || n == (ssize_t)sizeof(line) || c->hangup)
			hang_up(c);
		return;
	}
	len = (size_t)(end - line) + 1;
	/* What is behind the line is the guest's. */
	if (recv(c->watch.fd, line, len, MSG_DONTWAIT) != (ssize_t)len ||
	    parse_line(line, len, &port) || !c->vsock->active ||
	    !service_allows(c->vsock, port, c->uid)) {
		hang_up(c);
		return;
	}
	ask_guest(c, port);
}

void host_answer(struct conn *c)
{
	char line[sizeof("OK 4294967295\n")];
	int len = snprintf(line, sizeof(line), "OK %u\n", c->host_port);

	/* The socket is new: a few bytes fit. A program that is gone already
	 * is found out by reading. */
	(void)!send(c->watch.fd, line, (size_t)len,
		    MSG_DONTWAIT | MSG_NOSIGNAL);
	conn_open(c);
}

/* ---- from the guest to the host ------------------------------------------ */

static void dialed(struct conn *c)
{
	struct vsock *v = c->vsock;
	uid_t uid;

	v->dialing_count--;
	c->state = CONN_REQUESTED;
	if (!peer_uid(c->watch.fd, &uid) ||
	    !service_allows(v, c->host_port, uid) || conn_watch(c)) {
		conn_abort(c);
		return;
	}
	service_used(v, c->host_port);
	c->due |= DUE_RESPONSE;
	conn_open(c);
}

static int connect_to(int fd, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	return connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
}

static void dial_once(struct conn *c)
{
	char *path = service_path(c->vsock, c->host_port);
	int ret = path ? connect_to(c->watch.fd, path) : -ECONNREFUSED;

	free(path);
	if (!ret) {
		dialed(c);
	} else if (ret == -EAGAIN && c->dials) {
		/* Somebody listens there, and is slow to accept. */
		c->dials--;
		try_later(c->vsock);
	} else {
		conn_abort(c);
	}
}

void host_dial(struct conn *c)
{
	int type = c->seqpacket ? SOCK_SEQPACKET : SOCK_STREAM;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	c->watch.fd = fd;
	c->dials = DIALS;
	if (fd < 0 || !conn_reserve(c)) {
		conn_abort(c);
		return;
	}
	size_buffer(c);
	dial_once(c);
}

static void on_again(void *opaque)
{
	struct vsock *v = opaque;
	struct conn *c, *next;

	if (v->accept_later && v->accept.fd >= 0)
		loop_modify(&v->accept, EPOLLIN);
	v->accept_later = false;
	if (!v->dialing_count)
		return;
	for (c = TAILQ_FIRST(&v->all); c; c = next) {
		next = TAILQ_NEXT(c, all);
		if (c->state == CONN_DIALING)
			dial_once(c);
	}
	vsock_notify(v);
}

/* ---- the listening socket ------------------------------------------------ */

int host_listen(struct vsock *v, const char *path, struct error *e)
{
	int ret = loop_timer_init(v->loop, &v->again, on_again, v);

	if (ret)
		return error_errno(e, ret, "vsock: timer");
	if (!path)
		return 0;
	v->path = strdup(path);
	if (!v->path)
		return error_errno(e, -ENOMEM, "vsock");
	ret = listener_open(&v->listener, path, BACKLOG, e);
	if (ret)
		return error_prefix(e, ret, "--vsock");
	ret = loop_add(v->loop, &v->accept, v->listener.fd, EPOLLIN, on_accept,
		       v);
	return ret ? error_errno(e, ret, "vsock: %s", path) : 0;
}

void host_unlisten(struct vsock *v)
{
	if (v->accept.fd >= 0)
		loop_remove(&v->accept);
	loop_timer_deinit(&v->again);
}
