/* SPDX-License-Identifier: MIT */
/*
 * The decompressing child and its parent. decompress_run() is run by the main
 * thread; child() by the forked child's only thread.
 *
 * The child maps the input and all the memory it may use, gives up everything
 * writing and exit_group(), and only then looks at the first compressed
 * byte. Its report on the pipe is as little to be trusted as the image.
 */
#include "boot/decompress.h"

#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boot/confine.h"
#include "boot/crc64.h"

#define CPU_SECONDS	120
/*
 * Zeros of this length are not written. A third to a half of a Linux kernel's
 * ELF is its .bss and the gaps that align its sections.
 */
#define HOLE_BYTES	(64u << 10)
#define WALL_SECONDS	300

enum stage {
	STAGE_SETUP,		/* detail: errno */
	STAGE_OUTPUT,		/* detail: errno */
	STAGE_DONE,		/* detail: enum codec_result */
};

/* What the child writes to the pipe, once. */
struct report {
	uint32_t stage;
	int32_t detail;
	uint64_t len_bytes;
	uint64_t crc64;
};

/* ---- the child ----------------------------------------------------------- */

#define CHILD_OUTPUT	0
#define CHILD_REPORT	1

struct output {
	uint64_t at;		/* where the next byte goes in the file */
	uint64_t crc64;		/* of all but the last bytes: */
	uint64_t zeros;
	int error;
};

static uint64_t digest(const struct output *o)
{
	return crc64_zeros(o->crc64, o->zeros);
}

