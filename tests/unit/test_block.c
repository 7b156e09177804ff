/* SPDX-License-Identifier: MIT */
/* LINK: error loop block/file block/probe block/vhd */
/* LINK: block/engine block/bounce block/uring block/threads */
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

static struct error e;

static int open_image(struct block_file **out, const char *path, bool readonly)
{
	const struct block_open_params p = {
		.path = path, .readonly = readonly,
	};

	return block_open(out, &p, &e);
}

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

	snprintf(f->dir, sizeof(f->dir), "%s/test-block-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/image", f->dir);
	make_image(f, SIZE);
	assert_int_equal(loop_create(&f->loop), 0);
	assert_int_equal(open_image(&f->file, f->path, false), 0);
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
	int fd;

	snprintf(fifo, sizeof(fifo), "%s/fifo", f->dir);
	snprintf(small, sizeof(small), "%s/small", f->dir);
	snprintf(missing, sizeof(missing), "%s/missing", f->dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	fd = open(small, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, 511), 0);

	assert_int_equal(open_image(&file, missing, false), -ENOENT);
	assert_non_null(strstr(e.text, missing));
	assert_int_equal(open_image(&file, fifo, true), -EINVAL);
	assert_non_null(strstr(e.text, fifo));
	assert_int_equal(open_image(&file, "/dev/null", true), -EINVAL);
	assert_int_equal(open_image(&file, f->dir, true), -EINVAL);
	assert_int_equal(open_image(&file, small, false), -EINVAL);
	assert_non_null(strstr(e.text, "512"));

	/* Rounded down to whole sectors. */
	assert_int_equal(ftruncate(fd, 1535), 0);
	assert_int_equal(open_image(&file, small, false), 0);
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

	/* The fixture is a writer. */
	assert_int_equal(open_image(&a, f->path, false), -EBUSY);
	assert_non_null(strstr(e.text, f->path));
	assert_int_equal(open_image(&a, f->path, true), -EBUSY);
	block_engine_destroy(f->engine);
	block_close(f->file);
	f->engine = NULL;
	f->file = NULL;

	assert_int_equal(open_image(&a, f->path, true), 0);
	assert_true(block_readonly(a));
	assert_false(block_can_discard(a));
	assert_false(block_can_write_zeroes(a));
	assert_int_equal(open_image(&b, f->path, true), 0);
	assert_int_equal(open_image(&f->file, f->path, false), -EBUSY);
	block_close(a);
	block_close(b);
	assert_int_equal(open_image(&f->file, f->path, false), 0);
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

	block_engine_destroy(f->engine);
	block_close(f->file);
	f->engine = NULL;
	f->file = NULL;
	assert_int_equal(open_image(&file, f->path, true), 0);
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

static void put_be(uint8_t *p, uint64_t value, unsigned int bytes)
{
	while (bytes--) {
		p[bytes] = (uint8_t)value;
		value >>= 8;
	}
}

/* The footer of a fixed VHD of SIZE bytes behind the image. */
static void append_footer(struct fixture *f)
{
	uint8_t footer[512] = "conectix";
	uint32_t sum = 0;
	int fd = open(f->path, O_WRONLY | O_CLOEXEC);

	put_be(footer + 12, 0x10000, 4);
	put_be(footer + 16, UINT64_MAX, 8);
	put_be(footer + 48, SIZE, 8);
	put_be(footer + 60, 2, 4);
	for (unsigned int i = 0; i < 512; i++)
		sum += footer[i];
	put_be(footer + 64, ~sum, 4);
	assert_int_equal(pwrite(fd, footer, 512, SIZE), 512);
	close(fd);
}

/* Another way of having the fixture's image open. */
static int reopen(struct fixture *f, const struct block_open_params *p)
{
	int ret;

	block_engine_destroy(f->engine);
	block_close(f->file);
	f->engine = NULL;
	f->file = NULL;
	ret = block_open(&f->file, p, &e);
	if (!ret)
		assert_int_equal(block_engine_create(&f->engine, f->file,
						     f->loop, DEPTH, kind,
						     on_batch, f), 0);
	return ret;
}

static void test_block_vhd_hides_its_footer(void **state)
{
	struct fixture *f = *state;
	const struct block_open_params p = { .path = f->path, .vhd = true };

	assert_int_equal(reopen(f, &p), -EINVAL);
	assert_non_null(strstr(e.text, f->path));
	append_footer(f);
	assert_int_equal(reopen(f, &p), 0);
	assert_int_equal(block_size_bytes(f->file), SIZE);
	assert_int_equal(block_resize(f->file, 2 * SIZE, &e), -EOPNOTSUPP);
	assert_int_equal(block_size_bytes(f->file), SIZE);
}

