/* SPDX-License-Identifier: MIT */
/* LINK: error loop block/file block/engine block/uring block/sync */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "block/block.h"

#define SIZE	(256u << 10)
#define DEPTH	8

struct fixture {
	char dir[128], path[160];
	struct loop *loop;
	struct block_file *file;
	struct block_engine *engine;
	unsigned int batches, done;
};

/* The same tests over the best engine of this host and over the last resort. */
static enum block_engine_kind kind;

static void make_image(struct fixture *f, uint32_t size)
{
	int fd = open(f->path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	uint8_t block[1024];

	assert_true(fd >= 0);
	for (uint32_t at = 0; at < size; at += sizeof(block)) {
		uint32_t n = size - at < sizeof(block) ? size - at :
							 sizeof(block);

		memset(block, (int)(1 + at / sizeof(block) % 255), n);
		assert_int_equal(write(fd, block, n), n);
	}
	close(fd);
}

static void on_batch(void *opaque)
{
	struct fixture *f = opaque;

	f->batches++;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error e;

	snprintf(f->dir, sizeof(f->dir), "%s/test-block-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/image", f->dir);
	make_image(f, SIZE);
	assert_int_equal(loop_create(&f->loop), 0);
	assert_int_equal(block_open(&f->file, f->path, false, &e), 0);
	assert_int_equal(block_engine_create(&f->engine, f->file, f->loop,
					     DEPTH, kind, on_batch, f), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	block_engine_destroy(f->engine);
	block_close(f->file);
	loop_destroy(f->loop);
	unlink(f->path);
	rmdir(f->dir);
	free(f);
	return 0;
}

struct request {
	struct block_request io;
	struct fixture *f;
	bool done;
};

static void on_done(struct block_request *io)
{
	struct request *r = (struct request *)io;

	assert_false(r->done);
	r->done = true;
	r->f->done++;
}

static void prepare(struct fixture *f, struct request *r, enum block_op op,
		    uint64_t offset, struct iovec *iov, uint32_t count)
{
	*r = (struct request){
		.io = { .op = op, .offset = offset, .iov = iov,
			.iov_count = count, .done = on_done },
		.f = f,
	};
	for (uint32_t i = 0; i < count; i++)
		r->io.len_bytes += iov[i].iov_len;
}

static int run(struct fixture *f, struct request *r)
{
	block_engine_submit(f->engine, &r->io);
	block_engine_drain(f->engine);
	assert_true(r->done);
	return r->io.result;
}

static int run_range(struct fixture *f, enum block_op op, uint64_t offset,
		     uint64_t len, bool may_unmap)
{
	struct request r;

	prepare(f, &r, op, offset, NULL, 0);
	r.io.len_bytes = len;
	r.io.may_unmap = may_unmap;
	return run(f, &r);
}

/* What the file holds now, read past the engine. */
static uint8_t byte_at(struct fixture *f, off_t offset)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	uint8_t b;

	assert_int_equal(pread(fd, &b, 1, offset), 1);
	close(fd);
	return b;
}

static void test_block_open_unsuitable_refused(void **state)
{
	struct fixture *f = *state;
	char fifo[160], small[160], missing[160];
	struct block_file *file = NULL;
	struct error e;
	int fd;

	snprintf(fifo, sizeof(fifo), "%s/fifo", f->dir);
	snprintf(small, sizeof(small), "%s/small", f->dir);
	snprintf(missing, sizeof(missing), "%s/missing", f->dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	fd = open(small, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, 511), 0);

	assert_int_equal(block_open(&file, missing, false, &e), -ENOENT);
	assert_non_null(strstr(e.text, missing));
	assert_int_equal(block_open(&file, fifo, true, &e), -EINVAL);
	assert_non_null(strstr(e.text, fifo));
	assert_int_equal(block_open(&file, "/dev/null", true, &e), -EINVAL);
	assert_int_equal(block_open(&file, f->dir, true, &e), -EINVAL);
	assert_int_equal(block_open(&file, small, false, &e), -EINVAL);
	assert_non_null(strstr(e.text, "512"));

	/* Rounded down to whole sectors. */
	assert_int_equal(ftruncate(fd, 1535), 0);
	assert_int_equal(block_open(&file, small, false, &e), 0);
	assert_int_equal(block_size_bytes(file), 1024);
	block_close(file);
	close(fd);
	unlink(fifo);
	unlink(small);
}

static void test_block_open_one_writer_or_many_readers(void **state)
{
	struct fixture *f = *state;
	struct block_file *a = NULL, *b = NULL;
	struct error e;

	/* The fixture is a writer. */
	assert_int_equal(block_open(&a, f->path, false, &e), -EBUSY);
	assert_non_null(strstr(e.text, f->path));
	assert_int_equal(block_open(&a, f->path, true, &e), -EBUSY);
	block_engine_destroy(f->engine);
	block_close(f->file);
	f->engine = NULL;
	f->file = NULL;

	assert_int_equal(block_open(&a, f->path, true, &e), 0);
	assert_true(block_readonly(a));
	assert_false(block_can_discard(a));
	assert_false(block_can_write_zeroes(a));
	assert_int_equal(block_open(&b, f->path, true, &e), 0);
	assert_int_equal(block_open(&f->file, f->path, false, &e), -EBUSY);
	block_close(a);
	block_close(b);
	assert_int_equal(block_open(&f->file, f->path, false, &e), 0);
}

static void test_block_probe_leaves_image_alone(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	assert_int_equal(byte_at(f, SIZE - 1), SIZE / 1024 % 255);
}

static void test_block_write_then_read_scattered(void **state)
{
	struct fixture *f = *state;
	char a[700], b[324], back[1024];
	struct iovec out[] = { { a, 700 }, { b, 324 } };
	struct iovec in[] = { { back, 1 }, { back + 1, 1022 },
			      { back + 1023, 1 } };
	struct request r;

	memset(a, 'a', sizeof(a));
	memset(b, 'b', sizeof(b));
	prepare(f, &r, BLOCK_WRITE, 4096, out, 2);
	assert_int_equal(run(f, &r), 0);
	assert_int_equal(byte_at(f, 4096 + 699), 'a');
	assert_int_equal(byte_at(f, 4096 + 1023), 'b');
	assert_int_equal(byte_at(f, 4096 + 1024), 6);
	prepare(f, &r, BLOCK_READ, 4096, in, 3);
	assert_int_equal(run(f, &r), 0);
	assert_memory_equal(back, a, 700);
	assert_memory_equal(back + 700, b, 324);
}

static void test_block_durable_write_and_flush_succeed(void **state)
{
	struct fixture *f = *state;
	char a[512] = "durable";
	struct iovec iov = { a, 512 };
	struct request r;

	prepare(f, &r, BLOCK_WRITE, 0, &iov, 1);
	r.io.durable = true;
	assert_int_equal(run(f, &r), 0);
	assert_int_equal(byte_at(f, 0), 'd');
	prepare(f, &r, BLOCK_FLUSH, 0, NULL, 0);
	assert_int_equal(run(f, &r), 0);
}

static void test_block_read_of_shrunk_image_fails_alone(void **state)
{
	struct fixture *f = *state;
	static char big[SIZE], small[512];
	struct iovec iov[] = { { big, SIZE }, { small, 512 } };
	struct request r[2];

	/* The first part is there: a short read, then none. */
	assert_int_equal(truncate(f->path, SIZE / 2), 0);
	prepare(f, &r[0], BLOCK_READ, 0, &iov[0], 1);
	prepare(f, &r[1], BLOCK_READ, 1024, &iov[1], 1);
	block_engine_submit(f->engine, &r[0].io);
	block_engine_submit(f->engine, &r[1].io);
	block_engine_drain(f->engine);
	assert_int_equal(r[0].io.result, -EIO);
	assert_int_equal(r[1].io.result, 0);
	assert_int_equal(small[0], 2);
}

static void test_block_write_to_readonly_file_fails_alone(void **state)
{
	struct fixture *f = *state;
	struct block_file *file;
	struct block_engine *engine;
	char a[512] = "x";
	struct iovec iov = { a, 512 };
	struct request r;
	struct error e;

	block_engine_destroy(f->engine);
	block_close(f->file);
	f->engine = NULL;
	f->file = NULL;
	assert_int_equal(block_open(&file, f->path, true, &e), 0);
	assert_int_equal(block_engine_create(&engine, file, f->loop, DEPTH,
					     kind, on_batch, f), 0);
	prepare(f, &r, BLOCK_WRITE, 0, &iov, 1);
	block_engine_submit(engine, &r.io);
	block_engine_drain(engine);
	assert_int_equal(r.io.result, -EBADF);
	assert_int_equal(byte_at(f, 0), 1);
	block_engine_destroy(engine);
	block_close(file);
}

static uint64_t allocated(struct fixture *f)
{
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void test_block_discard_and_zeroes_do_as_said(void **state)
{
	struct fixture *f = *state;
	uint64_t before = allocated(f);

	assert_true(block_can_discard(f->file));
	assert_true(block_can_write_zeroes(f->file));
	assert_int_equal(run_range(f, BLOCK_DISCARD, 0, 65536, false), 0);
	assert_true(allocated(f) <= before - 65536);

	before = allocated(f);
	assert_int_equal(run_range(f, BLOCK_WRITE_ZEROES, 65536, 65536, true),
			 0);
	assert_int_equal(byte_at(f, 65536), 0);
	assert_int_equal(byte_at(f, 2 * 65536 - 1), 0);
	assert_true(allocated(f) <= before - 65536);

	/* Without may_unmap the space stays. */
	before = allocated(f);
	assert_int_equal(run_range(f, BLOCK_WRITE_ZEROES, 2 * 65536, 65536,
				   false), 0);
	assert_int_equal(byte_at(f, 2 * 65536), 0);
	assert_int_equal(byte_at(f, 3 * 65536 - 1), 0);
	assert_true(allocated(f) >= before);

	/* Not a whole block: the neighbours keep what they have. */
	assert_int_equal(run_range(f, BLOCK_WRITE_ZEROES, 3 * 65536 + 512, 512,
				   true), 0);
	assert_int_equal(byte_at(f, 3 * 65536 + 511), 193);
	assert_int_equal(byte_at(f, 3 * 65536 + 512), 0);
	assert_int_equal(byte_at(f, 3 * 65536 + 1023), 0);
	assert_int_equal(byte_at(f, 3 * 65536 + 1024), 194);
}

static void test_block_full_depth_completes_in_batches(void **state)
{
	struct fixture *f = *state;
	static char buf[DEPTH][512];
	struct iovec iov[DEPTH];
	struct request r[DEPTH];

	for (unsigned int round = 1; round <= 20; round++) {
		for (unsigned int i = 0; i < DEPTH; i++) {
			iov[i] = (struct iovec){ buf[i], 512 };
			prepare(f, &r[i], BLOCK_READ, i * 1024, &iov[i], 1);
			block_engine_submit(f->engine, &r[i].io);
		}
		assert_int_equal(f->done, (round - 1) * DEPTH);
		block_engine_drain(f->engine);
		assert_int_equal(f->done, round * DEPTH);
		assert_in_range(f->batches, 1, f->done);
		for (unsigned int i = 0; i < DEPTH; i++) {
			assert_int_equal(r[i].io.result, 0);
			assert_int_equal(buf[i][0], i + 1);
		}
	}
	block_engine_drain(f->engine);
	assert_int_equal(f->done, 20 * DEPTH);
}

/* Each completion starts the next request, on the loop, without a drain. */
struct relay {
	struct request r;	/* first */
	struct fixture *f;
	struct iovec iov;
	char buf[512];
	unsigned int left;
};

static void relay_done(struct block_request *io)
{
	struct relay *relay = (struct relay *)io;

	assert_int_equal(io->result, 0);
	if (!--relay->left) {
		loop_stop(relay->f->loop);
		return;
	}
	relay->iov = (struct iovec){ relay->buf, 512 };
	prepare(relay->f, &relay->r, BLOCK_READ, 512 * relay->left,
		&relay->iov, 1);
	io->done = relay_done;
	block_engine_submit(relay->f->engine, io);
	block_engine_kick(relay->f->engine);
}

static void test_block_submit_from_done_goes_on_by_loop(void **state)
{
	struct fixture *f = *state;
	struct relay relay = { .f = f, .left = 100 };

	relay.iov = (struct iovec){ relay.buf, 512 };
	prepare(f, &relay.r, BLOCK_READ, 0, &relay.iov, 1);
	relay.r.io.done = relay_done;
	block_engine_submit(f->engine, &relay.r.io);
	block_engine_kick(f->engine);
	loop_run(f->loop);
	assert_int_equal(relay.left, 0);
	assert_in_range(f->batches, 99, 100);
}

static void test_block_kind_is_what_was_asked(void **state)
{
	struct fixture *f = *state;

	if (kind == BLOCK_ENGINE_SYNC)
		assert_int_equal(block_engine_kind(f->engine),
				 BLOCK_ENGINE_SYNC);
	else
		assert_in_range(block_engine_kind(f->engine),
				BLOCK_ENGINE_URING, BLOCK_ENGINE_SYNC);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_block_open_unsuitable_refused),
		T(test_block_open_one_writer_or_many_readers),
		T(test_block_probe_leaves_image_alone),
		T(test_block_write_then_read_scattered),
		T(test_block_durable_write_and_flush_succeed),
		T(test_block_read_of_shrunk_image_fails_alone),
		T(test_block_write_to_readonly_file_fails_alone),
		T(test_block_discard_and_zeroes_do_as_said),
		T(test_block_full_depth_completes_in_batches),
		T(test_block_submit_from_done_goes_on_by_loop),
		T(test_block_kind_is_what_was_asked),
	};
	int failed;

	kind = BLOCK_ENGINE_AUTO;
	failed = cmocka_run_group_tests_name("auto", tests, NULL, NULL);
	kind = BLOCK_ENGINE_SYNC;
	failed += cmocka_run_group_tests_name("sync", tests, NULL, NULL);
	return failed;
}
