/* SPDX-License-Identifier: MIT */
/*
 * Mapping a persistent file. The list of maps is for the SIGBUS handler and for
 * vCPU threads; its lock is never held while guest memory is touched, so that a
 * handler, which runs where that happens, may wait for it.
 */
#include "pmem/map.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pmem/pmem.h"

#define PAGE_BYTES	UINT64_C(4096)
#define FULL_WAIT_US	10000

static struct {
	pthread_mutex_t lock;
	struct pmem_map *first;
	struct sigaction previous;
} maps = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint64_t page_up(uint64_t bytes)
{
	return (bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

int pmem_file_bytes(int fd, uint64_t *bytes)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	*bytes = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, bytes))
		return -errno;
	return 0;
}

static int protection(const struct pmem_map *m)
{
	return m->readonly ? PROT_READ : PROT_READ | PROT_WRITE;
}

/* ---- repair: lock held, also in the signal handler ----------------------- */

/* Zeros, and nobody's but the guest's. */
static bool replace(struct pmem_map *m, uint64_t from, uint64_t to)
{
	if (mmap(m->host + from, to - from, protection(m),
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
		 0) == MAP_FAILED)
		return false;
	atomic_store(&m->lost, true);
	return true;
}

/* Where the file ends before its mapping does. */
static bool repair_shrunk(struct pmem_map *m)
{
	uint64_t backed = atomic_load(&m->backed_bytes), bytes;

	if (pmem_file_bytes(m->fd, &bytes))
		bytes = 0;
	if (bytes >= m->data_bytes)
		return false;
	atomic_store(&m->lost, true);
	bytes = page_up(bytes);
	if (bytes >= backed || !replace(m, bytes, backed))
		return false;
	atomic_store(&m->backed_bytes, bytes);
	return true;
}

/* A hole of the file that the file system has no room to fill. */
static bool is_full(const struct pmem_map *m)
{
	uint64_t backed = atomic_load(&m->backed_bytes);
	off_t hole;

	if (m->readonly)
		return false;
	hole = lseek(m->fd, 0, SEEK_HOLE);
	return hole >= 0 && (uint64_t)hole < backed &&
	       fallocate(m->fd, FALLOC_FL_KEEP_SIZE, hole, (off_t)PAGE_BYTES) &&
	       (errno == ENOSPC || errno == EDQUOT);
}

/*
 * The page at an address that mote could not access; false: not of a map.
 * poisoned: the memory itself is bad, which can happen to private pages, too;
 * otherwise those are the work of somebody who was faster.
 */
static bool repair_at(const uint8_t *address, bool poisoned)
{
	struct pmem_map *m;
	bool done = false;

	pthread_mutex_lock(&maps.lock);
	for (m = maps.first; m && !done; m = m->next) {
		uint64_t page = ((uintptr_t)address - (uintptr_t)m->host) &
				~(PAGE_BYTES - 1);

		if (address < m->host || page >= m->len_bytes)
			continue;
		done = (!poisoned && page >= atomic_load(&m->backed_bytes)) ||
		       repair_shrunk(m) ||
		       replace(m, page, page + PAGE_BYTES);
	}
	pthread_mutex_unlock(&maps.lock);
	return done;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)context;
	/* Sent by somebody, it has no address; and no map's fault is known to
	 * have happened, so the lock may be this thread's. */
	if (info->si_code <= 0 ||
	    !repair_at(info->si_addr, info->si_code != BUS_ADRERR)) {
		sigaction(sig, &maps.previous, NULL);
		raise(sig);
	}
	errno = saved;
}

/* ---- the list ------------------------------------------------------------ */

static void list_add(struct pmem_map *m)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus,
				.sa_flags = (int)SA_SIGINFO };

	pthread_mutex_lock(&maps.lock);
	if (!maps.first)
		sigaction(SIGBUS, &sa, &maps.previous);
	m->next = maps.first;
	maps.first = m;
	pthread_mutex_unlock(&maps.lock);
}

static void list_remove(struct pmem_map *m)
{
	struct pmem_map **p = &maps.first;

	pthread_mutex_lock(&maps.lock);
	while (*p && *p != m)
		p = &(*p)->next;
	if (*p) {
		*p = m->next;
		if (!maps.first)
			sigaction(SIGBUS, &maps.previous, NULL);
	}
	pthread_mutex_unlock(&maps.lock);
}

static void say(struct pmem_map *m)
{
	if (atomic_load(&m->lost) && !atomic_exchange(&m->said, true) &&
	    m->on_lost)
		m->on_lost(m->path);
}

bool pmem_maps_repair(void)
{
	bool done = false, full = false;

	pthread_mutex_lock(&maps.lock);
	for (struct pmem_map *m = maps.first; m; m = m->next) {
		done |= repair_shrunk(m);
		say(m);
	}
	for (struct pmem_map *m = maps.first; m && !done && !full; m = m->next)
		full = is_full(m);
	pthread_mutex_unlock(&maps.lock);
	if (full)
		usleep(FULL_WAIT_US);
	return done || full;
}

