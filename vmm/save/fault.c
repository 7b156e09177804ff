/* SPDX-License-Identifier: MIT */
/*
 * serve() runs on a thread of its own, prefetch() on another, the rest on the main
 * one. What both use changes under the lock: a page that was given back while it
 * was being read must not come again.
 */
#include "save/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "save/page_order.h"
#include "thread.h"

#define PAGE		MEMORY_PAGE_BYTES
#define MESSAGES	16

/* linux/userfaultfd.h of Linux 6.1 */
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xaa, 0x00)
#endif

struct fault {
	struct page_source *source;
	struct fault_range *ranges;
	size_t range_count;
	void (*failed)(void *opaque, const char *reason);
	void *opaque;
	int fd;			/* userfaultfd */
	int stop_fd;
	atomic_bool stopping;
	bool told;		/* under the lock: failed() is not called again */
	pthread_t server, prefetcher;
	bool serving, prefetching;
	pthread_mutex_t lock;
	uint64_t *gone;		/* a bit for each page: given back since */

	char *order_path;
	uint8_t id[PAGE_ORDER_ID_BYTES];
	uint32_t *order;	/* read, or being written */
	size_t order_count;
	bool recording;		/* the server's, while it is there */
};

/* ---- one page -------------------------------------------------------------- */

static const char *why(int ret)
{
	return ret == -ENODATA ? "the file has become shorter" :
				 strerror(-ret);
}

static void tell_failure(struct fault *f, int ret)
{
	char text[128];

	snprintf(text, sizeof(text), "a page of the saved memory cannot be "
		 "read: %s", why(ret));
	pthread_mutex_lock(&f->lock);
	if (!f->told)
		f->failed(f->opaque, text);
	f->told = true;
	pthread_mutex_unlock(&f->lock);
}

void fault_quiet(struct fault *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->told = true;
	pthread_mutex_unlock(&f->lock);
}

/* 0, or -errno of what userfaultfd says. */
static int put(struct fault *f, uint64_t page, uint8_t *host,
	       const uint8_t *buf, bool empty)
{
	struct uffdio_copy copy = { .dst = (uintptr_t)host,
				    .src = (uintptr_t)buf, .len = PAGE };
	struct uffdio_zeropage zero = { .range = { (uintptr_t)host, PAGE } };
	int ret = 0;

	pthread_mutex_lock(&f->lock);
	if (f->gone[page / 64] >> page % 64 & 1)
		empty = true;
	if (empty ? ioctl(f->fd, UFFDIO_ZEROPAGE, &zero) :
		    ioctl(f->fd, UFFDIO_COPY, &copy))
		ret = -errno;
	pthread_mutex_unlock(&f->lock);
	return ret;
}

/* 0, or -errno of what userfaultfd says; of a page that nobody waits for, -EIO
 * when it cannot be read. */
static int install(struct fault *f, uint64_t page, uint8_t *host, uint8_t *buf,
		   bool wanted)
{
	bool empty = page_source_is_zero(f->source, page);
	int ret = empty ? 0 : page_source_read(f->source, page, buf);

	if (ret && !wanted)
		return -EIO;
	if (ret) {
		tell_failure(f, ret);
		empty = true;
	}
	return put(f, page, host, buf, empty);
}

static const struct fault_range *range_of(const struct fault *f, uint64_t at)
{
	for (size_t i = 0; i < f->range_count; i++)
		if (at - (uintptr_t)f->ranges[i].host < f->ranges[i].len_bytes)
			return &f->ranges[i];
	return NULL;
}

/* ---- what is asked for ------------------------------------------------------ */

static void record(struct fault *f, uint64_t page)
{
	if (f->recording && f->order_count < PAGE_ORDER_MAX &&
	    page <= UINT32_MAX)
		f->order[f->order_count++] = (uint32_t)page;
}

static void bring(struct fault *f, uint64_t at, uint8_t *buf)
{
	const struct fault_range *r = range_of(f, at);
	struct uffdio_range wake = { at & ~(uint64_t)(PAGE - 1), PAGE };
	uint64_t page;

	if (r) {
		page = r->first_page + (wake.start - (uintptr_t)r->host) / PAGE;
		record(f, page);
		if (!install(f, page, (uint8_t *)(uintptr_t)wake.start, buf,
			     true))
			return;
	}
	/* It is there already, or something is being given back just now: who
	 * asked looks again. */
	ioctl(f->fd, UFFDIO_WAKE, &wake);
}

