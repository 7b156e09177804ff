/* SPDX-License-Identifier: MIT */
/*
 * The epoll loop. One thread at a time is in loop_run(); watches may be added,
 * and calls posted, from any thread.
 */
#include "loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define BATCH 32

struct call {
	struct call *next;
	void (*fn)(void *opaque);
	void *opaque;
	bool *done;		/* NULL: posted, and the call is freed */
};

struct loop {
	int epoll_fd;
	struct loop_watch wake;		/* eventfd: calls are queued, or stop */
	atomic_bool stopping;

	pthread_mutex_t lock;		/* the members below */
	pthread_cond_t done_cond;
	struct call *first, **last;
	bool running;
	pthread_t thread;

	/* The batch being dispatched, so that loop_remove() can drop events. */
	struct epoll_event events[BATCH];
	int event_count, event_next;
};

static void run_calls(struct loop *l)
{
	struct call *c;

	pthread_mutex_lock(&l->lock);
	while ((c = l->first)) {
		l->first = c->next;
		if (!l->first)
			l->last = &l->first;
		pthread_mutex_unlock(&l->lock);
		c->fn(c->opaque);
		pthread_mutex_lock(&l->lock);
		if (c->done) {
			*c->done = true;
			pthread_cond_broadcast(&l->done_cond);
		} else {
			free(c);
		}
	}
	pthread_mutex_unlock(&l->lock);
}

static void on_wake(struct loop_watch *w, uint32_t events)
{
	uint64_t count;

	(void)events;
	(void)!read(w->fd, &count, sizeof(count));
	run_calls(w->loop);
}

static void wake(struct loop *l)
{
	uint64_t one = 1;

	(void)!write(l->wake.fd, &one, sizeof(one));
}

int loop_create(struct loop **out)
{
	struct loop *l = calloc(1, sizeof(*l));
	int fd, ret;

	if (!l)
		return -ENOMEM;
	l->last = &l->first;
	l->wake.fd = -1;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->done_cond, NULL);
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0) {
		ret = -errno;
		goto err_free;
	}
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0) {
		ret = -errno;
		goto err_epoll;
	}
	ret = loop_add(l, &l->wake, fd, EPOLLIN, on_wake, NULL);
	if (ret)
		goto err_eventfd;
	*out = l;
	return 0;

err_eventfd:
	close(fd);
err_epoll:
	close(l->epoll_fd);
err_free:
	free(l);
	return ret;
}

void loop_destroy(struct loop *l)
{
	if (!l)
		return;
	run_calls(l);
	close(l->wake.fd);
	close(l->epoll_fd);
	pthread_cond_destroy(&l->done_cond);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

int loop_add(struct loop *l, struct loop_watch *w, int fd, uint32_t events,
	     loop_fn fn, void *opaque)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	*w = (struct loop_watch){
		.fd = fd, .fn = fn, .opaque = opaque, .loop = l,
	};
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev)) {
		w->fd = -1;
		return -errno;
	}
	return 0;
}

void loop_modify(struct loop_watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	epoll_ctl(w->loop->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev);
}

void loop_remove(struct loop_watch *w)
{
	struct loop *l = w->loop;

	if (w->fd < 0)
		return;
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	for (int i = l->event_next; i < l->event_count; i++)
		if (l->events[i].data.ptr == w)
			l->events[i].data.ptr = NULL;
	w->fd = -1;
}

static void set_running(struct loop *l, bool running)
{
	pthread_mutex_lock(&l->lock);
	l->running = running;
	l->thread = pthread_self();
	pthread_mutex_unlock(&l->lock);
}

void loop_run(struct loop *l)
{
	set_running(l, true);
	run_calls(l);
	while (!atomic_load(&l->stopping)) {
		int n = epoll_wait(l->epoll_fd, l->events, BATCH, -1);

		l->event_count = n < 0 ? 0 : n;
		for (l->event_next = 0; l->event_next < l->event_count;) {
			struct epoll_event *ev = &l->events[l->event_next++];
			struct loop_watch *w = ev->data.ptr;

			if (w)
				w->fn(w, ev->events);
		}
		l->event_count = 0;
	}
	/* Whoever called before `running` went down still gets an answer. */
	set_running(l, false);
	run_calls(l);
	atomic_store(&l->stopping, false);
}

