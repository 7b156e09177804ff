/* SPDX-License-Identifier: MIT */
/* WITHOUT: cgroup */
/* WITH: qmp_fixture */
/*
 * A session of the monitor, before a VM that only keeps books, against a client
 * that says anything, in pieces of any size. Whatever it is, each answer is a
 * line of JSON, and another client is served afterwards.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cgroup.h"
#include "monitor/internal.h"
#include "qmp_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No file is written to that the client names. */
int cgroup_set_cpu(const char *path, const struct cgroup_cpu *c,
		   struct error *e)
{
	(void)c;
	return error_set(e, -ENOENT, "no group %s", path ? path : "");
}

/* Each time among what else is ready. */
static void on_turn(struct loop_watch *w, uint32_t events)
{
	int *left = w->opaque;

	(void)events;
	if (!--*left)
		loop_stop(w->loop);
}

/* What is there to be done now; timers are not waited for. */
static void turn(struct qmp *q)
{
	struct loop_watch w = LOOP_WATCH_INIT;
	int left = 3, fd = eventfd(1, EFD_CLOEXEC);

	if (fd < 0 || loop_add(q->loop, &w, fd, EPOLLIN, on_turn, &left))
		abort();
	loop_run(q->loop);
	loop_remove(&w);
	close(fd);
}

/* What was said, which is checked line by line. */
static void hear(int fd, struct framer *f)
{
	struct json_object *o;
	struct error e;
	char buf[65536];
	size_t used;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		for (size_t at = 0; at < (size_t)n; at += used) {
			switch (framer_feed(f, buf + at, (size_t)n - at, &used,
					    &o, &e)) {
			case FRAMER_MESSAGE:
				json_object_put(o);
				break;
			case FRAMER_ERROR:
				abort();
			case FRAMER_MORE:
				break;
			}
		}
	}
}

static void say(struct qmp *q, const void *data, size_t size, size_t piece)
{
	struct framer f;
	int fds[2];

	if (framer_init(&f) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) ||
	    session_create(q->monitor, fds[0]))
		abort();
	for (size_t at = 0; at < size; at += piece) {
		if (piece > size - at)
			piece = size - at;
		if (send(fds[1], (const char *)data + at, piece,
			 MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
		turn(q);
		hear(fds[1], &f);
	}
	shutdown(fds[1], SHUT_WR);
	turn(q);
	hear(fds[1], &f);
	close(fds[1]);
	turn(q);
	framer_deinit(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char hello[] = "{\"execute\": \"qmp_capabilities\"}\n";
	static char text[8192];
	struct qmp *q;
	void *state;
	size_t len = 0;

	if (size < 2 || size > sizeof(text) - sizeof(hello))
		return 0;
	if (qmp_setup(&state))
		abort();
	q = state;
	q->vm.config.uuid = (char *)"12345678-1234-4321-8765-123456789abc";
	/* Seven in eight begin as a client does. */
	if (data[0] & 7) {
		len = sizeof(hello) - 1;
		memcpy(text, hello, len);
	}
	if (data[0] & 8)
		q->vm.state = VM_PRELAUNCH;
	memcpy(text + len, data + 2, size - 2);
	len += size - 2;
	say(q, text, len, data[1] ? data[1] * 16u : len);
	say(q, hello, sizeof(hello) - 1, sizeof(hello));
	qmp_teardown(&state);
	return 0;
}
