/* SPDX-License-Identifier: MIT */
/* A thread that runs a loop: created and joined by the main thread. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
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
