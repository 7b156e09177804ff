/* SPDX-License-Identifier: MIT */
/*
 * KVM retries a page that cannot be had asynchronously, for ever and without an
 * exit, whenever the guest has interrupts on (async page faults): who waits for
 * EFAULT may wait in vain. So inotify tells when a file changes; where it cannot,
 * or users have no more of it, a timer looks every now and then.
 */
#include "pmem/watch.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "pmem/map.h"

#define CHECK_NS UINT64_C(1000000000)

static void on_timer(void *opaque)
{
	(void)opaque;
	pmem_maps_check();
}

static void on_modified(struct loop_watch *w, uint32_t events)
{
	char buf[4096];

	(void)events;
	(void)!read(w->fd, buf, sizeof(buf));
	pmem_maps_check();
}

void pmem_watch_init(struct pmem_watch *w, struct loop *loop)
{
	*w = (struct pmem_watch){
		.loop = loop,
		.inotify = LOOP_WATCH_INIT,
		.timer.watch = LOOP_WATCH_INIT,
	};
}

void pmem_watch_deinit(struct pmem_watch *w)
{
	int fd = w->inotify.fd;

	loop_timer_deinit(&w->timer);
	if (fd < 0)
		return;
	loop_remove(&w->inotify);
	close(fd);
}

/* Where others may change a file without this kernel's knowing. */
static bool is_remote(int fd)
{
	static const uint32_t magic[] = {
		NFS_SUPER_MAGIC, FUSE_SUPER_MAGIC, V9FS_MAGIC, CIFS_SUPER_MAGIC,
		SMB2_SUPER_MAGIC, CEPH_SUPER_MAGIC,
	};
	struct statfs fs;

	for (size_t i = 0; i < sizeof(magic) / sizeof(magic[0]); i++)
		if (!fstatfs(fd, &fs) && (uint32_t)fs.f_type == magic[i])
			return true;
	return false;
}

static int start_inotify(struct pmem_watch *w)
{
	int fd, ret;

	if (w->inotify.fd >= 0)
		return 0;
	fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0)
		return -errno;
	ret = loop_add(w->loop, &w->inotify, fd, EPOLLIN, on_modified, w);
	if (ret)
		close(fd);
	return ret;
}

static void start_timer(struct pmem_watch *w)
{
	if (w->timer.watch.fd < 0 &&
	    !loop_timer_init(w->loop, &w->timer, on_timer, w))
		loop_timer_set(&w->timer, CHECK_NS, CHECK_NS);
}

int pmem_watch_add(struct pmem_watch *w, int fd, const char *path)
{
	int number = -1;
	char name[32];

	if (!start_inotify(w)) {
		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		number = inotify_add_watch(w->inotify.fd, name, IN_MODIFY);
		if (number < 0)
			number = inotify_add_watch(w->inotify.fd, path,
						   IN_MODIFY);
	}
	if (number < 0 || is_remote(fd))
		start_timer(w);
	return number;
}

void pmem_watch_remove(struct pmem_watch *w, int number)
{
	inotify_rm_watch(w->inotify.fd, number);
}
