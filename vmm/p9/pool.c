/* SPDX-License-Identifier: MIT */
/* The worker pool of a share. See p9/pool.h for who runs what. */
#include "p9/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "thread.h"

#define MAX_WORKERS 8

struct p9_pool {
	struct loop_watch watch;	/* eventfd: something is finished */
	void (*batch_done)(void *opaque);
	void *opaque;

	pthread_t threads[MAX_WORKERS];	/* the loop's thread */
	unsigned int thread_count;

	pthread_mutex_t lock;		/* all below */
	pthread_cond_t work, idle;
	struct p9_job *queue, **queue_last;
	struct p9_job *finished, **finished_last;
	unsigned int waiting;		/* workers without a job */
	unsigned int queued, running;
	bool stopping;
};

static void *worker(void *opaque)
{
	struct p9_pool *p = opaque;
	uint64_t one = 1;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct p9_job *j = p->queue;

		if (!j) {
			if (p->stopping)
				break;
			p->waiting++;
			pthread_cond_wait(&p->work, &p->lock);
			p->waiting--;
			continue;
		}
		p->queue = j->next;
		if (!p->queue)
			p->queue_last = &p->queue;
		p->queued--;
		p->running++;
		pthread_mutex_unlock(&p->lock);
		j->run(j);
		pthread_mutex_lock(&p->lock);
		j->next = NULL;
		*p->finished_last = j;
		p->finished_last = &j->next;
		p->running--;
		if (!p->running && !p->queued)
			pthread_cond_signal(&p->idle);
		(void)!write(p->watch.fd, &one, sizeof(one));
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void finish(struct p9_pool *p)
{
	struct p9_job *j, *next;

	pthread_mutex_lock(&p->lock);
	j = p->finished;
	p->finished = NULL;
	p->finished_last = &p->finished;
	pthread_mutex_unlock(&p->lock);
	if (!j)
		return;
	for (; j; j = next) {
		next = j->next;
		j->done(j);
	}
	p->batch_done(p->opaque);
}

static void on_finished(struct loop_watch *w, uint32_t events)
{
	uint64_t count;

	(void)events;
	(void)!read(w->fd, &count, sizeof(count));
	finish(w->opaque);
}

int p9_pool_create(struct p9_pool **out, struct loop *loop,
		   void (*batch_done)(void *opaque), void *opaque)
{
	struct p9_pool *p = calloc(1, sizeof(*p));
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), ret = -ENOMEM;

	if (!p)
		goto err;
	ret = -errno;
	if (fd < 0)
		goto err;
	p->watch.fd = -1;
	p->batch_done = batch_done;
	p->opaque = opaque;
	p->queue_last = &p->queue;
	p->finished_last = &p->finished;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	pthread_cond_init(&p->idle, NULL);
	ret = loop_add(loop, &p->watch, fd, EPOLLIN, on_finished, p);
	if (ret)
		goto err;
	*out = p;
	return 0;

err:
	if (fd >= 0)
		close(fd);
	free(p);
	return ret;
}

void p9_pool_destroy(struct p9_pool *p)
{
	int fd;

	if (!p)
		return;
	p9_pool_drain(p);
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned int i = 0; i < p->thread_count; i++)
		pthread_join(p->threads[i], NULL);
	fd = p->watch.fd;
	loop_remove(&p->watch);
	close(fd);
	pthread_cond_destroy(&p->idle);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* One more worker unless enough of them wait; false: there is none at all. */
static bool ensure_worker(struct p9_pool *p)
{
	bool wanted;

	pthread_mutex_lock(&p->lock);
	wanted = p->waiting <= p->queued && p->thread_count < MAX_WORKERS;
	pthread_mutex_unlock(&p->lock);
	if (wanted &&
	    !thread_start(&p->threads[p->thread_count], 0, worker, p)) {
		pthread_setname_np(p->threads[p->thread_count], "mote-9p-work");
		p->thread_count++;
	}
	return p->thread_count;
}

void p9_pool_submit(struct p9_pool *p, struct p9_job *j)
{
	if (!ensure_worker(p)) {
		j->run(j);
		j->done(j);
		return;
	}
	pthread_mutex_lock(&p->lock);
	j->next = NULL;
	*p->queue_last = j;
	p->queue_last = &j->next;
	p->queued++;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
}

bool p9_pool_cancel(struct p9_pool *p, struct p9_job *j)
{
	bool found = false;

	pthread_mutex_lock(&p->lock);
	for (struct p9_job **at = &p->queue; *at; at = &(*at)->next) {
		if (*at != j)
			continue;
		*at = j->next;
		if (!*at)
			p->queue_last = at;
		p->queued--;
		found = true;
		break;
	}
	pthread_mutex_unlock(&p->lock);
	return found;
}

void p9_pool_drain(struct p9_pool *p)
{
	bool more;

	do {
		pthread_mutex_lock(&p->lock);
		while (p->queued || p->running)
			pthread_cond_wait(&p->idle, &p->lock);
		more = p->finished != NULL;
		pthread_mutex_unlock(&p->lock);
		finish(p);
	} while (more);
}
