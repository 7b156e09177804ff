/* SPDX-License-Identifier: MIT */
/*
 * `wait`: replies that come when the VM ends, or at their timeout. Main thread.
 * A client that leaves takes only its own waiters along.
 */
#include <errno.h>
#include <stdlib.h>

#include "exit_report.h"
#include "monitor/internal.h"

#define NO_TIMEOUT	UINT64_MAX
/* Longer ones (292 years) are cut: loop_timer_set() takes nanoseconds. */
#define MAX_TIMEOUT_MS	((uint64_t)INT64_MAX / 1000000)

struct waiter {
	struct waiter *next;
	struct session *session;
	struct json_object *reply;
	struct loop_timer timer;	/* watch.fd is -1 without a timeout */
	uint64_t timeout_ms;
};

const struct command_arg wait_args[] = {
	{ "timeout-ms", ARG_UINT, false },
	{ 0 },
};

static void destroy(struct waiter *w)
{
	struct waiter **link = &w->session->waiters;

	while (*link != w)
		link = &(*link)->next;
	*link = w->next;
	w->session->waiter_count--;
	loop_timer_deinit(&w->timer);
	json_object_put(w->reply);
	free(w);
}

static int timed_out(uint64_t ms, struct error *e)
{
	return error_set(e, -ETIMEDOUT, "the VM has not ended within %llu ms",
			 (unsigned long long)ms);
}

static void on_timeout(void *opaque)
{
	struct waiter *w = opaque;
	struct error e;

	timed_out(w->timeout_ms, &e);
	reply_error(w->session, json_object_get(w->reply), &e);
	destroy(w);
}

static int add(struct session *s, uint64_t timeout_ms, struct error *e)
{
	struct waiter *w = calloc(1, sizeof(*w));
	int ret;

	if (!w)
		return error_set(e, -ENOMEM, "out of memory");
	w->session = s;
	w->timer.watch.fd = -1;
	w->timeout_ms = timeout_ms;
	if (timeout_ms != NO_TIMEOUT) {
		ret = loop_timer_init(s->monitor->loop, &w->timer, on_timeout,
				      w);
		if (ret) {
			free(w);
			return error_errno(e, ret, "timer");
		}
		if (timeout_ms > MAX_TIMEOUT_MS)
			timeout_ms = MAX_TIMEOUT_MS;
		loop_timer_set(&w->timer, timeout_ms * 1000000, 0);
	}
	w->reply = s->reply;
	s->reply = NULL;
	w->next = s->waiters;
	s->waiters = w;
	s->waiter_count++;
	return COMMAND_DEFERRED;
}

int wait_run(struct session *s, struct json_object *args,
	     struct json_object **result, struct error *e)
{
	uint64_t ms = arg_uint(args, "timeout-ms", NO_TIMEOUT);
	struct vm *vm = s->monitor->vm;

	if (vm_state(vm) == VM_SHUTDOWN) {
		*result = exit_report_json(vm_exit_report(vm));
		return 0;
	}
	if (!ms)
		return timed_out(ms, e);
	if (s->waiter_count == SESSION_MAX_WAITERS)
		return error_set(e, -EBUSY, "a client waits at most %d times",
				 SESSION_MAX_WAITERS);
	return add(s, ms, e);
}

void wait_vm_ended(struct monitor *m)
{
	for (struct session *s = m->sessions; s; s = s->next) {
		while (s->waiters) {
			struct waiter *w = s->waiters;

			reply_return(s, json_object_get(w->reply),
				     exit_report_json(vm_exit_report(m->vm)));
			destroy(w);
		}
	}
}

void wait_forget(struct session *s)
{
	while (s->waiters)
		destroy(s->waiters);
}
