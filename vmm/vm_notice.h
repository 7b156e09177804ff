/* SPDX-License-Identifier: MIT */
/* What the guest can change as often as it likes, told to clients now and then. */
#ifndef MOTE_VM_NOTICE_H
#define MOTE_VM_NOTICE_H

#include <stdatomic.h>
#include <stdint.h>

#include "loop.h"

struct vm;

struct vm_notice {
	struct vm *vm;
	void (*tell)(struct vm *vm);	/* main thread; at most once a second */
	struct loop_timer timer;
	atomic_bool set;		/* the timer is */
	uint64_t told_ns;		/* CLOCK_MONOTONIC; 0: never */
};

#define VM_NOTICE_INIT { .timer.watch = LOOP_WATCH_INIT }

/* Main thread. -errno. */
int vm_notice_init(struct vm_notice *n, struct vm *vm, struct loop *loop,
		   void (*tell)(struct vm *vm));
void vm_notice_deinit(struct vm_notice *n);

/* Something has changed. Any thread. */
void vm_notice_set(struct vm_notice *n);

#endif
