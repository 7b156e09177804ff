/* SPDX-License-Identifier: MIT */
/* LINK: loop iothread */
/* The event loop: removal while dispatching, calls across threads, timers. */
#include "unit.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop.h"

struct pair {
	struct loop *loop;
	struct loop_watch a, b;
	unsigned int calls;
};

/* Whichever runs first removes the other, whose event is already fetched. */
static void remove_other(struct loop_watch *w, uint32_t events)
{
	struct pair *p = w->opaque;

	(void)events;
	p->calls++;
	loop_remove(w == &p->a ? &p->b : &p->a);
	loop_remove(w);
	loop_stop(p->loop);
}

static void test_loop_removed_watch_is_not_called(void **state)
{
	struct pair p = { 0 };
	int a = eventfd(1, EFD_NONBLOCK), b = eventfd(1, EFD_NONBLOCK);

	(void)state;
	assert_int_equal(loop_create(&p.loop), 0);
	assert_int_equal(loop_add(p.loop, &p.a, a, EPOLLIN, remove_other, &p),
			 0);
	assert_int_equal(loop_add(p.loop, &p.b, b, EPOLLIN, remove_other, &p),
			 0);
	loop_run(p.loop);
	assert_int_equal(p.calls, 1);
	assert_int_equal(p.a.fd, -1);
	assert_int_equal(p.b.fd, -1);
	loop_destroy(p.loop);
	close(a);
	close(b);
}

static void note_thread(void *opaque)
{
	*(pthread_t *)opaque = pthread_self();
}

static void test_loop_call_runs_on_the_loops_thread(void **state)
{
	struct iothread *t;
	pthread_t where = pthread_self();

	(void)state;
	assert_int_equal(iothread_create(&t, "test-io"), 0);
	assert_false(loop_is_current(iothread_loop(t)));
	loop_call(iothread_loop(t), note_thread, &where);
	assert_false(pthread_equal(where, pthread_self()));
	iothread_destroy(t);
}

static void count_up(void *opaque)
{
	atomic_fetch_add((atomic_uint *)opaque, 1);
}

static void test_loop_post_keeps_all_calls(void **state)
{
	struct iothread *t;
	atomic_uint count = 0;

	(void)state;
	assert_int_equal(iothread_create(&t, "test-io"), 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(loop_post(iothread_loop(t), count_up, &count),
				 0);
	/* Calls are in order: this one comes after all of them. */
	loop_call(iothread_loop(t), count_up, &count);
	assert_int_equal(atomic_load(&count), 1001);
	iothread_destroy(t);
}

static void test_loop_call_without_a_running_thread_is_plain(void **state)
{
	struct loop *l;
	pthread_t where;

	(void)state;
	assert_int_equal(loop_create(&l), 0);
	loop_call(l, note_thread, &where);
	assert_true(pthread_equal(where, pthread_self()));
	loop_destroy(l);
}

struct ticker {
	struct loop *loop;
	struct loop_timer timer;
	unsigned int ticks;
};

static void on_tick(void *opaque)
{
	struct ticker *t = opaque;

	if (++t->ticks == 3)
		loop_stop(t->loop);
}

static void test_loop_timer_fires_periodically(void **state)
{
	struct ticker t = { 0 };

	(void)state;
	assert_int_equal(loop_create(&t.loop), 0);
	assert_int_equal(loop_timer_init(t.loop, &t.timer, on_tick, &t), 0);
	loop_timer_set(&t.timer, 1000000, 1000000);
	loop_run(t.loop);
	assert_int_equal(t.ticks, 3);
	loop_timer_deinit(&t.timer);
	loop_destroy(t.loop);
}

struct told {
	struct loop *loop;
	struct loop_event event;
	unsigned int times;
};

static void on_told(void *opaque)
{
	struct told *t = opaque;

	t->times++;
	loop_stop(t->loop);
}

static void *tell_twice(void *opaque)
{
	struct told *t = opaque;

	loop_event_set(&t->event);
	loop_event_set(&t->event);
	return NULL;
}

static void test_loop_event_is_heard_once_for_all(void **state)
{
	struct told t = { .event = LOOP_EVENT_INIT };
	pthread_t thread;

	(void)state;
	/* Never made. */
	loop_event_set(&t.event);
	loop_event_deinit(&t.event);
	assert_int_equal(loop_create(&t.loop), 0);
	assert_int_equal(loop_event_init(t.loop, &t.event, on_told, &t), 0);
	for (unsigned int i = 1; i < 3; i++) {
		assert_int_equal(pthread_create(&thread, NULL, tell_twice, &t),
				 0);
		pthread_join(thread, NULL);
		loop_run(t.loop);
		assert_int_equal(t.times, i);
	}
	loop_event_deinit(&t.event);
	loop_event_deinit(&t.event);
	loop_destroy(t.loop);
}

static void *stop_soon(void *opaque)
{
	loop_stop(opaque);
	return NULL;
}

static void test_loop_stop_from_another_thread_ends_it(void **state)
{
	struct loop *l;
	pthread_t t;

	(void)state;
	assert_int_equal(loop_create(&l), 0);
	assert_int_equal(pthread_create(&t, NULL, stop_soon, l), 0);
	loop_run(l);
	pthread_join(t, NULL);
	loop_destroy(l);
}

#define HANDLED 42

static void on_crash(int sig)
{
	(void)sig;
	_exit(HANDLED);
}

static void crash(void *opaque)
{
	(void)opaque;
	__builtin_trap();
}

/* The handler that restores the terminal also runs when a thread crashes. */
static void test_iothread_crash_reaches_the_handler(void **state)
{
	struct iothread *t;
	int status;
	pid_t pid = fork();

	(void)state;
	if (!pid) {
		signal(SIGILL, on_crash);
		signal(SIGTRAP, on_crash);
		if (iothread_create(&t, "test"))
			_exit(1);
		loop_call(iothread_loop(t), crash, NULL);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), HANDLED);
}

