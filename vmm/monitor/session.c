/* SPDX-License-Identifier: MIT */
/*
 * One client of the monitor. Main thread.
 *
 * A client that sends commands without reading the replies is not listened to
 * until it does; what comes unasked (events) is queued up to a bound, beyond
 * which the client is hung up on. A client that has shut down its sending side
 * still gets its replies.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "monitor/internal.h"
#include "utf8.h"

/* Queued output beyond which no further command is taken, and the bound. */
#define OUT_SOFT_BYTES	((size_t)64 << 10)
#define OUT_MAX_BYTES	((size_t)1 << 20)

static void update_watch(struct session *s)
{
	uint32_t events = 0;

	if (!s->eof && !s->in_len && s->out_len < OUT_SOFT_BYTES)
		events |= EPOLLIN;
	if (s->out_len)
		events |= EPOLLOUT;
	loop_modify(&s->watch, events);
}

static void discard_output(struct session *s)
{
	free(s->out);
	s->out = NULL;
	s->out_start = s->out_len = s->out_size = 0;
}

/* The bound is reached: EPOLLHUP follows, and with it on_client(). */
static void drop(struct session *s, const char *why)
{
	log_warn("monitor: a client is dropped: %s", why);
	s->dropped = s->deaf = true;
	discard_output(s);
	shutdown(s->watch.fd, SHUT_RDWR);
}

static int reserve(struct session *s, size_t len)
{
	size_t size = s->out_size ? s->out_size : 1024;
	char *out;

	if (s->out_start) {
		memmove(s->out, s->out + s->out_start, s->out_len);
		s->out_start = 0;
	}
	while (size < s->out_len + len)
		size *= 2;
	if (size == s->out_size)
		return 0;
	out = realloc(s->out, size);
	if (!out)
		return -ENOMEM;
	s->out = out;
	s->out_size = size;
	return 0;
}

void session_send(struct session *s, struct json_object *message)
{
	size_t len = 0;
	const char *text = json_object_to_json_string_length(
		message, JSON_C_TO_STRING_PLAIN |
		JSON_C_TO_STRING_NOSLASHESCAPE, &len);

	if (s->deaf)
		goto out;
	if (!message || !text) {
		drop(s, "out of memory");
	} else if (len + 2 > OUT_MAX_BYTES - s->out_len) {
		drop(s, "it does not read");
	} else if (reserve(s, len + 2)) {
		drop(s, "out of memory");
	} else {
		char *end = s->out + s->out_len;

		memcpy(end, text, len);
		/* Paths need not be UTF-8, and error texts can be cut. */
		utf8_repair(end, len);
		memcpy(end + len, "\r\n", 2);
		s->out_len += len + 2;
		if (!s->busy)
			update_watch(s);
	}
out:
	json_object_put(message);
}

bool session_flush(struct session *s)
{
	while (s->out_len) {
		ssize_t n = send(s->watch.fd, s->out + s->out_start,
				 s->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0) {
			/* What it sent before it left still counts. */
			s->deaf = true;
			break;
		}
		s->out_start += (size_t)n;
		s->out_len -= (size_t)n;
	}
	discard_output(s);
	return false;
}

static void drop_fds(struct session *s)
{
	while (s->fd_count)
		close(s->fds[--s->fd_count]);
}

/* What is not claimed by the time that others come is closed. */
static void take_fds(struct session *s, struct msghdr *m)
{
	bool first = true;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		const int *fds = (const int *)CMSG_DATA(c);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		if (first)
			drop_fds(s);
		first = false;
		for (size_t i = 0; i < count; i++) {
			if (s->fd_count < SESSION_MAX_FDS)
				s->fds[s->fd_count++] = fds[i];
			else
				close(fds[i]);
		}
	}
}

/* Descriptors beyond the room for them are closed by the kernel (unix(7)). */
static void receive(struct session *s)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(SESSION_MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = { s->in, sizeof(s->in) };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(s->watch.fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n >= 0)
		take_fds(s, &m);
	if (n > 0) {
		s->in_start = 0;
		s->in_len = (size_t)n;
	} else if (!n || (errno != EAGAIN && errno != EINTR)) {
		s->eof = true;
	}
}

static void take_one(struct session *s)
{
	struct json_object *message;
	struct error e;
	size_t used;

	switch (framer_feed(&s->framer, s->in + s->in_start, s->in_len, &used,
			    &message, &e)) {
	case FRAMER_MESSAGE:
		dispatch(s, message);
		json_object_put(message);
		s->served = true;
		break;
	case FRAMER_ERROR:
		reply_error(s, NULL, &e);
		break;
	case FRAMER_MORE:
		break;
	}
	s->in_start += used;
	s->in_len -= used;
}

/*
 * Commands are run as long as their replies find room. Descriptors that no
 * command wanted which came with them are closed.
 */
static void process(struct session *s)
{
	do {
		while (s->in_len && s->out_len < OUT_SOFT_BYTES && !s->dropped)
			take_one(s);
		session_flush(s);
	} while (s->in_len && s->out_len < OUT_SOFT_BYTES && !s->dropped);
	if (s->served && !s->in_len && !s->framer.depth) {
		drop_fds(s);
		s->served = false;
	}
}

static void on_client(struct loop_watch *w, uint32_t events)
{
	struct session *s = w->opaque;
	bool hung_up = events & (EPOLLHUP | EPOLLERR);

	s->busy = true;
	session_flush(s);
	if (!s->eof && !s->in_len && s->out_len < OUT_SOFT_BYTES)
		receive(s);
	process(s);
	s->busy = false;
	if (s->dropped ||
	    (s->eof && !s->in_len &&
	     (hung_up || s->deaf || (!s->out_len && !s->waiters))))
		session_destroy(s);
	else
		update_watch(s);
}

void session_last_call(struct session *s)
{
	s->busy = true;
	if (!s->eof && !s->in_len && s->out_len < OUT_SOFT_BYTES)
		receive(s);
	process(s);
	s->busy = false;
}

static struct json_object *greeting(void)
{
	struct json_object *o = json_object_new_object();
	struct json_object *qmp = json_object_new_object();

	json_object_object_add(qmp, "version", version_json());
	json_object_object_add(qmp, "capabilities", json_object_new_array());
	json_object_object_add(o, "QMP", qmp);
	return o;
}

int session_create(struct monitor *m, int fd)
{
	struct session *s = calloc(1, sizeof(*s));
	int ret = -ENOMEM;

	if (!s)
		goto err_close;
	ret = framer_init(&s->framer);
	if (ret)
		goto err_free;
	s->monitor = m;
	ret = loop_add(m->loop, &s->watch, fd, EPOLLIN, on_client, s);
	if (ret)
		goto err_framer;
	s->next = m->sessions;
	m->sessions = s;
	m->session_count++;
	session_send(s, greeting());
	return 0;

err_framer:
	framer_deinit(&s->framer);
err_free:
	free(s);
err_close:
	close(fd);
	return ret;
}

/* Left unread, input would turn the client's end of stream into ECONNRESET. */
static void drain(struct session *s)
{
	for (int i = 0; i < 64 && !s->eof; i++) {
		s->in_len = 0;
		receive(s);
		if (!s->in_len)
			break;
	}
}

void session_destroy(struct session *s)
{
	struct monitor *m = s->monitor;
	struct session **link = &m->sessions;
	int fd = s->watch.fd;

	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	m->session_count--;
	wait_forget(s);
	drain(s);
	session_close_fds(s);
	loop_remove(&s->watch);
	close(fd);
	json_object_put(s->reply);
	discard_output(s);
	framer_deinit(&s->framer);
	free(s);
	server_session_gone(m);
}
