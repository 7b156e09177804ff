/* SPDX-License-Identifier: MIT */
/* Threads that run loops: created and joined by the main thread. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "loop.h"
#include "thread.h"

struct iothread {
	struct loop *loop;
	pthread_t thread;
	sem_t started;
};

static void signal_start(void *opaque)
{
	struct iothread *t = opaque;

	sem_post(&t->started);
}

static void *run(void *opaque)
{
	struct iothread *t = opaque;

	loop_run(t->loop);
	return NULL;
}

int iothread_create(struct iothread **out, const char *name)
{
	struct iothread *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return -ENOMEM;
	ret = loop_create(&t->loop);
	if (ret)
		goto err_free;
	sem_init(&t->started, 0, 0);
	ret = loop_post(t->loop, signal_start, t);
	if (ret)
		goto err_loop;
	ret = thread_start(&t->thread, 0, run, t);
	if (ret)
		goto err_loop;
	pthread_setname_np(t->thread, name);
	/* From here on loop_call() means this thread, not the caller. */
	sem_wait(&t->started);
	*out = t;
	return 0;

err_loop:
	loop_destroy(t->loop);
err_free:
	free(t);
	return ret;
}

void iothread_destroy(struct iothread *t)
{
	if (!t)
		return;
	loop_stop(t->loop);
	pthread_join(t->thread, NULL);
	loop_destroy(t->loop);
	free(t);
}

struct loop *iothread_loop(struct iothread *t)
{
	return t->loop;
}

struct pool_thread {
	struct iothread *thread;
	unsigned int users;
};

struct iothread_pool {
	unsigned int max, count;
	struct pool_thread threads[];
};

static int pool_start(struct iothread_pool *p)
{
	char name[24] = "mote-io";
	int ret;

	if (p->count)
		snprintf(name, sizeof(name), "mote-io%u", p->count);
	ret = iothread_create(&p->threads[p->count].thread, name);
	if (!ret)
		p->count++;
	return ret;
}

int iothread_pool_create(struct iothread_pool **out, unsigned int max)
{
	struct iothread_pool *p = calloc(1, sizeof(*p) +
					    max * sizeof(p->threads[0]));
	int ret;

	if (!p)
		return -ENOMEM;
	p->max = max;
	ret = pool_start(p);
	if (ret) {
		free(p);
		return ret;
	}
	*out = p;
	return 0;
}

void iothread_pool_destroy(struct iothread_pool *p)
{
	if (!p)
		return;
	while (p->count)
		iothread_destroy(p->threads[--p->count].thread);
	free(p);
}

struct loop *iothread_pool_first(const struct iothread_pool *p)
{
	return iothread_loop(p->threads[0].thread);
}

struct loop *iothread_pool_take(struct iothread_pool *p)
{
	struct pool_thread *least = p->threads;

	for (unsigned int i = 1; i < p->count; i++)
		if (p->threads[i].users < least->users)
			least = &p->threads[i];
	if (least->users && p->count < p->max && !pool_start(p))
		least = &p->threads[p->count - 1];
	least->users++;
	return iothread_loop(least->thread);
}

void iothread_pool_put(struct iothread_pool *p, const struct loop *l)
{
	for (unsigned int i = 0; i < p->count; i++)
		if (iothread_loop(p->threads[i].thread) == l)
			p->threads[i].users--;
}