static void set_ran(void *opaque)
{
	*(bool *)opaque = true;
}

/* One at a time needs one thread, however often. */
static void test_iothread_pool_starts_no_more_than_are_used(void **state)
{
	struct iothread_pool *p;
	struct loop *l;

	(void)state;
	assert_int_equal(iothread_pool_create(&p, 3), 0);
	for (unsigned int i = 0; i < 4; i++) {
		l = iothread_pool_take(p);
		assert_ptr_equal(l, iothread_pool_first(p));
		iothread_pool_put(p, l);
	}
	iothread_pool_destroy(p);
}

static void test_iothread_pool_shares_the_least_used(void **state)
{
	struct iothread_pool *p;
	struct loop *l[7];
	bool ran = false;

	(void)state;
	assert_int_equal(iothread_pool_create(&p, 3), 0);
	for (unsigned int i = 0; i < 7; i++)
		l[i] = iothread_pool_take(p);
	assert_ptr_equal(l[0], iothread_pool_first(p));
	assert_ptr_not_equal(l[1], l[0]);
	assert_ptr_not_equal(l[2], l[0]);
	assert_ptr_not_equal(l[2], l[1]);
	for (unsigned int i = 3; i < 7; i++)
		assert_ptr_equal(l[i], l[i - 3]);
	/* Users: 3, 2, 2. Without its own, the third is everybody's choice. */
	iothread_pool_put(p, l[2]);
	iothread_pool_put(p, l[5]);
	assert_ptr_equal(iothread_pool_take(p), l[2]);
	assert_ptr_equal(iothread_pool_take(p), l[2]);
	loop_call(l[2], set_ran, &ran);
	assert_true(ran);
	iothread_pool_destroy(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loop_removed_watch_is_not_called),
		cmocka_unit_test(test_loop_call_runs_on_the_loops_thread),
		cmocka_unit_test(test_loop_post_keeps_all_calls),
		cmocka_unit_test(test_loop_call_without_a_running_thread_is_plain),
		cmocka_unit_test(test_loop_timer_fires_periodically),
		cmocka_unit_test(test_loop_event_is_heard_once_for_all),
		cmocka_unit_test(test_loop_stop_from_another_thread_ends_it),
		cmocka_unit_test(test_iothread_crash_reaches_the_handler),
		cmocka_unit_test(
			test_iothread_pool_shares_the_least_used),
		cmocka_unit_test(
			test_iothread_pool_starts_no_more_than_are_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
