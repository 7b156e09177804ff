/* SPDX-License-Identifier: MIT */
/* LINK: p9/codec p9/attr p9/export p9/fid p9/op_attr p9/op_dir p9/op_io */
/* LINK: p9/op_lock p9/op_name p9/op_open p9/op_session p9/op_xattr p9/path */
/* LINK: p9/lock_ranges p9/pool p9/qid p9/reclaim p9/save p9/server state error loop */
/* WITH: p9_fixture */
/* Requests that take long: others go on, Tflush cancels or waits. */
#include <errno.h>
#include <linux/magic.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "unit.h"

#include "p9_fixture.h"

#define WORKERS 8

static struct p9_client c;
static sem_t entered, leave;

/* An old kernel: RWF_NOWAIT is not for every file system. */
ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset,
		int flags)
{
	if (!flags)
		return preadv(fd, iov, count, offset);
	errno = EOPNOTSUPP;
	return -1;
}

ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset,
		 int flags)
{
	if (!flags)
		return pwritev(fd, iov, count, offset);
	errno = EOPNOTSUPP;
	return -1;
}

/* The server's fsync is as slow as the test wants. */
int fsync(int fd)
{
	(void)fd;
	sem_post(&entered);
	sem_wait(&leave);
	return 0;
}

struct slow {
	struct p9_request request;
	struct iovec out, in;
	uint8_t t[64], r[64];
	uint32_t bytes;
	unsigned int order;		/* 0: not done */
};

static unsigned int ended;

static void slow_done(struct p9_request *r, uint32_t bytes)
{
	struct slow *s = (struct slow *)r;

	assert_int_equal(s->order, 0);
	s->bytes = bytes;
	s->order = ++ended;
}

static void submit(struct slow *s, uint8_t type, uint16_t tag, uint32_t a)
{
	struct p9_writer w = { .data = s->t, .size_bytes = sizeof(s->t) };

	memset(s, 0, sizeof(*s));
	p9_put_u32(&w, type == P9_TFLUSH ? 9 : 11);
	p9_put_u8(&w, type);
	p9_put_u16(&w, tag);
	if (type == P9_TFLUSH)
		p9_put_u16(&w, (uint16_t)a);
	else
		p9_put_u32(&w, a);
	s->out = (struct iovec){ s->t, w.len_bytes };
	s->in = (struct iovec){ s->r, sizeof(s->r) };
	s->request = (struct p9_request){
		.out = &s->out, .out_count = 1, .out_bytes = w.len_bytes,
		.in = &s->in, .in_count = 1, .in_bytes = sizeof(s->r),
		.done = slow_done,
	};
	p9_server_submit(c.server, &s->request);
}

