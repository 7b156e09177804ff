/* SPDX-License-Identifier: MIT */
/*
 * Starting mote's threads other than the main one. Main thread.
 *
 * All signals are blocked in them, so that the main thread gets what is meant
 * for the process, but not those of a crash: blocked, they would end the process
 * before main.c's handler has restored the terminal.
 */
#ifndef MOTE_THREAD_H
#define MOTE_THREAD_H

#include <pthread.h>
#include <signal.h>

/* Small enough that no huge page is put behind it: an idle thread's stack would
 * otherwise cost 2 MiB. */
#define THREAD_STACK_BYTES (512u << 10)

/* wanted: a signal that stays unblocked, 0 for none. -errno. */
static inline int thread_start(pthread_t *thread, int wanted,
			       void *(*run)(void *opaque), void *opaque)
{
	pthread_attr_t attr;
	sigset_t mask, old;
	int ret;

	sigfillset(&mask);
	sigdelset(&mask, SIGSEGV);
	sigdelset(&mask, SIGBUS);
	sigdelset(&mask, SIGILL);
	sigdelset(&mask, SIGFPE);
	if (wanted)
		sigdelset(&mask, wanted);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
	pthread_sigmask(SIG_SETMASK, &mask, &old);
	ret = -pthread_create(thread, &attr, run, opaque);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return ret;
}

#endif