/* Given back to the host: zeros from now on. Lock held. */
static void note_gone(struct fault *f, uint64_t start, uint64_t end)
{
	for (; start < end; start += PAGE) {
		const struct fault_range *r = range_of(f, start);
		uint64_t page;

		if (!r)
			continue;
		page = r->first_page + (start - (uintptr_t)r->host) / PAGE;
		f->gone[page / 64] |= 1ull << page % 64;
	}
}

/* How many there are. */
static size_t take_messages(struct fault *f, struct uffd_msg *m)
{
	ssize_t n;
	size_t count;

	pthread_mutex_lock(&f->lock);
	n = read(f->fd, m, MESSAGES * sizeof(*m));
	count = n > 0 ? (size_t)n / sizeof(*m) : 0;
	for (size_t i = 0; i < count; i++)
		if (m[i].event == UFFD_EVENT_REMOVE)
			note_gone(f, m[i].arg.remove.start,
				  m[i].arg.remove.end);
	pthread_mutex_unlock(&f->lock);
	return count;
}

static void *serve(void *opaque)
{
	struct fault *f = opaque;
	struct pollfd p[] = {
		{ .fd = f->fd, .events = POLLIN },
		{ .fd = f->stop_fd, .events = POLLIN },
	};
	uint8_t buf[PAGE];
	struct uffd_msg m[MESSAGES];

	pthread_setname_np(pthread_self(), "mote-fault");
	while (!atomic_load(&f->stopping)) {
		size_t count;

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		count = take_messages(f, m);
		for (size_t i = 0; i < count; i++)
			if (m[i].event == UFFD_EVENT_PAGEFAULT)
				bring(f, m[i].arg.pagefault.address, buf);
	}
	return NULL;
}

/* ---- what will be ----------------------------------------------------------- */

static uint8_t *host_of(const struct fault *f, uint64_t page)
{
	for (size_t i = 0; i < f->range_count; i++) {
		const struct fault_range *r = &f->ranges[i];

		if (page >= r->first_page &&
		    page - r->first_page < r->len_bytes / PAGE)
			return r->host + (page - r->first_page) * PAGE;
	}
	return NULL;
}

static void *prefetch(void *opaque)
{
	struct fault *f = opaque;
	uint8_t buf[PAGE];

	pthread_setname_np(pthread_self(), "mote-prefetch");
	for (size_t i = 0; i < f->order_count && !atomic_load(&f->stopping);) {
		uint8_t *host = host_of(f, f->order[i]);
		int ret = host ? install(f, f->order[i], host, buf,
					 false) : 0;

		/* The memory is mapped anew: nothing of this is in it. Or who
		 * wants that page will hear why there is none. */
		if (ret == -ENOENT || ret == -ESRCH || ret == -EIO)
			break;
		if (ret == -EAGAIN)
			usleep(100);
		else
			i++;
	}
	return NULL;
}

/* ---- all of it -------------------------------------------------------------- */

/* admin-guide/mm/pagemap.rst: in RAM, or swapped out. Where that cannot be read:
 * none is. */
#define PAGEMAP_THERE	(3ull << 62)

static void read_pagemap(const uint8_t *host, uint64_t *entries, size_t count)
{
	size_t len = count * sizeof(*entries);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || pread(fd, entries, len, (off_t)((uintptr_t)host / PAGE *
						      sizeof(*entries))) !=
			      (ssize_t)len)
		memset(entries, 0, len);
	if (fd >= 0)
		close(fd);
}

/* Another thread may bring it first, or the mapping be another one by now. */
static int fill_page(struct fault *f, uint64_t page, uint8_t *host,
		     uint8_t *buf)
{
	int ret = page_source_read(f->source, page, buf);

	if (ret)
		return ret;
	while ((ret = put(f, page, host, buf, false)) == -EAGAIN)
		usleep(100);
	return 0;
}

int fault_fill(struct fault *f, uint8_t *host, uint64_t len_bytes,
	       struct error *e)
{
	const struct fault_range *r = range_of(f, (uintptr_t)host);
	uint64_t entries[FAULT_FILL_BYTES / PAGE], first;
	size_t count = len_bytes / PAGE;
	uint8_t buf[PAGE];

	if (!r)
		return 0;
	first = r->first_page + (uint64_t)(host - r->host) / PAGE;
	read_pagemap(host, entries, count);
	for (size_t i = 0; i < count; i++) {
		int ret = 0;

		if (!(entries[i] & PAGEMAP_THERE) &&
		    !page_source_is_zero(f->source, first + i))
			ret = fill_page(f, first + i, host + i * PAGE, buf);
		if (ret)
			return error_set(e, ret, "a page of the saved memory, "
					 "at %#llx of the file, cannot be read: "
					 "%s", (unsigned long long)(first + i) *
					 PAGE, why(ret));
	}
	return 0;
}

