/* SPDX-License-Identifier: MIT */
/* Jobs: run() is the job's thread, on_done() and the rest are the main one's. */
#include "job.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "thread.h"

#define TICK_NS 1000000000ull

struct job {
	const struct job_ops *ops;
	void *opaque;
	pthread_t thread;
	bool joined;
	int cancel_fd;
	struct loop_watch done;		/* eventfd */
	struct loop_timer tick;
	uint64_t begun_ns;		/* CLOCK_MONOTONIC */
	_Atomic uint64_t progress;
	atomic_bool cancelled;
	/* The thread's, until done is readable. */
	int ret;
	struct error error;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void signal_fd(int fd)
{
	uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
}

static void *run(void *opaque)
{
	struct job *j = opaque;

	pthread_setname_np(pthread_self(), "mote-job");
	j->ret = j->ops->work(j, j->opaque, &j->error);
	signal_fd(j->done.fd);
	return NULL;
}

static void join(struct job *j)
{
	if (!j->joined)
		pthread_join(j->thread, NULL);
	j->joined = true;
}

static void on_done(struct loop_watch *w, uint32_t events)
{
	struct job *j = w->opaque;
	struct error e;
	uint64_t count;

	(void)events;
	if (read(w->fd, &count, sizeof(count)) != sizeof(count))
		return;
	join(j);
	if (j->ops->tick)
		loop_timer_set(&j->tick, 0, 0);
	/* What it is told outlives the job, which it may destroy first. */
	e = j->error;
	j->ops->done(j->opaque, j->ret, &e);
}

static void on_tick(void *opaque)
{
	struct job *j = opaque;

	j->ops->tick(j->opaque);
}

static void free_job(struct job *j)
{
	int fd = j->done.fd;

	loop_timer_deinit(&j->tick);
	loop_remove(&j->done);
	if (fd >= 0)
		close(fd);
	if (j->cancel_fd >= 0)
		close(j->cancel_fd);
	free(j);
}

int job_start(struct job **out, struct loop *loop, const struct job_ops *ops,
	      void *opaque, struct error *e)
{
	struct job *j = calloc(1, sizeof(*j));
	int fd, ret;

	if (!j)
		return error_set(e, -ENOMEM, "out of memory");
	j->ops = ops;
	j->opaque = opaque;
	j->done = j->tick.watch = (struct loop_watch)LOOP_WATCH_INIT;
	j->begun_ns = now_ns();
	j->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = j->cancel_fd < 0 || fd < 0 ? -errno : 0;
	if (!ret)
		ret = loop_add(loop, &j->done, fd, EPOLLIN, on_done, j);
	if (ret && fd >= 0)
		close(fd);
	if (!ret && ops->tick)
		ret = loop_timer_init(loop, &j->tick, on_tick, j);
	if (!ret && ops->tick)
		loop_timer_set(&j->tick, TICK_NS, TICK_NS);
	/* The thread may look there. */
	*out = j;
	if (!ret)
		ret = thread_start(&j->thread, 0, run, j);
	if (ret) {
		*out = NULL;
		free_job(j);
		return error_errno(e, ret, "thread");
	}
	return 0;
}

void job_cancel(struct job *j)
{
	atomic_store(&j->cancelled, true);
	signal_fd(j->cancel_fd);
}

void job_destroy(struct job *j)
{
	if (!j)
		return;
	job_cancel(j);
	join(j);
	free_job(j);
}

uint64_t job_progress(const struct job *j)
{
	return atomic_load(&j->progress);
}

uint64_t job_passed_ms(const struct job *j)
{
	return (now_ns() - j->begun_ns) / 1000000;
}

bool job_cancelled(const struct job *j)
{
	return atomic_load(&j->cancelled);
}

int job_cancel_fd(const struct job *j)
{
	return j->cancel_fd;
}

void job_add_progress(struct job *j, uint64_t bytes)
{
	atomic_fetch_add(&j->progress, bytes);
}
