/* SPDX-License-Identifier: MIT */
/* LINK: job loop thread error */
/* Jobs: what their ends are told, and that nothing is left of them. */
#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "job.h"

struct task {
	struct loop *loop;
	struct job *job;
	unsigned int ended;
	int ret;
	char text[ERROR_TEXT_BYTES];
	bool destroy;
	char thread[16];
};

static int work_fails(struct job *j, void *opaque, struct error *e)
{
	struct task *t = opaque;

	pthread_getname_np(pthread_self(), t->thread, sizeof(t->thread));
	job_add_progress(j, 5);
	return error_set(e, -EIO, "it went wrong");
}

static int until_cancelled(struct job *j, void *opaque, struct error *e)
{
	struct pollfd p = { .fd = job_cancel_fd(j), .events = POLLIN };

	(void)opaque;
	poll(&p, 1, -1);
	return error_set(e, job_cancelled(j) ? -ECANCELED : -EIO, "cancelled");
}

static void done(void *opaque, int ret, const struct error *e)
{
	struct task *t = opaque;

	if (t->destroy) {
		job_destroy(t->job);
		t->job = NULL;
	}
	t->ended++;
	t->ret = ret;
	memcpy(t->text, e->text, sizeof(t->text));
	loop_stop(t->loop);
}

static void start(struct task *t, const struct job_ops *ops)
{
	struct error e;

	assert_int_equal(loop_create(&t->loop), 0);
	assert_int_equal(job_start(&t->job, t->loop, ops, t, &e), 0);
}

static void end(struct task *t)
{
	job_destroy(t->job);
	loop_destroy(t->loop);
}

static void test_job_that_fails_tells_why(void **state)
{
	static const struct job_ops ops = { .work = work_fails, .done = done };
	struct task t = { 0 };

	(void)state;
	start(&t, &ops);
	loop_run(t.loop);
	assert_int_equal(t.ended, 1);
	assert_int_equal(t.ret, -EIO);
	assert_string_equal(t.text, "it went wrong");
	assert_int_equal(job_progress(t.job), 5);
	assert_string_equal(t.thread, "mote-job");
	end(&t);
}

/* Who is told may have no use for the job any more. */
static void test_job_destroyed_at_its_end_has_told_why(void **state)
{
	static const struct job_ops ops = { .work = work_fails, .done = done };
	struct task t = { .destroy = true };

	(void)state;
	start(&t, &ops);
	loop_run(t.loop);
	assert_int_equal(t.ret, -EIO);
	assert_string_equal(t.text, "it went wrong");
	end(&t);
}

static void test_job_cancelled_ends(void **state)
{
	static const struct job_ops ops = { .work = until_cancelled, .done = done };
	struct task t = { 0 };

	(void)state;
	start(&t, &ops);
	job_cancel(t.job);
	loop_run(t.loop);
	assert_int_equal(t.ret, -ECANCELED);
	end(&t);
}

static void test_job_destroyed_before_its_end_tells_nobody(void **state)
{
	static const struct job_ops ops = { .work = until_cancelled, .done = done };
	struct task t = { 0 };

	(void)state;
	start(&t, &ops);
	end(&t);
	assert_int_equal(t.ended, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_job_that_fails_tells_why),
		cmocka_unit_test(test_job_destroyed_at_its_end_has_told_why),
		cmocka_unit_test(test_job_cancelled_ends),
		cmocka_unit_test(test_job_destroyed_before_its_end_tells_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
