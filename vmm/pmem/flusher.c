/* SPDX-License-Identifier: MIT */
/*
 * A thread for what blocks. Flushes are numbered: the loop's thread asks for the
 * next number, the flusher's says which it has reached. A flush that is
 * forgotten is just a number that nobody waits for.
 */
#include "pmem/flusher.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "thread.h"

struct pmem_flusher {
	struct loop *loop;
	int (*flush)(void *region);
	void *region;
	void (*done)(void *opaque, int result);
	void *opaque;

	/* The loop's thread. */
	struct loop_watch watch;	/* on event_fd, while busy */
	int event_fd;
	bool busy, started;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t changed;		/* any of these did */
	uint64_t wanted, reached;
	int result;
	bool quit;
};

static void *run(void *opaque)
{
	struct pmem_flusher *f = opaque;
	uint64_t one = 1, number;
	int result;

	pthread_setname_np(pthread_self(), "mote-pmem");
	pthread_mutex_lock(&f->lock);
	for (;;) {
		while (f->wanted == f->reached && !f->quit)
			pthread_cond_wait(&f->changed, &f->lock);
		if (f->quit)
			break;
		number = f->wanted;
		pthread_mutex_unlock(&f->lock);
		result = f->flush(f->region);
		pthread_mutex_lock(&f->lock);
		f->reached = number;
		f->result = result;
		pthread_cond_broadcast(&f->changed);
		(void)!write(f->event_fd, &one, sizeof(one));
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

int pmem_flusher_create(struct pmem_flusher **out, struct loop *loop,
			int (*flush)(void *region), void *region,
			void (*done)(void *opaque, int result), void *opaque)
{
	struct pmem_flusher *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	*f = (struct pmem_flusher){
		.loop = loop, .flush = flush, .region = region, .done = done,
		.opaque = opaque, .watch = LOOP_WATCH_INIT,
	};
	f->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->event_fd < 0) {
		int ret = -errno;

		free(f);
		return ret;
	}
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	*out = f;
	return 0;
}

void pmem_flusher_destroy(struct pmem_flusher *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->quit = true;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	if (f->started)
		pthread_join(f->thread, NULL);
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->lock);
	close(f->event_fd);
	free(f);
}

static void finish(struct pmem_flusher *f, int result)
{
	pmem_flusher_forget(f);
	f->done(f->opaque, result);
}

static void on_event(struct loop_watch *w, uint32_t events)
{
	struct pmem_flusher *f = w->opaque;
	uint64_t count;
	bool reached;
	int result;

	(void)events;
	(void)!read(w->fd, &count, sizeof(count));
	pthread_mutex_lock(&f->lock);
	reached = f->reached == f->wanted;
	result = f->result;
	pthread_mutex_unlock(&f->lock);
	/* It may be that of a flush that was forgotten. */
	if (reached)
		finish(f, result);
}

int pmem_flusher_start(struct pmem_flusher *f)
{
	int ret;

	if (!f->started) {
		ret = thread_start(&f->thread, 0, run, f);
		if (ret)
			return ret;
		f->started = true;
	}
	ret = loop_add(f->loop, &f->watch, f->event_fd, EPOLLIN, on_event, f);
	if (ret)
		return ret;
	f->busy = true;
	pthread_mutex_lock(&f->lock);
	f->wanted++;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	return 0;
}

bool pmem_flusher_busy(const struct pmem_flusher *f)
{
	return f->busy;
}

void pmem_flusher_wait(struct pmem_flusher *f)
{
	int result;

	if (!f->busy)
		return;
	pthread_mutex_lock(&f->lock);
	while (f->reached != f->wanted)
		pthread_cond_wait(&f->changed, &f->lock);
	result = f->result;
	pthread_mutex_unlock(&f->lock);
	finish(f, result);
}

void pmem_flusher_forget(struct pmem_flusher *f)
{
	if (!f->busy)
		return;
	loop_remove(&f->watch);
	f->busy = false;
}
