/* SPDX-License-Identifier: MIT */
/* LINK: error loop block/file block/probe block/vhd */
/* LINK: block/engine block/bounce block/uring block/threads */
/*
 * What the engines ask of the kernel, seen where they do: the functions here
 * take the place of libc's and liburing's.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "block/file.h"

#define DEPTH	4
#define IMAGE_BYTES	65536

static struct {
	atomic_uint syncs;		/* that reached the kernel, */
	atomic_uint durable_writes;	/* and writes with RWF_DSYNC */
	unsigned int async;		/* left to io_uring's threads */
	atomic_bool fail;		/* all syncs */
	bool hold;			/* until posted */
	sem_t held, release;
} kernel;

int fdatasync(int fd)
{
	if (kernel.hold) {
		sem_post(&kernel.held);
		sem_wait(&kernel.release);
	}
	kernel.syncs++;
	if (kernel.fail) {
		errno = EBADF;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset,
		 int flags)
{
	if (flags & RWF_DSYNC)
		kernel.durable_writes++;
	return syscall(SYS_pwritev2, fd, iov, count, offset, 0L, flags);
}

/* What liburing's does, after a look at what is about to go. */
int io_uring_submit(struct io_uring *ring)
{
	struct io_uring_sq *sq = &ring->sq;

	for (unsigned int i = sq->sqe_head; i != sq->sqe_tail; i++) {
		struct io_uring_sqe *sqe = &sq->sqes[i & sq->ring_mask];

		if (sqe->opcode == IORING_OP_FSYNC &&
		    sqe->fsync_flags & IORING_FSYNC_DATASYNC) {
			kernel.syncs++;
			if (kernel.fail) {
				sqe->fd = -1;
				sqe->flags = 0;
			}
		}
		if ((sqe->opcode == IORING_OP_WRITE ||
		     sqe->opcode == IORING_OP_WRITEV) &&
		    (unsigned int)sqe->rw_flags & RWF_DSYNC)
			kernel.durable_writes++;
		if (sqe->flags & IOSQE_ASYNC)
			kernel.async++;
	}
	return io_uring_submit_and_wait(ring, 0);
}

struct fixture {
	FILE *image;
	struct block_file file;
	struct loop *loop;
	struct block_engine *engine;
	unsigned int done;
};

static enum block_engine_kind kind;

static void on_batch(void *opaque)
{
	(void)opaque;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	memset(&kernel, 0, sizeof(kernel));
	sem_init(&kernel.held, 0, 0);
	sem_init(&kernel.release, 0, 0);
	f->image = tmpfile();
	f->file.fd = fileno(f->image);
	f->file.direct_fd = -1;
	assert_int_equal(ftruncate(f->file.fd, IMAGE_BYTES), 0);
	assert_int_equal(loop_create(&f->loop), 0);
	assert_int_equal(block_engine_create(&f->engine, &f->file, f->loop,
					     DEPTH, kind, on_batch, f), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	block_engine_destroy(f->engine);
	loop_destroy(f->loop);
	fclose(f->image);
	free(f);
	return 0;
}

struct request {
	struct block_request io;
	struct fixture *f;
};

static void on_done(struct block_request *r)
{
	((struct request *)r)->f->done++;
}

static struct request request_of(struct fixture *f, enum block_op op,
				 struct iovec *iov)
{
	return (struct request){
		.io = { .op = op, .len_bytes = iov ? iov->iov_len : 0,
			.iov = iov, .iov_count = iov ? 1 : 0, .done = on_done },
		.f = f,
	};
}

static void test_block_flush_syncs_once_each(void **state)
{
	struct fixture *f = *state;
	struct request r;

	for (unsigned int i = 1; i <= 3; i++) {
		r = request_of(f, BLOCK_FLUSH, NULL);
		block_engine_submit(f->engine, &r.io);
		block_engine_drain(f->engine);
		assert_int_equal(r.io.result, 0);
		assert_int_equal(kernel.syncs, i);
		assert_int_equal(f->done, i);
	}
}

static void test_block_flush_result_is_that_of_the_sync(void **state)
{
	struct fixture *f = *state;
	struct request r = request_of(f, BLOCK_FLUSH, NULL);

	kernel.fail = true;
	block_engine_submit(f->engine, &r.io);
	block_engine_drain(f->engine);
	assert_int_equal(r.io.result, -EBADF);
	assert_int_equal(kernel.syncs, 1);
}

static void test_block_write_syncs_only_if_durable(void **state)
{
	struct fixture *f = *state;
	char buf[512] = "x";
	struct iovec iov = { buf, sizeof(buf) };
	struct request r = request_of(f, BLOCK_WRITE, &iov);

	block_engine_submit(f->engine, &r.io);
	block_engine_drain(f->engine);
	assert_int_equal(r.io.result, 0);
	assert_int_equal(kernel.durable_writes, 0);
	iov = (struct iovec){ buf, sizeof(buf) };
	r = request_of(f, BLOCK_WRITE, &iov);
	r.io.durable = true;
	block_engine_submit(f->engine, &r.io);
	block_engine_drain(f->engine);
	assert_int_equal(r.io.result, 0);
	assert_int_equal(kernel.durable_writes, 1);
	assert_int_equal(kernel.syncs, 0);
}

static unsigned int async_reads(struct fixture *f, size_t bytes)
{
	static uint8_t buf[IMAGE_BYTES];
	struct iovec iov[] = { { buf, 512 }, { buf + 512, bytes - 512 } };
	struct request r = request_of(f, BLOCK_READ, iov);

	r.io.len_bytes = bytes;
	r.io.iov_count = 2;
	kernel.async = 0;
	block_engine_submit(f->engine, &r.io);
	block_engine_drain(f->engine);
	assert_int_equal(r.io.result, 0);
	return kernel.async;
}

/* Direct for mote; for the kernel not, so that any file system will do. */
static void test_block_direct_larger_than_device_takes_is_async(void **state)
{
	struct fixture *f = *state;

	if (block_engine_kind(f->engine) != BLOCK_ENGINE_URING) {
		print_message("no io_uring here\n");
		return;
	}
	assert_int_equal(async_reads(f, IMAGE_BYTES), 0);
	f->file.direct_fd = dup(f->file.fd);
	f->file.direct_offset_align = f->file.direct_memory_align = 1;
	f->file.direct_max_bytes = 8192;
	f->file.direct_max_buffers = 2;
	block_engine_set_file(f->engine, &f->file);
	assert_int_equal(async_reads(f, 8192), 0);
	assert_int_equal(async_reads(f, 8193), 1);
	f->file.direct_max_buffers = 1;
	assert_int_equal(async_reads(f, 8192), 1);
	close(f->file.direct_fd);
}

static void stop(void *opaque)
{
	loop_stop(opaque);
}

/* All that the loop has to do now, and has had 50 ms for. */
static void run_loop(struct fixture *f)
{
	struct loop_timer timer;

	assert_int_equal(loop_timer_init(f->loop, &timer, stop, f->loop), 0);
	loop_timer_set(&timer, 50000000, 0);
	loop_run(f->loop);
	loop_timer_deinit(&timer);
}

/* A sync that takes long; a worker's, as a ring's cannot be held. */
static void test_block_flush_waits_for_the_sync(void **state)
{
	struct fixture *f = *state;
	char buf[512];
	struct iovec iov = { buf, sizeof(buf) };
	struct request flush = request_of(f, BLOCK_FLUSH, NULL);
	struct request read = request_of(f, BLOCK_READ, &iov);

	kernel.hold = true;
	block_engine_submit(f->engine, &flush.io);
	block_engine_kick(f->engine);
	sem_wait(&kernel.held);
	run_loop(f);
	assert_int_equal(f->done, 0);
	/* Others do not. */
	block_engine_submit(f->engine, &read.io);
	block_engine_kick(f->engine);
	run_loop(f);
	assert_int_equal(f->done, 1);
	assert_int_equal(read.io.result, 0);
	sem_post(&kernel.release);
	block_engine_drain(f->engine);
	assert_int_equal(f->done, 2);
	assert_int_equal(flush.io.result, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest ring[] = {
		T(test_block_direct_larger_than_device_takes_is_async),
	};
	const struct CMUnitTest both[] = {
		T(test_block_flush_syncs_once_each),
		T(test_block_flush_result_is_that_of_the_sync),
		T(test_block_write_syncs_only_if_durable),
	};
	const struct CMUnitTest workers[] = {
		T(test_block_flush_waits_for_the_sync),
	};
	int failed;

	kind = BLOCK_ENGINE_AUTO;
	failed = cmocka_run_group_tests_name("the best engine", both, NULL,
					     NULL);
	failed += cmocka_run_group_tests_name("a ring", ring, NULL, NULL);
	kind = BLOCK_ENGINE_THREADS;
	failed += cmocka_run_group_tests_name("threads", both, NULL, NULL);
	failed += cmocka_run_group_tests_name("threads", workers, NULL, NULL);
	return failed;
}