void loop_stop(struct loop *l)
{
	atomic_store(&l->stopping, true);
	wake(l);
}

static void append(struct loop *l, struct call *c)
{
	*l->last = c;
	l->last = &c->next;
}

void loop_call(struct loop *l, void (*fn)(void *opaque), void *opaque)
{
	bool done = false;
	struct call c = { .fn = fn, .opaque = opaque, .done = &done };

	pthread_mutex_lock(&l->lock);
	if (!l->running || pthread_equal(l->thread, pthread_self())) {
		pthread_mutex_unlock(&l->lock);
		fn(opaque);
		return;
	}
	append(l, &c);
	wake(l);
	while (!done)
		pthread_cond_wait(&l->done_cond, &l->lock);
	pthread_mutex_unlock(&l->lock);
}

int loop_post(struct loop *l, void (*fn)(void *opaque), void *opaque)
{
	struct call *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->fn = fn;
	c->opaque = opaque;
	pthread_mutex_lock(&l->lock);
	append(l, c);
	pthread_mutex_unlock(&l->lock);
	wake(l);
	return 0;
}

bool loop_is_current(const struct loop *l)
{
	struct loop *m = (struct loop *)l;
	bool current;

	pthread_mutex_lock(&m->lock);
	current = l->running && pthread_equal(l->thread, pthread_self());
	pthread_mutex_unlock(&m->lock);
	return current;
}

static void on_timer(struct loop_watch *w, uint32_t events)
{
	struct loop_timer *t = w->opaque;
	uint64_t count;

	(void)events;
	if (read(w->fd, &count, sizeof(count)) == sizeof(count))
		t->fn(t->opaque);
}

static void on_event(struct loop_watch *w, uint32_t events)
{
	struct loop_event *e = w->opaque;
	uint64_t count;

	(void)events;
	if (read(w->fd, &count, sizeof(count)) == sizeof(count))
		e->fn(e->opaque);
}

int loop_event_init(struct loop *l, struct loop_event *e,
		    void (*fn)(void *opaque), void *opaque)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int ret;

	e->watch.fd = -1;
	if (fd < 0)
		return -errno;
	e->fn = fn;
	e->opaque = opaque;
	ret = loop_add(l, &e->watch, fd, EPOLLIN, on_event, e);
	if (ret)
		close(fd);
	return ret;
}

void loop_event_deinit(struct loop_event *e)
{
	int fd = e->watch.fd;

	if (fd < 0)
		return;
	loop_remove(&e->watch);
	close(fd);
}

void loop_event_set(const struct loop_event *e)
{
	uint64_t one = 1;

	(void)!write(e->watch.fd, &one, sizeof(one));
}

int loop_timer_init(struct loop *l, struct loop_timer *t,
		    void (*fn)(void *opaque), void *opaque)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int ret;

	t->watch.fd = -1;
	if (fd < 0)
		return -errno;
	t->fn = fn;
	t->opaque = opaque;
	ret = loop_add(l, &t->watch, fd, EPOLLIN, on_timer, t);
	if (ret)
		close(fd);
	return ret;
}

void loop_timer_deinit(struct loop_timer *t)
{
	int fd = t->watch.fd;

	if (fd < 0)
		return;
	loop_remove(&t->watch);
	close(fd);
}

void loop_timer_set(struct loop_timer *t, uint64_t delay_ns,
		    uint64_t period_ns)
{
	struct itimerspec its = {
		.it_value = { (time_t)(delay_ns / 1000000000),
			      (long)(delay_ns % 1000000000) },
		.it_interval = { (time_t)(period_ns / 1000000000),
				 (long)(period_ns % 1000000000) },
	};

	timerfd_settime(t->watch.fd, 0, &its, NULL);
}
