/* SPDX-License-Identifier: MIT */
/*
 * The io_uring engine: one ring, whose descriptor the loop watches. The
 * engine's loop.
 *
 * The image's descriptors are registered, which spares looking them up for each
 * request. Guest RAM is not: registered buffers are pinned, all of the guest's
 * memory would be.
 */
#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "block/engine.h"

enum { SLOT_CACHED, SLOT_DIRECT, SLOTS };

struct uring {
	struct block_engine base;
	struct io_uring ring;
	struct loop_watch watch;
	bool registered;	/* the file's descriptors, in their slots */
	bool reaping;		/* completions are being handed out */
};

static void prepare_transfer(struct io_uring_sqe *sqe, int fd,
			     const struct block_request *r)
{
	int flags = r->durable ? RWF_DSYNC : 0;

	if (r->iov_count == 1 && r->op == BLOCK_READ) {
		io_uring_prep_read(sqe, fd, r->iov->iov_base,
				   (unsigned int)r->iov->iov_len, r->offset);
	} else if (r->iov_count == 1) {
		io_uring_prep_write(sqe, fd, r->iov->iov_base,
				    (unsigned int)r->iov->iov_len, r->offset);
		sqe->rw_flags = flags;
	} else if (r->op == BLOCK_READ) {
		io_uring_prep_readv(sqe, fd, r->iov, r->iov_count, r->offset);
	} else {
		io_uring_prep_writev2(sqe, fd, r->iov, r->iov_count, r->offset,
				      flags);
	}
}

static void prepare(struct uring *u, struct block_request *r)
{
	/* As many entries as requests in flight: one is always free. */
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	const struct block_file *f = u->base.file;
	bool direct = block_request_is_direct(f, r);
	int fd = u->registered ? (direct ? SLOT_DIRECT : SLOT_CACHED) :
				 (direct ? f->direct_fd : f->fd);

	assert(sqe);
	switch (r->op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		prepare_transfer(sqe, fd, r);
		break;
	case BLOCK_FLUSH:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		io_uring_prep_fallocate(sqe, fd, block_request_mode(r),
					(off_t)r->offset, (off_t)r->len_bytes);
		break;
	}
	if (u->registered)
		sqe->flags |= IOSQE_FIXED_FILE;
	/*
	 * The kernel tries to start a request without waiting. One that the
	 * device's queue must split it finds out about when all of its pages
	 * are mapped, and leaves it to a thread then: better at once.
	 */
	if (direct && (r->len_bytes > f->direct_max_bytes ||
		       r->iov_count > f->direct_max_buffers))
		sqe->flags |= IOSQE_ASYNC;
	io_uring_sqe_set_data(sqe, r);
}

/*
 * -EAGAIN and -EBUSY pass when something completes. With nothing under way in
 * the kernel only time helps: it is short of memory.
 */
static void submit_prepared(struct uring *u)
{
	static const struct timespec pause = { .tv_nsec = 1000000 };

	while (io_uring_sq_ready(&u->ring)) {
		if (io_uring_submit(&u->ring) >= 0)
			continue;
		if (u->base.in_flight > io_uring_sq_ready(&u->ring))
			return;
		nanosleep(&pause, NULL);
	}
}

/*
 * Hands out what has completed up to now. A request submitted meanwhile that
 * completes at once waits for the next round, so that one disk cannot keep the
 * loop for itself.
 */
static void reap(struct uring *u)
{
	unsigned int count = io_uring_cq_ready(&u->ring);
	struct io_uring_cqe *cqe;
	bool any = false;

	if (u->reaping || !count)
		return;
	u->reaping = true;
	while (count-- && !io_uring_peek_cqe(&u->ring, &cqe)) {
		struct block_request *r = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&u->ring, cqe);
		if (!block_request_advance(r, res)) {
			prepare(u, r);
			continue;
		}
		block_request_done(&u->base, r);
		any = true;
	}
	submit_prepared(u);
	if (any)
		u->base.batch_done(u->base.opaque);
	u->reaping = false;
}

static void uring_submit(struct block_engine *e, struct block_request *r)
{
	prepare((struct uring *)e, r);
}

static void uring_kick(struct block_engine *e)
{
	struct uring *u = (struct uring *)e;

	submit_prepared(u);
	reap(u);
}

static void uring_wait(struct block_engine *e)
{
	struct uring *u = (struct uring *)e;
	struct io_uring_cqe *cqe;

	submit_prepared(u);
	while (io_uring_wait_cqe(&u->ring, &cqe) == -EINTR)
		;
	reap(u);
}

static void on_ring(struct loop_watch *w, uint32_t events)
{
	(void)events;
	reap(w->opaque);
}

static void register_file(struct uring *u, const struct block_file *f)
{
	const int fds[SLOTS] = {
		[SLOT_CACHED] = f->fd, [SLOT_DIRECT] = f->direct_fd,
	};

	u->registered = !io_uring_register_files(&u->ring, fds, SLOTS);
}

/* At once: the end of a ring, as an update, lets go of files when it can. */
static void unregister_file(struct uring *u)
{
	if (u->registered)
		io_uring_unregister_files(&u->ring);
	u->registered = false;
}

static void uring_file_changed(struct block_engine *e)
{
	struct uring *u = (struct uring *)e;

	unregister_file(u);
	register_file(u, e->file);
}

static void uring_destroy(struct block_engine *e)
{
	struct uring *u = (struct uring *)e;

	loop_remove(&u->watch);
	unregister_file(u);
	io_uring_queue_exit(&u->ring);
	free(u);
}

static const struct block_engine_ops uring_ops = {
	.kind = BLOCK_ENGINE_URING,
	.submit = uring_submit,
	.kick = uring_kick,
	.wait = uring_wait,
	.file_changed = uring_file_changed,
	.destroy = uring_destroy,
};

/*
 * The best that this kernel has: one that knows a single thread submits (6.0),
 * completions that do not interrupt it (5.19), or as they come. Not those that
 * wait until we ask (DEFER_TASKRUN): epoll does not hear of them, and an eventfd
 * that does costs what they save.
 */
static int init_ring(struct uring *u, unsigned int depth)
{
	static const unsigned int flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN,
		IORING_SETUP_COOP_TASKRUN, 0,
	};
	int ret = -EINVAL;

	for (size_t i = 0; ret == -EINVAL && i < 3; i++)
		ret = io_uring_queue_init(depth, &u->ring, flags[i]);
	return ret;
}

int block_uring_create(struct block_engine **out, struct block_file *f,
		       struct loop *loop, unsigned int depth)
{
	struct uring *u = calloc(1, sizeof(*u));
	int ret;

	if (!u)
		return -ENOMEM;
	u->base.ops = &uring_ops;
	u->watch.fd = -1;
	ret = init_ring(u, depth);
	if (ret)
		goto err_free;
	register_file(u, f);
	ret = loop_add(loop, &u->watch, u->ring.ring_fd, EPOLLIN, on_ring, u);
	if (ret)
		goto err_ring;
	*out = &u->base;
	return 0;

err_ring:
	io_uring_queue_exit(&u->ring);
err_free:
	free(u);
	return ret;
}
