/* SPDX-License-Identifier: MIT */
/*
 * Disk I/O inside a guest, past its page cache and many requests at a time:
 *
 *	disk-io check DEV SEED DEPTH	writes all of DEV in random order and in
 *					pieces of many sizes, and reads it back
 *	disk-io rate DEV read|write random|sequential BYTES DEPTH MILLISECONDS
 *					prints the operations done and the ns
 *	disk-io read|write DEV SECTOR	one sector; prints what came of it
 *
 * Linux AIO by its system calls, so that it is linked with libc only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECTOR		512u
#define MAX_DEPTH	256u
#define MAX_PIECE	(128u << 10)
#define HUGE_PAGE	(2u << 20)

static int fd;
static uint64_t device_bytes;
static aio_context_t context;
static uint64_t random_state;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void open_device(const char *path, int flags)
{
	fd = open(path, flags | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		die(path);
	if (ioctl(fd, BLKGETSIZE64, &device_bytes))
		die("BLKGETSIZE64");
}

static void set_up_aio(unsigned int depth)
{
	if (syscall(SYS_io_setup, depth, &context))
		die("io_setup");
}

static void submit(struct iocb **list, unsigned int count)
{
	while (count) {
		long n = syscall(SYS_io_submit, context, count, list);

		if (n < 0)
			die("io_submit");
		list += n;
		count -= (unsigned int)n;
	}
}

static unsigned int wait_some(struct io_event *events)
{
	long n = syscall(SYS_io_getevents, context, 1, MAX_DEPTH, events, NULL);

	if (n < 0)
		die("io_getevents");
	return (unsigned int)n;
}

static void prepare(struct iocb *cb, unsigned int op, void *buf,
		    uint64_t offset, uint32_t len)
{
	memset(cb, 0, sizeof(*cb));
	cb->aio_fildes = (uint32_t)fd;
	cb->aio_lio_opcode = (uint16_t)op;
	cb->aio_buf = (uintptr_t)buf;
	cb->aio_offset = (int64_t)offset;
	cb->aio_nbytes = len;
	cb->aio_data = (uintptr_t)cb;
}

/* ---- check ---------------------------------------------------------------- */

struct piece {
	struct iocb cb;
	uint8_t *buf;		/* not always at a page's start */
	uint64_t offset;
	uint32_t len;
};

static void fill(const struct piece *p, uint64_t seed)
{
	uint64_t *words = (uint64_t *)p->buf;

	for (uint32_t i = 0; i < p->len / 8; i++)
		words[i] = (p->offset / 8 + i + seed) * 0x9e3779b97f4a7c15;
}

static void compare(const struct piece *p, uint64_t seed)
{
	const uint64_t *words = (const uint64_t *)p->buf;

	for (uint32_t i = 0; i < p->len / 8; i++)
		if (words[i] != (p->offset / 8 + i + seed) * 0x9e3779b97f4a7c15) {
			printf("wrong content at byte %llu\n",
			       (unsigned long long)p->offset + 8 * i);
			exit(1);
		}
}

/* Cuts the device into pieces of 1 to 256 sectors, in random order. */
static uint64_t *cut(size_t *count)
{
	uint64_t *starts = malloc((device_bytes / SECTOR + 1) * sizeof(*starts));
	uint64_t at = 0;
	size_t n = 0;

	while (at < device_bytes) {
		uint64_t most = (device_bytes - at) / SECTOR;
		uint64_t want = 1 + next_random() % (next_random() % 4 ? 16 : 256);

		if (want > most)
			want = most;
		starts[n++] = at << 9 | (want - 1);
		at += want * SECTOR;
	}
	for (size_t i = n; i > 1; i--) {
		size_t j = next_random() % i;
		uint64_t t = starts[i - 1];

		starts[i - 1] = starts[j];
		starts[j] = t;
	}
	*count = n;
	return starts;
}

static void run_pass(struct piece *pieces, unsigned int depth, bool write,
		     uint64_t seed)
{
	struct piece *free_list[MAX_DEPTH];
	struct io_event events[MAX_DEPTH];
	struct iocb *batch[MAX_DEPTH];
	unsigned int free_count = depth;
	size_t count, next = 0;
	uint64_t *starts = cut(&count);

	for (unsigned int i = 0; i < depth; i++)
		free_list[i] = &pieces[i];
	while (next < count || free_count < depth) {
		unsigned int n = 0;

		while (next < count && free_count) {
			struct piece *p = free_list[--free_count];
			uint64_t start = starts[next++];

			p->offset = start >> 9;
			p->len = (uint32_t)(1 + (start & 511)) * SECTOR;
			if (write)
				fill(p, seed);
			else
				memset(p->buf, 0, p->len);
			prepare(&p->cb, write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
				p->buf, p->offset, p->len);
			batch[n++] = &p->cb;
		}
		submit(batch, n);
		n = wait_some(events);
		for (unsigned int i = 0; i < n; i++) {
			struct piece *p = (struct piece *)(uintptr_t)
						  events[i].data;

			if (events[i].res != (int64_t)p->len) {
				printf("%s of %u bytes at %llu: %lld\n",
				       write ? "write" : "read", p->len,
				       (unsigned long long)p->offset,
				       (long long)events[i].res);
				exit(1);
			}
			if (!write)
				compare(p, seed);
			free_list[free_count++] = p;
		}
	}
	free(starts);
}