void pmem_maps_check(void)
{
	pthread_mutex_lock(&maps.lock);
	for (struct pmem_map *m = maps.first; m; m = m->next) {
		repair_shrunk(m);
		say(m);
	}
	pthread_mutex_unlock(&maps.lock);
}

/* ---- a map --------------------------------------------------------------- */

/* The addresses, filled with zeros; aligned like the guest's, for the sake of
 * huge pages in between. */
static int reserve(struct pmem_map *m)
{
	uintptr_t hole, end;
	void *p = mmap(NULL, m->len_bytes + PMEM_ALIGN_BYTES, protection(m),
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	hole = (uintptr_t)p;
	end = hole + m->len_bytes + PMEM_ALIGN_BYTES;
	m->host = (uint8_t *)((hole + PMEM_ALIGN_BYTES - 1) &
			      ~(PMEM_ALIGN_BYTES - 1));
	if ((uintptr_t)m->host > hole)
		munmap(p, (uintptr_t)m->host - hole);
	munmap(m->host + m->len_bytes,
	       end - (uintptr_t)(m->host + m->len_bytes));
	return 0;
}

/* Where the copied part of the last page begins; data_bytes: there is none. */
static uint64_t tail_at(const struct pmem_map *m)
{
	return m->file_bytes < m->data_bytes ? m->file_bytes : m->data_bytes;
}

static int read_tail(struct pmem_map *m)
{
	uint64_t at = tail_at(m), bytes = m->data_bytes - at;
	ssize_t n;

	if (!bytes)
		return 0;
	if (m->readonly &&
	    mprotect(m->host + at, PAGE_BYTES, PROT_READ | PROT_WRITE))
		return -errno;
	n = pread(m->fd, m->host + at, bytes, (off_t)at);
	if (n != (ssize_t)bytes)
		return n < 0 ? -errno : -EIO;
	if (m->readonly && mprotect(m->host + at, PAGE_BYTES, PROT_READ))
		return -errno;
	return 0;
}

static int write_tail(struct pmem_map *m)
{
	uint64_t at = tail_at(m), bytes = m->data_bytes - at;
	ssize_t n;

	if (!bytes || m->readonly)
		return 0;
	n = pwrite(m->fd, m->host + at, bytes, (off_t)at);
	if (n == (ssize_t)bytes)
		return 0;
	return n < 0 ? -errno : -EIO;
}

int pmem_map_create(struct pmem_map *m, bool footer, struct error *e)
{
	int ret;

	m->len_bytes = (m->data_bytes + PMEM_ALIGN_BYTES - 1) &
		       ~(PMEM_ALIGN_BYTES - 1);
	m->file_bytes = footer ? m->data_bytes & ~(PAGE_BYTES - 1) :
				 page_up(m->data_bytes);
	atomic_init(&m->backed_bytes, m->file_bytes);
	ret = reserve(m);
	if (ret)
		return error_errno(e, ret, "pmem %s: no room to map it",
				   m->path);
	if (m->file_bytes &&
	    mmap(m->host, m->file_bytes, protection(m), MAP_SHARED | MAP_FIXED,
		 m->fd, 0) == MAP_FAILED)
		ret = -errno;
	if (!ret)
		ret = read_tail(m);
	if (ret) {
		munmap(m->host, m->len_bytes);
		m->host = NULL;
		return error_errno(e, ret, "pmem %s: cannot map it", m->path);
	}
	/* A core dump of mote is not a copy of the guest. */
	madvise(m->host, m->len_bytes, MADV_DONTDUMP);
	list_add(m);
	return 0;
}

void pmem_map_destroy(struct pmem_map *m)
{
	if (!m->host)
		return;
	list_remove(m);
	/* Too late for anybody to be told of a failure. */
	repair_shrunk(m);
	if (!atomic_load(&m->lost))
		write_tail(m);
	munmap(m->host, m->len_bytes);
	m->host = NULL;
}

int pmem_map_flush(struct pmem_map *m)
{
	int ret;

	/* Without it, a file that nobody has touched since it shrank, and not
	 * the guest, would take the flush. */
	pthread_mutex_lock(&maps.lock);
	repair_shrunk(m);
	pthread_mutex_unlock(&maps.lock);
	say(m);
	if (atomic_load(&m->lost))
		return -EIO;
	if (m->readonly)
		return 0;
	ret = write_tail(m);
	/* Of the metadata only what is needed to find the data again. */
	if (!ret && fdatasync(m->fd))
		ret = -errno;
	/* What was lost meanwhile may not have been written. */
	return ret ? ret : atomic_load(&m->lost) ? -EIO : 0;
}
