/* SPDX-License-Identifier: MIT */
/* Waits that can be given up. Main thread. */
#include "boot/wait.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

#define ASK_MS 100

static int64_t milliseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int wait_readable(int fd, int64_t timeout_ms, cancel_fn cancelled)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t start = milliseconds();

	for (;;) {
		int64_t left = timeout_ms - (milliseconds() - start);
		int ready;

		if (cancelled && cancelled())
			return -ECANCELED;
		if (left < 0)
			left = 0;
		ready = poll(&p, 1, left < ASK_MS ? (int)left : ASK_MS);
		if (ready > 0)
			return 0;
		if (ready < 0 && errno != EINTR)
			return -errno;
		if (!left)
			return -ETIMEDOUT;
	}
}