static int check(char **argv)
{
	uint64_t seed = strtoull(argv[1], NULL, 0);
	unsigned int depth = (unsigned int)atoi(argv[2]);
	struct piece *pieces = calloc(depth, sizeof(*pieces));

	random_state = seed | 1;
	open_device(argv[0], O_RDWR);
	set_up_aio(MAX_DEPTH);
	for (unsigned int i = 0; i < depth; i++) {
		void *memory;

		if (posix_memalign(&memory, 4096, MAX_PIECE + 4096))
			die("memory");
		pieces[i].buf = (uint8_t *)memory + SECTOR * (i % 8);
	}
	run_pass(pieces, depth, true, seed);
	if (fsync(fd))
		die("fsync");
	run_pass(pieces, depth, false, seed);
	printf("checked %llu bytes\n", (unsigned long long)device_bytes);
	return 0;
}

/* ---- rate ----------------------------------------------------------------- */

static int rate(char **argv)
{
	unsigned int op = strcmp(argv[1], "write") ? IOCB_CMD_PREAD :
						     IOCB_CMD_PWRITE;
	bool random = !strcmp(argv[2], "random");
	uint32_t bytes = (uint32_t)atoi(argv[3]);
	unsigned int depth = (unsigned int)atoi(argv[4]);
	uint64_t limit_ns = strtoull(argv[5], NULL, 0) * 1000000;
	struct iocb *cbs = calloc(depth, sizeof(*cbs)), *batch[MAX_DEPTH];
	struct io_event events[MAX_DEPTH];
	size_t buf_bytes = (size_t)bytes * depth;
	uint64_t blocks, next = 0, done = 0, begin, end;
	unsigned int n = 0, in_flight = 0;
	void *buf;

	random_state = 88172645463325252;
	open_device(argv[0], O_RDWR);
	set_up_aio(MAX_DEPTH);
	blocks = device_bytes / bytes;
	/* Huge pages if there are any: how many segments a request has must
	 * not hang on where the kernel happened to find single ones. */
	if (posix_memalign(&buf, HUGE_PAGE, buf_bytes))
		die("memory");
	madvise(buf, buf_bytes, MADV_HUGEPAGE);
	memset(buf, 0x5a, buf_bytes);
	for (; n < depth; n++)
		batch[n] = &cbs[n];
	begin = end = now_ns();
	while (n || in_flight) {
		for (unsigned int i = 0; i < n; i++) {
			size_t slot = (size_t)(batch[i] - cbs);
			uint64_t block = random ? next_random() % blocks :
						  next++ % blocks;

			prepare(batch[i], op, (uint8_t *)buf + slot * bytes,
				block * bytes, bytes);
		}
		submit(batch, n);
		in_flight += n;
		n = wait_some(events);
		in_flight -= n;
		done += n;
		end = now_ns();
		for (unsigned int i = 0; i < n; i++) {
			if (events[i].res != (int64_t)bytes) {
				printf("failed: %lld\n",
				       (long long)events[i].res);
				return 1;
			}
			batch[i] = (struct iocb *)(uintptr_t)events[i].data;
		}
		if (end - begin >= limit_ns)
			n = 0;
	}
	printf("DISK-IO %llu %llu\n", (unsigned long long)done,
	       (unsigned long long)(end - begin));
	return 0;
}

static int one(bool write, char **argv)
{
	off_t at = (off_t)strtoull(argv[1], NULL, 0) * SECTOR;
	void *buf;
	ssize_t n;

	open_device(argv[0], write ? O_RDWR : O_RDONLY);
	if (posix_memalign(&buf, 4096, 4096))
		die("memory");
	memset(buf, 0x5a, 4096);
	n = write ? pwrite(fd, buf, SECTOR, at) : pread(fd, buf, SECTOR, at);
	puts(n == SECTOR ? "ok" : n < 0 ? strerror(errno) : "short");
	return 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 5 && !strcmp(argv[1], "check"))
		return check(argv + 2);
	if (argc == 8 && !strcmp(argv[1], "rate"))
		return rate(argv + 2);
	if (argc == 4 && !strcmp(argv[1], "read"))
		return one(false, argv + 2);
	if (argc == 4 && !strcmp(argv[1], "write"))
		return one(true, argv + 2);
	fprintf(stderr, "usage: disk-io check|rate|read|write DEV ...\n");
	return 2;
}
