/* SPDX-License-Identifier: MIT */
/* What the block engines share: choosing one, and carrying requests on after
 * partial results. The engine's loop; see engine.h for what workers call. */
#include "block/engine.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>

#include "block/bounce.h"

int block_engine_create(struct block_engine **out, struct block_file *f,
			struct loop *loop, unsigned int depth,
			enum block_engine_kind kind,
			void (*batch_done)(void *opaque), void *opaque)
{
	struct block_engine *e;
	int ret = -ENOSYS;

	if (kind != BLOCK_ENGINE_THREADS)
		ret = block_uring_create(&e, f, loop, depth);
	/* Old kernels, seccomp filters and sysctls leave us without a ring. */
	if (ret && kind != BLOCK_ENGINE_URING)
		ret = block_threads_create(&e, loop);
	if (ret)
		return ret;
	e->file = f;
	e->loop = loop;
	e->depth = depth;
	e->batch_done = batch_done;
	e->opaque = opaque;
	*out = e;
	return 0;
}

void block_engine_set_file(struct block_engine *e, struct block_file *f)
{
	assert(!e->in_flight);
	e->file = f;
	if (e->ops->file_changed)
		e->ops->file_changed(e);
}

void block_engine_destroy(struct block_engine *e)
{
	if (!e)
		return;
	assert(!e->in_flight);
	e->ops->destroy(e);
}

enum block_engine_kind block_engine_kind(const struct block_engine *e)
{
	return e->ops->kind;
}

void block_engine_submit(struct block_engine *e, struct block_request *r)
{
	assert(e->in_flight < e->depth);
	e->in_flight++;
	r->step = 0;
	r->bounced = NULL;
	block_bounce(e->file, r);
	e->ops->submit(e, r);
}

void block_engine_kick(struct block_engine *e)
{
	e->ops->kick(e);
}

void block_engine_drain(struct block_engine *e)
{
	e->ops->kick(e);
	while (e->in_flight)
		e->ops->wait(e);
}

/*
 * Zeroes by fallocate(), one row a step. Where a hole is not wanted and a file
 * system has no way to zero a range, a hole is made and filled again.
 */
#define PUNCH	(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define ZERO	(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE)
#define FILL	FALLOC_FL_KEEP_SIZE

enum { END = -1 };

struct step {
	int mode;
	int on_success, on_unsupported;		/* the next step */
};

static const struct step discard_steps[] = {
	{ PUNCH, END, END },
};

static const struct step unmap_steps[] = {
	{ PUNCH, END, 1 },
	{ ZERO, END, END },
};

static const struct step keep_steps[] = {
	{ ZERO, END, 1 },
	{ PUNCH, 2, END },
	{ FILL, END, END },
};

static const struct step *step_of(const struct block_request *r)
{
	if (r->op == BLOCK_DISCARD)
		return &discard_steps[r->step];
	return r->may_unmap ? &unmap_steps[r->step] : &keep_steps[r->step];
}

int block_request_mode(const struct block_request *r)
{
	return step_of(r)->mode;
}

static bool advance_step(struct block_request *r, ssize_t res)
{
	int next = END;

	if (!res)
		next = step_of(r)->on_success;
	else if (res == -EOPNOTSUPP)
		next = step_of(r)->on_unsupported;
	if (next == END)
		return true;
	r->step = (unsigned int)next;
	return false;
}

/* The buffers have moved n bytes on. */
static void consume(struct block_request *r, uint64_t n)
{
	r->offset += n;
	r->len_bytes -= n;
	while (n) {
		if (n < r->iov->iov_len) {
			r->iov->iov_base = (uint8_t *)r->iov->iov_base + n;
			r->iov->iov_len -= n;
			return;
		}
		n -= r->iov->iov_len;
		r->iov++;
		r->iov_count--;
	}
}

/* A rest that is not aligned, as what follows a short write, is not. */
bool block_request_is_direct(const struct block_file *f,
			     const struct block_request *r)
{
	return f->direct_fd >= 0 &&
	       (r->op == BLOCK_READ || r->op == BLOCK_WRITE) &&
	       block_aligned(f, r);
}

bool block_request_advance(struct block_request *r, ssize_t res)
{
	if (res == -EINTR)
		return false;
	r->result = res < 0 ? (int)res : 0;
	if (r->op == BLOCK_DISCARD || r->op == BLOCK_WRITE_ZEROES)
		return advance_step(r, res);
	if (res < 0 || r->op == BLOCK_FLUSH)
		return true;
	/* Nothing more: someone has made the image shorter. */
	if (!res || (uint64_t)res > r->len_bytes) {
		r->result = -EIO;
		return true;
	}
	consume(r, (uint64_t)res);
	return !r->len_bytes;
}

void block_request_done(struct block_engine *e, struct block_request *r)
{
	e->in_flight--;
	block_unbounce(r);
	r->done(r);
}
