/* SPDX-License-Identifier: MIT */
/* What reading and writing RAM have in common. Any thread. */
#include <errno.h>
#include <unistd.h>

#include "save/crc32c.h"
#include "save/memory_internal.h"
#include "thread.h"

#define MAX_THREADS	8

/* To ask may be a system call, more than what an empty chunk takes. */
#define ASK_EVERY	16

static bool is_cancelled(const struct memory_job *job, uint64_t chunk)
{
	if (job->owner && job_cancelled(job->owner))
		return true;
	return job->progress && job->progress->cancelled &&
	       chunk % ASK_EVERY == 0 && job->progress->cancelled();
}

static void *run(void *opaque)
{
	struct memory_job *job = opaque;

	while (!atomic_load(&job->error)) {
		uint64_t i = atomic_fetch_add(&job->next, 1);
		int ret, none = 0;

		if (i >= job->chunk_count)
			break;
		if (is_cancelled(job, i))
			ret = -ECANCELED;
		else
			ret = job->work(job, i);
		if (job->owner)
			job_add_progress(job->owner, MEMORY_CHUNK_BYTES);
		progress_add(job->progress, MEMORY_CHUNK_BYTES);
		if (ret && atomic_compare_exchange_strong(&job->error, &none,
							  ret))
			atomic_store(&job->failed_chunk, i);
	}
	return NULL;
}

/* This thread works, too, so that it does not matter if no other can. */
int memory_job_run(struct memory_job *job)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[MAX_THREADS];
	int count = 0;

	while (count + 1 < cpus && count < MAX_THREADS &&
	       (uint64_t)count + 1 < job->chunk_count &&
	       !thread_start(&threads[count], 0, run, job))
		pthread_setname_np(threads[count++], "mote-memory");
	run(job);
	while (count > 0)
		pthread_join(threads[--count], NULL);
	return atomic_load(&job->error);
}

const struct memory_part *memory_part_at(const struct memory_part *parts,
					 size_t count, uint64_t chunk,
					 uint64_t *offset)
{
	uint64_t at = chunk * MEMORY_CHUNK_BYTES;

	for (size_t i = 0; i < count; i++)
		if (at >= parts[i].offset &&
		    at - parts[i].offset < parts[i].len_bytes) {
			*offset = at - parts[i].offset;
			return &parts[i];
		}
	return NULL;
}

int memory_write_all(int fd, const uint8_t *data, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, data, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int memory_read_all(int fd, uint8_t *data, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pread(fd, data, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENODATA;
		data += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int memory_write_chunk(int fd, struct memory_chunk *c, uint64_t chunk,
		       const uint8_t *host)
{
	unsigned int first = 0, count;

	for (; memory_next_run(c->pages, &first, &count); first += count) {
		size_t start = (size_t)first * PAGE, len = (size_t)count * PAGE;
		int ret = memory_write_all(fd, host + start, len,
					   chunk * MEMORY_CHUNK_BYTES + start);

		if (ret)
			return ret;
		c->crc = crc32c(c->crc, host + start, len);
	}
	return 0;
}
