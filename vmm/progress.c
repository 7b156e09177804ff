/* SPDX-License-Identifier: MIT */
/* Lines of progress. progress_add() runs on any thread. */
#include "progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define FIRST_NS	1000000000ull
#define EVERY_NS	250000000ull

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void progress_begin(struct progress *p, const char *what, uint64_t total)
{
	*p = (struct progress){
		.what = what,
		.total = total,
		.begun_ns = now_ns(),
		.fd = isatty(STDERR_FILENO) ? STDERR_FILENO : -1,
	};
}

int progress_text(const struct progress *p, uint64_t passed_ns, char *text,
		  int size)
{
	double done = (double)atomic_load(&p->done), total = (double)p->total;
	double rate = done * 1e9 / (double)(passed_ns ? passed_ns : 1);

	if (done > total)
		done = total;
	return snprintf(text, (size_t)size, "\rmote: %s: %.0f%%, %.0f MiB/s, "
			"%.0f s left\033[K", p->what,
			total > 0 ? done * 100 / total : 100, rate / (1 << 20),
			rate > 0 ? (total - done) / rate : 0);
}

void progress_add(struct progress *p, uint64_t bytes)
{
	uint64_t now, told;
	char text[160];
	int len;

	if (!p)
		return;
	atomic_fetch_add(&p->done, bytes);
	if (p->fd < 0)
		return;
	now = now_ns();
	told = atomic_load(&p->told_ns);
	if (now - p->begun_ns < FIRST_NS || now - told < EVERY_NS)
		return;
	/* One of the threads that see it says it. */
	if (!atomic_compare_exchange_strong(&p->told_ns, &told, now))
		return;
	len = progress_text(p, now - p->begun_ns, text, sizeof(text));
	(void)!write(p->fd, text, (size_t)len);
}

void progress_end(struct progress *p)
{
	if (p->fd >= 0 && atomic_load(&p->told_ns))
		(void)!write(p->fd, "\r\033[K", 4);
	p->fd = -1;
}