static void test_block_resize_grows_and_shrinks_the_file(void **state)
{
	struct fixture *f = *state;
	const struct block_open_params p = {
		.path = f->path, .readonly = true,
	};
	struct stat st;

	assert_int_equal(block_resize(f->file, 3 * SIZE, &e), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, 3 * SIZE);
	assert_int_equal(block_resize(f->file, 512, &e), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, 512);
	assert_int_equal(block_size_bytes(f->file), 512);
	assert_int_equal(block_resize(f->file, 0, &e), -EINVAL);
	assert_int_equal(block_resize(f->file, 513, &e), -EINVAL);
	assert_int_equal(block_resize(f->file, UINT64_MAX - 511, &e), -EINVAL);
	assert_int_equal(block_size_bytes(f->file), 512);
	assert_int_equal(reopen(f, &p), 0);
	assert_int_equal(block_resize(f->file, 1024, &e), -EROFS);
}

static void test_block_set_file_goes_on_with_another(void **state)
{
	struct fixture *f = *state;
	struct block_file *other;
	char path[170], buf[512];
	struct iovec iov = { buf, 512 };
	struct request r;
	int fd;

	snprintf(path, sizeof(path), "%s.2", f->path);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	memset(buf, 'o', 512);
	assert_int_equal(write(fd, buf, 512), 512);
	close(fd);
	prepare(f, &r, BLOCK_READ, 0, &iov, 1);
	assert_int_equal(run(f, &r), 0);
	assert_int_equal(buf[0], 1);
	assert_int_equal(open_image(&other, path, false), 0);
	block_engine_set_file(f->engine, other);
	block_close(f->file);
	f->file = other;
	iov = (struct iovec){ buf, 512 };
	prepare(f, &r, BLOCK_READ, 0, &iov, 1);
	assert_int_equal(run(f, &r), 0);
	assert_int_equal(buf[0], 'o');
	/* The first one is nobody's any more. */
	assert_int_equal(open_image(&other, f->path, false), 0);
	block_close(other);
	unlink(path);
}

/*
 * Every offset, length and address, on a file system that has direct I/O or
 * else (it says so) not at all.
 */
static void test_block_direct_takes_any_alignment(void **state)
{
	struct fixture *f = *state;
	const struct block_open_params p = { .path = f->path, .direct = true };
	static uint8_t memory[3 * 8192] __attribute__((aligned(4096)));
	static const unsigned int at[] = { 0, 512, 4096, 1024, 7 };
	struct iovec iov[2];
	struct request r;
	int ret = reopen(f, &p);

	if (ret == -EINVAL) {
		assert_non_null(strstr(e.text, "direct"));
		print_message("no direct I/O in $TMPDIR\n");
		return;
	}
	assert_int_equal(ret, 0);
	for (unsigned int i = 0; i < 5; i++)
		for (unsigned int sectors = 1; sectors <= 9; sectors += 4) {
			uint32_t len = 512 * sectors;
			uint64_t offset = 8192 + (at[i] & ~511u);
			uint8_t *buf = memory + at[i];

			memset(memory, 0, sizeof(memory));
			memset(buf, (int)(100 + i + sectors), len);
			iov[0] = (struct iovec){ buf, 100 };
			iov[1] = (struct iovec){ buf + 100, len - 100 };
			prepare(f, &r, BLOCK_WRITE, offset, iov, 2);
			assert_int_equal(run(f, &r), 0);
			assert_int_equal(byte_at(f, (off_t)offset + len - 1),
					 100 + i + sectors);
			memset(memory, 0, sizeof(memory));
			iov[0] = (struct iovec){ buf, len };
			prepare(f, &r, BLOCK_READ, offset, iov, 1);
			assert_int_equal(run(f, &r), 0);
			assert_int_equal(buf[0], 100 + i + sectors);
			assert_int_equal(buf[len - 1], 100 + i + sectors);
			assert_int_equal(buf[len], 0);
		}
	prepare(f, &r, BLOCK_FLUSH, 0, NULL, 0);
	assert_int_equal(run(f, &r), 0);
	/* Past the end of a file that has become shorter. */
	assert_int_equal(truncate(f->path, 8192 + 512), 0);
	iov[0] = (struct iovec){ memory, 1024 };
	prepare(f, &r, BLOCK_READ, 8192, iov, 1);
	assert_int_equal(run(f, &r), -EIO);
}

static void test_block_kind_is_what_was_asked(void **state)
{
	struct fixture *f = *state;

	if (kind == BLOCK_ENGINE_THREADS)
		assert_int_equal(block_engine_kind(f->engine),
				 BLOCK_ENGINE_THREADS);
	else
		assert_in_range(block_engine_kind(f->engine),
				BLOCK_ENGINE_URING, BLOCK_ENGINE_THREADS);
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
		T(test_block_vhd_hides_its_footer),
		T(test_block_resize_grows_and_shrinks_the_file),
		T(test_block_set_file_goes_on_with_another),
		T(test_block_direct_takes_any_alignment),
		T(test_block_kind_is_what_was_asked),
	};
	int failed;

	kind = BLOCK_ENGINE_AUTO;
	failed = cmocka_run_group_tests_name("auto", tests, NULL, NULL);
	kind = BLOCK_ENGINE_THREADS;
	failed += cmocka_run_group_tests_name("threads", tests, NULL, NULL);
	return failed;
}
