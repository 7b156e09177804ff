/* SPDX-License-Identifier: MIT */
/*
 * An epoll loop: the main thread runs one, every iothread runs one.
 *
 * A watch's callback runs on the thread that is in loop_run(). loop_add() may
 * be called from any thread; loop_modify(), loop_remove() only on the loop's
 * thread or while nobody is in loop_run(). After loop_remove() the callback is
 * not called again, also when its event was already fetched. The struct is the
 * caller's, embedded in its owner; it does not own the descriptor.
 */
#ifndef MOTE_LOOP_H
#define MOTE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;
struct loop_watch;

typedef void (*loop_fn)(struct loop_watch *w, uint32_t events);

struct loop_watch {
	int fd;			/* -1: not in a loop */
	loop_fn fn;
	void *opaque;
	struct loop *loop;
};

#define LOOP_WATCH_INIT { .fd = -1 }

int loop_create(struct loop **out);
void loop_destroy(struct loop *l);

/* Level-triggered EPOLLIN/EPOLLOUT…; -EPERM: fd is a regular file. */
int loop_add(struct loop *l, struct loop_watch *w, int fd, uint32_t events,
	     loop_fn fn, void *opaque);
void loop_modify(struct loop_watch *w, uint32_t events);
void loop_remove(struct loop_watch *w);	/* no-op when not in a loop */

/* Dispatches until loop_stop(). */
void loop_run(struct loop *l);
/* Makes loop_run() return; any thread, async-signal-safe. */
void loop_stop(struct loop *l);

/*
 * Runs fn(opaque) on the loop's thread and waits for it. Called on that thread
 * itself, or while no thread is in loop_run(), it is a plain call.
 */
void loop_call(struct loop *l, void (*fn)(void *opaque), void *opaque);

/* Queues fn(opaque) on the loop's thread, in order, without waiting; any
 * thread. -ENOMEM. */
int loop_post(struct loop *l, void (*fn)(void *opaque), void *opaque);

/* True on the thread that is in loop_run(l). */
bool loop_is_current(const struct loop *l);

/* One-shot or periodic timers (CLOCK_MONOTONIC, timerfd). */
struct loop_timer {
	struct loop_watch watch;
	void (*fn)(void *opaque);
	void *opaque;
};

int loop_timer_init(struct loop *l, struct loop_timer *t,
		    void (*fn)(void *opaque), void *opaque);
void loop_timer_deinit(struct loop_timer *t);
/* 0 disarms; period 0 is one-shot. Any thread. */
void loop_timer_set(struct loop_timer *t, uint64_t delay_ns,
		    uint64_t period_ns);

/* What other threads tell the loop's. */
struct loop_event {
	struct loop_watch watch;	/* eventfd */
	void (*fn)(void *opaque);
	void *opaque;
};

#define LOOP_EVENT_INIT { .watch = LOOP_WATCH_INIT }

int loop_event_init(struct loop *l, struct loop_event *e,
		    void (*fn)(void *opaque), void *opaque);
void loop_event_deinit(struct loop_event *e);
/* fn(opaque) runs on the loop's thread, once at least after this. Any thread. */
void loop_event_set(const struct loop_event *e);

/* A thread of its own that runs a loop, for devices' data paths. */
struct iothread;

/* name: shown by ps, at most 15 bytes. Its signals and stack: thread.h. */
int iothread_create(struct iothread **out, const char *name);
/* Stops and joins; the loop must have no watches left. */
void iothread_destroy(struct iothread *t);
struct loop *iothread_loop(struct iothread *t);

/*
 * Several of them, "mote-io" and "mote-io1" …, for devices and queues to share:
 * who comes gets the one with the fewest users, and while none is without, one
 * that is started for it, up to max (at least 1). Main thread.
 */
struct iothread_pool;

/* Starts the first. */
int iothread_pool_create(struct iothread_pool **out, unsigned int max);
/* As iothread_destroy(), for all. */
void iothread_pool_destroy(struct iothread_pool *p);
struct loop *iothread_pool_first(const struct iothread_pool *p);
/* The first at first. What cannot be started is shared. */
struct loop *iothread_pool_take(struct iothread_pool *p);
/* The thread stays, for the next. */
void iothread_pool_put(struct iothread_pool *p, const struct loop *l);

#endif