static int write_all(struct output *o, const uint8_t *data, size_t len_bytes)
{
	if (len_bytes) {
		o->crc64 = lzma_crc64(data, len_bytes, digest(o));
		o->zeros = 0;
	}
	while (len_bytes) {
		ssize_t n = pwrite(CHILD_OUTPUT, data, len_bytes,
				   (off_t)o->at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		o->at += (uint64_t)n;
		data += n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

static bool is_zero(const uint8_t *p, size_t len_bytes)
{
	return !p[0] && !memcmp(p, p + 1, len_bytes - 1);
}

static int to_output(void *opaque, const uint8_t *data, size_t len_bytes)
{
	struct output *o = opaque;
	size_t run = 0;		/* bytes before data that are to be written */

	while (len_bytes && !o->error) {
		size_t n = len_bytes < HOLE_BYTES ? len_bytes : HOLE_BYTES;

		if (n == HOLE_BYTES && is_zero(data, n)) {
			o->error = write_all(o, data - run, run);
			o->at += n;
			o->zeros += n;
			run = 0;
		} else {
			run += n;
		}
		data += n;
		len_bytes -= n;
	}
	if (!o->error)
		o->error = write_all(o, data - run, run);
	return o->error;
}

static int map_memory(const struct decompress_job *job, struct codec_job *c)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t head = job->in_offset & (page - 1);
	uint8_t *in, *arena;

	in = mmap(NULL, (size_t)(job->in_len + head), PROT_READ, MAP_PRIVATE,
		  job->in_fd, (off_t)(job->in_offset - head));
	if (in == MAP_FAILED)
		return -errno;
	arena = mmap(NULL, CODEC_ARENA_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena == MAP_FAILED)
		return -errno;
	/* Dictionaries are touched all over: fewer faults. Only a hint. */
	madvise(arena, CODEC_ARENA_BYTES, MADV_HUGEPAGE);
	c->in = in + head;
	c->in_len = (size_t)job->in_len;
	c->limit = job->limit;
	c->arena.base = arena;
	c->arena.len_bytes = CODEC_ARENA_BYTES;
	return 0;
}

CONFINE_LEAVES
static _Noreturn void report_and_exit(int fd, const struct report *r)
{
	/* Fits into the pipe at once; without it the parent sees the end. */
	_exit(write(fd, r, sizeof(*r)) != (ssize_t)sizeof(*r));
}

CONFINE_LEAVES
static _Noreturn void child(const struct decompress_job *job, int report_fd,
			    pid_t parent)
{
	struct report r = { .stage = STAGE_SETUP };
	struct output out = { .at = job->out_offset };
	struct codec_job c = { .sink = to_output, .opaque = &out };

	/* The parent may be gone before the kernel was told to tell us. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	r.detail = map_memory(job, &c);
	if (r.detail)
		report_and_exit(report_fd, &r);
	if (confine_descriptors(job->out_fd, report_fd))
		_exit(1);
	r.detail = confine_self(job->out_offset + job->limit, CPU_SECONDS);
	if (r.detail)
		report_and_exit(CHILD_REPORT, &r);
	r.stage = STAGE_DONE;
	r.detail = (int32_t)codec_run(job->codec, &c);
	r.len_bytes = c.out_len;
	r.crc64 = digest(&out);
	if (r.detail == CODEC_SINK_FAILED) {
		r.stage = STAGE_OUTPUT;
		r.detail = out.error;
	}
	report_and_exit(CHILD_REPORT, &r);
}

/* ---- the parent ---------------------------------------------------------- */

/* 0, what wait_readable() gives, or -EPIPE when the child died without one. */
static int wait_for_report(int fd, cancel_fn cancelled, struct report *r)
{
	int ret = wait_readable(fd, WALL_SECONDS * 1000, cancelled);
	ssize_t n;

	if (ret)
		return ret;
	do
		n = read(fd, r, sizeof(*r));
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(*r) ? 0 : -EPIPE;
}

/* Forks with all signals blocked: mote's handlers are not the child's. */
static int start(const struct decompress_job *job, int *report_fd, pid_t *pid)
{
	pid_t parent = getpid();
	sigset_t all, old;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	*pid = fork();
	if (*pid == 0)
		child(job, fds[1], parent);
	if (*pid < 0) {
		int ret = -errno;

		pthread_sigmask(SIG_SETMASK, &old, NULL);
		close(fds[0]);
		close(fds[1]);
		return ret;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	close(fds[1]);
	*report_fd = fds[0];
	return 0;
}

static void reap(pid_t pid, int *status)
{
	*status = 0;
	while (waitpid(pid, status, 0) < 0 && errno == EINTR)
		;
}

static int judge_codec(const struct decompress_job *job, int32_t result,
		       struct error *e)
{
	static const char *const texts[] = {
		[CODEC_TRUNCATED] = "truncated",
		[CODEC_CORRUPT] = "corrupt",
		[CODEC_NO_MEMORY] = "needs too much memory to decompress",
	};
	const char *text = "corrupt";

	if (result == CODEC_OK)
		return 0;
	if (result == CODEC_TOO_LARGE)
		return error_config(e, -EFBIG, "%s: payload (%s): decompresses "
				    "to more than %llu bytes", job->name,
				    codec_name(job->codec),
				    (unsigned long long)job->limit);
	if (result > 0 && result < (int)(sizeof(texts) / sizeof(texts[0])) &&
	    texts[result])
		text = texts[result];
	return error_config(e, -EINVAL, "%s: payload (%s): %s", job->name,
			    codec_name(job->codec), text);
}

static int judge(const struct decompress_job *job, int ret, int status,
		 const struct report *r, struct error *e)
{
	const char *codec = codec_name(job->codec);

	if (ret == -ETIMEDOUT)
		return error_config(e, ret, "%s: payload (%s): not "
				    "decompressed within %d seconds",
				    job->name, codec, WALL_SECONDS);
	if (ret == -ECANCELED)
		return error_set(e, ret, "%s: payload (%s): given up",
				 job->name, codec);
	if (ret && WIFSIGNALED(status))
		return error_config(e, -EINVAL, "%s: payload (%s): the "
				    "decompressor died of signal %d (%s)",
				    job->name, codec, WTERMSIG(status),
				    strsignal(WTERMSIG(status)));
	if (ret)
		return error_set(e, ret, "%s: payload (%s): the decompressor "
				 "ended without a result", job->name, codec);
	if (r->stage == STAGE_SETUP)
		return error_set(e, -EPERM, "%s: payload (%s): cannot start a "
				 "confined decompressor: %s", job->name, codec,
				 strerror(-r->detail));
	if (r->stage == STAGE_OUTPUT)
		return error_set(e, -EIO, "%s: payload (%s): cannot write the "
				 "decompressed kernel: %s", job->name, codec,
				 strerror(-r->detail));
	return judge_codec(job, r->detail, e);
}

int decompress_run(const struct decompress_job *job,
		   struct decompress_result *result, struct error *e)
{
	struct report r = { 0 };
	int fd = -1, ret, status;
	pid_t pid = -1;

	ret = start(job, &fd, &pid);
	if (ret)
		return error_errno(e, ret, "cannot start a decompressor");
	ret = wait_for_report(fd, job->cancelled, &r);
	if (ret && ret != -EPIPE)
		kill(pid, SIGKILL);
	close(fd);
	reap(pid, &status);
	ret = judge(job, ret, status, &r, e);
	if (ret)
		return ret;
	if (r.len_bytes > job->limit)
		return error_config(e, -EINVAL, "%s: payload (%s): corrupt",
				    job->name, codec_name(job->codec));
	/* A hole at the end has not made the file longer. */
	if (ftruncate(job->out_fd, (off_t)(job->out_offset + r.len_bytes)) < 0)
		return error_set(e, -EIO, "%s: payload (%s): %s", job->name,
				 codec_name(job->codec), strerror(errno));
	result->len_bytes = r.len_bytes;
	result->crc64 = r.crc64;
	return 0;
}
