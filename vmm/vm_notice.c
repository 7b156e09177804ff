/* SPDX-License-Identifier: MIT */
/* Notices. Main thread, but vm_notice_set(). */
#include "vm_notice.h"

#include <time.h>

#define TELL_NS UINT64_C(1000000000)

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void on_notice(void *opaque)
{
	struct vm_notice *n = opaque;
	uint64_t since = now_ns() - n->told_ns;

	if (n->told_ns && since < TELL_NS) {
		loop_timer_set(&n->timer, TELL_NS - since, 0);
		return;
	}
	n->told_ns = now_ns();
	atomic_store(&n->set, false);
	n->tell(n->vm);
}

int vm_notice_init(struct vm_notice *n, struct vm *vm, struct loop *loop,
		   void (*tell)(struct vm *vm))
{
	n->vm = vm;
	n->tell = tell;
	return loop_timer_init(loop, &n->timer, on_notice, n);
}

void vm_notice_deinit(struct vm_notice *n)
{
	loop_timer_deinit(&n->timer);
}

void vm_notice_set(struct vm_notice *n)
{
	if (!atomic_exchange(&n->set, true))
		loop_timer_set(&n->timer, 1, 0);
}
