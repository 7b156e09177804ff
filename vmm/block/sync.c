/* SPDX-License-Identifier: MIT */
/*
 * The engine of last resort, where io_uring is not allowed: plain system calls.
 * It blocks the engine's loop, on whose thread it runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "block/engine.h"

struct sync {
	struct block_engine base;
	struct loop_watch again;	/* an eventfd: there is more to do */
	struct block_request *first, **last;
	bool running;
};

static ssize_t issue(int fd, const struct block_request *r)
{
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

static void sync_submit(struct block_engine *e, struct block_request *r)
{
	struct sync *s = (struct sync *)e;

	r->next = NULL;
	*s->last = r;
	s->last = &r->next;
}

/* Does what is queued now; what that leads to waits for the next turn. */
static void sync_kick(struct block_engine *e)
{
	struct sync *s = (struct sync *)e;
	struct block_request *r = s->first, *next;
	uint64_t one = 1;

	if (s->running || !r)
		return;
	s->running = true;
	s->first = NULL;
	s->last = &s->first;
	for (; r; r = next) {
		next = r->next;
		while (!block_request_advance(r, issue(e->fd, r)))
			;
		block_request_done(e, r);
	}
	e->batch_done(e->opaque);
	s->running = false;
	if (s->first)
		(void)!write(s->again.fd, &one, sizeof(one));
}

static void on_again(struct loop_watch *w, uint32_t events)
{
	uint64_t count;

	(void)events;
	(void)!read(w->fd, &count, sizeof(count));
	sync_kick(w->opaque);
}

static void sync_destroy(struct block_engine *e)
{
	struct sync *s = (struct sync *)e;
	int fd = s->again.fd;

	loop_remove(&s->again);
	close(fd);
	free(s);
}

static const struct block_engine_ops sync_ops = {
	.kind = BLOCK_ENGINE_SYNC,
	.submit = sync_submit,
	.kick = sync_kick,
	.wait = sync_kick,
	.destroy = sync_destroy,
};

int block_sync_create(struct block_engine **out, struct loop *loop)
{
	struct sync *s = calloc(1, sizeof(*s));
	int fd, ret;

	if (!s)
		return -ENOMEM;
	s->base.ops = &sync_ops;
	s->last = &s->first;
	s->again.fd = -1;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0) {
		ret = -errno;
		goto err_free;
	}
	ret = loop_add(loop, &s->again, fd, EPOLLIN, on_again, s);
	if (ret)
		goto err_fd;
	*out = &s->base;
	return 0;

err_fd:
	close(fd);
err_free:
	free(s);
	return ret;
}