/* ---- the beginning and the end ---------------------------------------------- */

static int open_userfaultfd(struct error *e)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_EVENT_REMOVE };
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd = -1;

	if (device >= 0) {
		fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
		close(device);
	}
	/* Not UFFD_USER_MODE_ONLY: KVM, io_uring and vhost touch memory, too. */
	if (fd < 0)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return error_config(e, -errno, "--memory fault: userfaultfd: "
				    "%s; it needs /dev/userfaultfd, "
				    "CAP_SYS_PTRACE or "
				    "vm.unprivileged_userfaultfd=1",
				    strerror(errno));
	if (ioctl(fd, UFFDIO_API, &api)) {
		int ret = error_config(e, -errno, "--memory fault: this "
				       "kernel's userfaultfd: %s",
				       strerror(errno));

		close(fd);
		return ret;
	}
	return fd;
}

static int watch_ranges(struct fault *f, struct error *e)
{
	for (size_t i = 0; i < f->range_count; i++) {
		struct uffdio_register r = {
			.range = { (uintptr_t)f->ranges[i].host,
				   f->ranges[i].len_bytes },
			.mode = UFFDIO_REGISTER_MODE_MISSING,
		};

		if (ioctl(f->fd, UFFDIO_REGISTER, &r))
			return error_errno(e, -errno, "--memory fault: "
					   "UFFDIO_REGISTER");
	}
	return 0;
}

static int take_params(struct fault *f, const struct fault_params *p)
{
	f->source = p->source;
	f->failed = p->failed;
	f->opaque = p->opaque;
	memcpy(f->id, p->id, sizeof(f->id));
	f->order_path = strdup(p->order_path);
	f->ranges = calloc(p->count, sizeof(*f->ranges));
	f->gone = calloc(page_source_pages(p->source) / 64 + 1,
			 sizeof(*f->gone));
	f->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (!f->order_path || !f->ranges || !f->gone || f->stop_fd < 0)
		return -ENOMEM;
	memcpy(f->ranges, p->ranges, p->count * sizeof(*f->ranges));
	f->range_count = p->count;
	/* What another one wanted first, or a place for what this one will. */
	if (!page_order_read(f->order_path, f->id, &f->order, &f->order_count))
		return 0;
	f->order_count = 0;
	f->recording = true;
	f->order = malloc(PAGE_ORDER_MAX * sizeof(*f->order));
	return f->order ? 0 : -ENOMEM;
}

static int start_threads(struct fault *f, struct error *e)
{
	int ret = thread_start(&f->server, 0, serve, f);

	f->serving = !ret;
	if (!ret && !f->recording) {
		ret = thread_start(&f->prefetcher, 0, prefetch, f);
		f->prefetching = !ret;
	}
	return ret ? error_errno(e, ret, "thread") : 0;
}

int fault_create(struct fault **out, const struct fault_params *p,
		 struct error *e)
{
	struct fault *f = calloc(1, sizeof(*f));
	int ret;

	if (!f) {
		page_source_destroy(p->source);
		return error_set(e, -ENOMEM, "out of memory");
	}
	pthread_mutex_init(&f->lock, NULL);
	f->fd = f->stop_fd = -1;
	ret = take_params(f, p);
	if (ret) {
		error_set(e, ret, "out of memory");
	} else {
		f->fd = open_userfaultfd(e);
		ret = f->fd < 0 ? f->fd : watch_ranges(f, e);
	}
	if (!ret)
		ret = start_threads(f, e);
	if (ret) {
		fault_destroy(f);
		return ret;
	}
	*out = f;
	return 0;
}

void fault_destroy(struct fault *f)
{
	uint64_t one = 1;

	if (!f)
		return;
	atomic_store(&f->stopping, true);
	if (f->stop_fd >= 0)
		(void)!write(f->stop_fd, &one, sizeof(one));
	if (f->prefetching)
		pthread_join(f->prefetcher, NULL);
	if (f->serving)
		pthread_join(f->server, NULL);
	/* Where it cannot be written, the next one has no hint either. */
	if (f->recording && f->order_count)
		page_order_write(f->order_path, f->id, f->order,
				 f->order_count);
	if (f->fd >= 0)
		close(f->fd);
	if (f->stop_fd >= 0)
		close(f->stop_fd);
	page_source_destroy(f->source);
	pthread_mutex_destroy(&f->lock);
	free(f->order_path);
	free(f->order);
	free(f->ranges);
	free(f->gone);
	free(f);
}