static int set_up(void **state)
{
	struct p9_params p;

	(void)state;
	ended = 0;
	sem_init(&entered, 0, 0);
	sem_init(&leave, 0, 0);
	p9_client_init(&c, &p);
	p9_client_start(&c, &p);
	p9_host_write(&c, "file", "content");
	assert_int_equal(p9_do_version(&c, 8192, "9P2000.L"), 0);
	assert_int_equal(p9_do_attach(&c, 0, 0), 0);
	assert_int_equal(p9_do_walk(&c, 0, 1, "file"), 0);
	assert_int_equal(p9_do_lopen(&c, 1, 2), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	p9_client_deinit(&c);
	return 0;
}

static void test_slow_fsync_holds_up_nobody(void **state)
{
	struct p9_test_attr a;
	struct slow s;

	(void)state;
	submit(&s, P9_TFSYNC, 7, 1);
	sem_wait(&entered);
	assert_int_equal(p9_do_getattr(&c, 1, &a), 0);
	assert_int_equal(p9_do_mkdir(&c, 0, "d", 0700), 0);
	assert_int_equal(p9_do_readdir(&c, 1, 0, 10), -ENOTDIR);
	/* Its fid may go meanwhile, and the whole session. */
	assert_int_equal(p9_do_fid(&c, P9_TCLUNK, 1), 0);
	assert_int_equal(p9_do_version(&c, 8192, "9P2000.L"), 0);
	assert_int_equal(s.order, 0);
	sem_post(&leave);
	p9_server_drain(c.server);
	assert_int_equal(s.order, 1);
	assert_int_equal(s.bytes, 7);
	assert_int_equal(s.r[4], P9_TFSYNC + 1);
	assert_int_equal(s.r[5], 7);
}

static void test_flush_waits_for_what_runs(void **state)
{
	struct slow s, first, second, third;

	(void)state;
	submit(&s, P9_TFSYNC, 7, 1);
	sem_wait(&entered);
	submit(&first, P9_TFLUSH, 8, 7);
	submit(&second, P9_TFLUSH, 9, 7);
	submit(&third, P9_TFLUSH, 10, 8);	/* a flush of a flush */
	assert_int_equal(ended, 0);
	sem_post(&leave);
	p9_server_drain(c.server);
	/* The old request's own reply comes first, then theirs, in order. */
	assert_int_equal(s.order, 1);
	assert_int_equal(s.bytes, 7);
	assert_int_equal(first.order, 2);
	assert_int_equal(third.order, 3);
	assert_int_equal(second.order, 4);
	assert_int_equal(second.r[4], P9_TFLUSH + 1);
	assert_int_equal(second.r[5], 9);
}

static void test_flush_cancels_what_waits(void **state)
{
	struct slow busy[WORKERS], s, flush, again;

	(void)state;
	for (int i = 0; i < WORKERS; i++) {
		submit(&busy[i], P9_TFSYNC, (uint16_t)(20 + i), 1);
		sem_wait(&entered);
	}
	submit(&s, P9_TFSYNC, 7, 1);
	submit(&flush, P9_TFLUSH, 8, 7);
	assert_int_equal(s.order, 1);
	assert_int_equal(s.bytes, 0);	/* no reply */
	assert_int_equal(flush.order, 2);
	assert_int_equal(flush.bytes, 7);
	/* Its tag is free again. */
	submit(&again, P9_TFLUSH, 8, 7);
	assert_int_equal(again.order, 3);
	for (int i = 0; i < WORKERS; i++)
		sem_post(&leave);
	p9_server_drain(c.server);
	assert_int_equal(ended, 3 + WORKERS);
	assert_int_equal(sem_trywait(&entered), -1);
}

static void test_flush_of_nothing_is_answered(void **state)
{
	struct slow flush;

	(void)state;
	submit(&flush, P9_TFLUSH, 8, 7);
	assert_int_equal(flush.bytes, 7);
	submit(&flush, P9_TFLUSH, 8, 8);	/* itself */
	assert_int_equal(flush.bytes, 7);
}

static void test_server_ends_with_requests_in_flight(void **state)
{
	struct slow busy[WORKERS + 3];

	(void)state;
	for (int i = 0; i < WORKERS + 3; i++)
		submit(&busy[i], P9_TFSYNC, (uint16_t)(20 + i), 1);
	for (int i = 0; i < WORKERS + 3; i++)
		sem_post(&leave);
	p9_client_restart(&c);
	assert_int_equal(ended, WORKERS + 3);
	for (int i = 0; i < WORKERS + 3; i++)
		assert_int_equal(busy[i].bytes, 7);
}

/* Without RWF_NOWAIT too. */
static void test_data_in_memory_is_moved_at_once(void **state)
{
	static const char text[] = "some bytes";
	const char *dir = getenv("TMPDIR");
	char *old = dir ? strdup(dir) : NULL;
	struct p9_client m;
	struct p9_params p;
	struct statfs st;

	(void)state;
	assert_int_equal(statfs("/dev/shm", &st), 0);
	assert_int_equal(st.f_type, TMPFS_MAGIC);
	setenv("TMPDIR", "/dev/shm", 1);
	p9_client_init(&m, &p);
	if (old)
		setenv("TMPDIR", old, 1);
	else
		unsetenv("TMPDIR");
	free(old);
	p9_client_start(&m, &p);
	assert_int_equal(p9_do_version(&m, 8192, "9P2000.L"), 0);
	assert_int_equal(p9_do_attach(&m, 0, 0), 0);
	assert_int_equal(p9_do_lcreate(&m, 0, "new", 2, 0600), 0);
	m.never_waits = true;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(p9_do_write(&m, 0, 0, text, sizeof(text)),
				 sizeof(text));
		assert_int_equal(p9_do_read(&m, 0, 0, 100), sizeof(text));
	}
	p9_client_deinit(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define WITH(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
		WITH(test_slow_fsync_holds_up_nobody),
		WITH(test_flush_waits_for_what_runs),
		WITH(test_flush_cancels_what_waits),
		WITH(test_flush_of_nothing_is_answered),
		WITH(test_server_ends_with_requests_in_flight),
		WITH(test_data_in_memory_is_moved_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
