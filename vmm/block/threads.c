/* SPDX-License-Identifier: MIT */
/*
 * The engine where io_uring is not allowed: workers with plain system calls.
 * They are started as requests wait, and leave when they have had nothing to do
 * for a while. What they have done comes back through an eventfd in the loop.
 *
 * The engine's loop, but for work(): a worker has a request for itself from
 * taking it until it is in the list of those done.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "block/engine.h"
#include "thread.h"

#define MAX_WORKERS	8
#define IDLE_SECONDS	5

struct list {
	struct block_request *first, **last;
};

struct threads {
	struct block_engine base;
	struct loop_watch done_watch;	/* eventfd: done is not empty */
	struct list queued;		/* submitted, not kicked yet */
	bool collecting;

	pthread_mutex_t lock;		/* what is below */
	pthread_cond_t work_cond;	/* there is work, or the end */
	pthread_cond_t gone_cond;	/* a worker has left */
	struct list work, done;
	unsigned int waiting;		/* in work */
	unsigned int workers, idle;
	bool ending;
};

static void list_init(struct list *l)
{
	l->first = NULL;
	l->last = &l->first;
}

static void list_add(struct list *l, struct block_request *r)
{
	r->next = NULL;
	*l->last = r;
	l->last = &r->next;
}

static struct block_request *list_take(struct list *l)
{
	struct block_request *r = l->first;

	if (r) {
		l->first = r->next;
		if (!l->first)
			l->last = &l->first;
	}
	return r;
}

static void list_move(struct list *to, struct list *from)
{
	if (!from->first)
		return;
	*to->last = from->first;
	to->last = from->last;
	list_init(from);
}

/* ---- workers -------------------------------------------------------------- */

static ssize_t issue(const struct block_file *f, const struct block_request *r)
{
	int fd = block_request_is_direct(f, r) ? f->direct_fd : f->fd;
	off_t offset = (off_t)r->offset;
	int count = (int)r->iov_count;
	ssize_t res = -1;

	switch (r->op) {
	case BLOCK_READ:
		res = preadv(fd, r->iov, count, offset);
		break;
	case BLOCK_WRITE:
		res = pwritev2(fd, r->iov, count, offset,
			       r->durable ? RWF_DSYNC : 0);
		break;
	case BLOCK_FLUSH:
		res = fdatasync(fd);
		break;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		res = fallocate(fd, block_request_mode(r), offset,
				(off_t)r->len_bytes);
		break;
	}
	return res < 0 ? -errno : res;
}

static void carry_out(const struct block_file *f, struct block_request *r)
{
	while (!block_request_advance(r, issue(f, r)))
		;
}

/* With the lock; one write for all that is found there together. */
static void put_done(struct threads *t, struct block_request *r)
{
	bool first = !t->done.first;
	uint64_t one = 1;

	list_add(&t->done, r);
	if (first)
		(void)!write(t->done_watch.fd, &one, sizeof(one));
}

/* With the lock: the next request; NULL after a while without, or at the end. */
static struct block_request *next_work(struct threads *t)
{
	struct timespec until;
	struct block_request *r;
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_SECONDS;
	while (!(r = list_take(&t->work)) && !ret && !t->ending) {
		t->idle++;
		ret = pthread_cond_timedwait(&t->work_cond, &t->lock, &until);
		t->idle--;
	}
	if (r)
		t->waiting--;
	return r;
}

