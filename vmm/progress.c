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

void progress_show(int fd, const char *what, uint64_t done, uint64_t total,
		   uint64_t bytes_per_second)
{
	uint64_t left = done < total ? total - done : 0;
	char text[160];
	int len = snprintf(text, sizeof(text), "\rmote: %s: %llu%%, %llu MiB/s, "
			   "%llu s left\033[K", what,
			   (unsigned long long)
			   (left ? (double)done * 100 / (double)total : 100),
			   (unsigned long long)(bytes_per_second >> 20),
			   (unsigned long long)
			   (bytes_per_second ? left / bytes_per_second : 0));

	if (len > 0 && (size_t)len < sizeof(text))
		(void)!write(fd, text, (size_t)len);
}

void progress_hide(int fd)
{
	(void)!write(fd, "\r\033[K", 4);
}

/* The mean since the beginning. */
static uint64_t rate(uint64_t bytes, uint64_t passed_ns)
{
	return bytes / (passed_ns / 1000000 + 1) * 1000;
}

void progress_add(struct progress *p, uint64_t bytes)
{
	uint64_t now, told, done;

	if (!p)
		return;
	done = atomic_fetch_add(&p->done, bytes) + bytes;
	if (p->fd < 0)
		return;
	now = now_ns();
	told = atomic_load(&p->told_ns);
	if (now - p->begun_ns < FIRST_NS || now - told < EVERY_NS)
		return;
	/* One of the threads that see it says it. */
	if (!atomic_compare_exchange_strong(&p->told_ns, &told, now))
		return;
	progress_show(p->fd, p->what, done, p->total,
		      rate(done, now - p->begun_ns));
}

void progress_end(struct progress *p)
{
	if (p->fd >= 0 && atomic_load(&p->told_ns))
		progress_hide(p->fd);
	p->fd = -1;
}