static void *work(void *opaque)
{
	struct threads *t = opaque;
	struct block_request *r;

	pthread_mutex_lock(&t->lock);
	while ((r = next_work(t))) {
		pthread_mutex_unlock(&t->lock);
		carry_out(t->base.file, r);
		pthread_mutex_lock(&t->lock);
		put_done(t, r);
	}
	t->workers--;
	pthread_cond_signal(&t->gone_cond);
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

/* With the lock: one for each request that finds nobody idle, up to a limit. */
static void start_workers(struct threads *t)
{
	unsigned int wanted = t->waiting > t->idle ? t->waiting - t->idle : 0;
	pthread_t thread;

	for (; wanted && t->workers < MAX_WORKERS; wanted--) {
		if (thread_start(&thread, 0, work, t))
			break;
		pthread_setname_np(thread, "mote-disk");
		pthread_detach(thread);
		t->workers++;
	}
}

/* ---- the loop ------------------------------------------------------------- */

static void threads_submit(struct block_engine *e, struct block_request *r)
{
	list_add(&((struct threads *)e)->queued, r);
}

static void threads_kick(struct block_engine *e)
{
	struct threads *t = (struct threads *)e;
	struct block_request *r;

	if (!t->queued.first)
		return;
	pthread_mutex_lock(&t->lock);
	for (r = t->queued.first; r; r = r->next)
		t->waiting++;
	list_move(&t->work, &t->queued);
	start_workers(t);
	for (unsigned int n = 0; n < t->waiting && n < t->idle; n++)
		pthread_cond_signal(&t->work_cond);
	/* Nobody to do it, and no thread to be had: then here, at once. */
	while (!t->workers && (r = list_take(&t->work))) {
		t->waiting--;
		carry_out(e->file, r);
		put_done(t, r);
	}
	pthread_mutex_unlock(&t->lock);
}

/* What is done up to now; what that leads to waits for the next turn. */
static void collect(struct threads *t)
{
	struct block_request *r;
	struct list done;
	uint64_t count;

	if (t->collecting)
		return;
	list_init(&done);
	pthread_mutex_lock(&t->lock);
	(void)!read(t->done_watch.fd, &count, sizeof(count));
	list_move(&done, &t->done);
	pthread_mutex_unlock(&t->lock);
	if (!done.first)
		return;
	t->collecting = true;
	while ((r = list_take(&done)))
		block_request_done(&t->base, r);
	t->base.batch_done(t->base.opaque);
	t->collecting = false;
}

static void on_done(struct loop_watch *w, uint32_t events)
{
	(void)events;
	collect(w->opaque);
}

static void threads_wait(struct block_engine *e)
{
	struct threads *t = (struct threads *)e;
	struct pollfd p = { .fd = t->done_watch.fd, .events = POLLIN };

	threads_kick(e);
	poll(&p, 1, -1);
	collect(t);
}

static void threads_destroy(struct block_engine *e)
{
	struct threads *t = (struct threads *)e;
	int fd = t->done_watch.fd;

	pthread_mutex_lock(&t->lock);
	t->ending = true;
	pthread_cond_broadcast(&t->work_cond);
	while (t->workers)
		pthread_cond_wait(&t->gone_cond, &t->lock);
	pthread_mutex_unlock(&t->lock);
	loop_remove(&t->done_watch);
	close(fd);
	pthread_cond_destroy(&t->gone_cond);
	pthread_cond_destroy(&t->work_cond);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static const struct block_engine_ops threads_ops = {
	.kind = BLOCK_ENGINE_THREADS,
	.submit = threads_submit,
	.kick = threads_kick,
	.wait = threads_wait,
	.destroy = threads_destroy,
};

int block_threads_create(struct block_engine **out, struct loop *loop)
{
	struct threads *t = calloc(1, sizeof(*t));
	pthread_condattr_t attr;
	int fd, ret;

	if (!t)
		return -ENOMEM;
	t->base.ops = &threads_ops;
	list_init(&t->queued);
	list_init(&t->work);
	list_init(&t->done);
	t->done_watch.fd = -1;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0) {
		ret = -errno;
		goto err_free;
	}
	ret = loop_add(loop, &t->done_watch, fd, EPOLLIN, on_done, t);
	if (ret)
		goto err_fd;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->gone_cond, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->work_cond, &attr);
	pthread_condattr_destroy(&attr);
	*out = &t->base;
	return 0;

err_fd:
	close(fd);
err_free:
	free(t);
	return ret;
}
