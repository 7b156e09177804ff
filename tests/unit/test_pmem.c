/* SPDX-License-Identifier: MIT */
/* LINK: error bus loop guest_mem block/vhd pmem/map pmem/watch pmem/region */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pmem/map.h"
#include "pmem/pmem.h"

#define MIB	(UINT64_C(1) << 20)
#define BASE	(UINT64_C(64) << 30)
#define ANY	(-1)

struct fixture {
	pthread_mutex_t lock;
	struct kvm_vm kvm;
	struct guest_mem *mem;
	struct bus *mmio;
	struct loop *loop;
	struct pmem_space *space;
	char path[160];
	struct config_pmem config;
};

/* ---- the seam ------------------------------------------------------------ */

static struct {
	uint32_t flags;
	uint64_t gpa, len;
	void *host;
} memslots[512];
static int set_memory_result;

int kvm_set_memory(struct kvm_vm *vm, uint32_t slot, uint32_t flags,
		   uint64_t gpa, uint64_t len_bytes, void *host)
{
	(void)vm;
	memslots[slot].flags = flags;
	memslots[slot].gpa = gpa;
	memslots[slot].len = len_bytes;
	memslots[slot].host = host;
	return set_memory_result;
}

static unsigned int lost, complaints;
static uint64_t dropped;
static bool no_inotify;
static struct loop *running;	/* until something is lost */

static void on_lost(const char *path)
{
	(void)path;
	lost++;
	if (running)
		loop_stop(running);
}

static void on_dropped_write(const char *path, uint64_t count)
{
	(void)path;
	complaints++;
	dropped += count;
}

static void make_space(struct fixture *f, uint64_t len, unsigned int slots,
		       uint64_t max)
{
	struct pmem_space_params p = {
		.kvm = &f->kvm, .mem = f->mem, .mmio = f->mmio, .machine_lock = &f->lock,
		.loop = f->loop, .base = BASE,
		.len_bytes = len, .slots = slots, .max_bytes = max,
		.on_lost = on_lost, .on_dropped_write = on_dropped_write,
	};
	struct error e;

	pmem_space_destroy(f->space);
	assert_int_equal(pmem_space_create(&f->space, &p, &e), 0);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	lost = complaints = 0;
	dropped = 0;
	set_memory_result = 0;
	memset(memslots, 0, sizeof(memslots));
	pthread_mutex_init(&f->lock, NULL);
	f->kvm.max_memslots = 509;
	assert_int_equal(guest_mem_create(&f->mem), 0);
	assert_int_equal(bus_create(&f->mmio, &f->lock), 0);
	assert_int_equal(loop_create(&f->loop), 0);
	make_space(f, UINT64_C(1) << 30, 4, 0);
	snprintf(f->path, sizeof(f->path), "%s/test-pmem-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	close(mkstemp(f->path));
	unlink(f->path);
	f->config.path = f->path;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	assert_null(guest_mem_region(f->mem, 0));
	for (size_t i = 0; i < 512; i++)
		assert_int_equal(memslots[i].len, 0);
	pmem_space_destroy(f->space);
	loop_destroy(f->loop);
	bus_destroy(f->mmio);
	guest_mem_destroy(f->mem);
	pthread_mutex_destroy(&f->lock);
	unlink(f->path);
	free(f);
	return 0;
}

static uint8_t pattern(uint64_t i)
{
	return (uint8_t)(i * 7 + i / 4096 + 1);
}

/* A file of bytes, with a footer of 512 behind them if it is to be a VHD. */
static void make_file(struct fixture *f, uint64_t bytes, bool footer)
{
	uint8_t foot[512] = "conectix", *p = malloc(bytes + 1);
	uint32_t sum = 0;
	int fd;

	f->config.format = footer ? DISK_VHD : DISK_RAW;
	for (uint64_t i = 0; i < bytes; i++)
		p[i] = pattern(i);
	foot[11] = 2;
	foot[13] = 1;
	memset(foot + 16, 0xff, 8);
	for (int i = 0; i < 8; i++)
		foot[40 + i] = foot[48 + i] = (uint8_t)(bytes >> (56 - 8 * i));
	foot[63] = 2;
	for (int i = 0; i < 512; i++)
		sum += foot[i];
	for (int i = 0; i < 4; i++)
		foot[64 + i] = (uint8_t)(~sum >> (24 - 8 * i));
	fd = open(f->path, O_CREAT | O_TRUNC | O_RDWR, 0600);
	assert_int_equal(write(fd, p, bytes), bytes);
	if (footer)
		assert_int_equal(write(fd, foot, 512), 512);
	close(fd);
	free(p);
}

static void file_bytes(struct fixture *f, uint64_t at, void *buf, size_t len)
{
	int fd = open(f->path, O_RDONLY);

	assert_int_equal(pread(fd, buf, len, (off_t)at), len);
	close(fd);
}

static void want(struct fixture *f, int slot)
{
	f->config.has_slot = slot != ANY;
	f->config.slot = (unsigned int)slot;
}

static struct pmem_region *make(struct fixture *f, int slot)
{
	struct pmem_region *r = NULL;
	struct error e = { 0 };

	want(f, slot);
	if (pmem_region_create(&r, f->space, &f->config, &e))
		fail_msg("%s", e.text);
	return r;
}

static int refused(struct fixture *f, int slot, struct error *e)
{
	struct pmem_region *r;

	want(f, slot);
	return pmem_region_create(&r, f->space, &f->config, e);
}

static uint64_t size(struct fixture *f)
{
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	return (uint64_t)st.st_size;
}

static void test_pmem_odd_size_is_padded_and_never_grown(void **state)
{
	struct fixture *f = *state;
	struct pmem_region *r;
	uint8_t b[8];
	char text[5];

	make_file(f, 3 * MIB + 5, false);
	r = make(f, ANY);
	assert_int_equal(pmem_region_bytes(r), 4 * MIB);
	assert_int_equal(pmem_region_base(r), BASE);
	assert_int_equal(memslots[256].gpa, BASE);
	assert_int_equal(memslots[256].len, 4 * MIB);
	assert_int_equal(memslots[256].flags, 0);
	assert_int_equal((uintptr_t)memslots[256].host % (2 * MIB), 0);
	assert_int_equal(guest_mem_read(f->mem, BASE + 3 * MIB + 3, b, 4), 0);
	assert_int_equal(b[0], pattern(3 * MIB + 3));
	assert_int_equal(b[1], pattern(3 * MIB + 4));
	assert_int_equal(b[2], 0);
	assert_int_equal(guest_mem_write(f->mem, BASE + 100, "word", 4), 0);
	assert_int_equal(guest_mem_write(f->mem, BASE + 4 * MIB - 4, "tail", 4),
			 0);
	assert_int_equal(guest_mem_read(f->mem, BASE + 4 * MIB - 4, b, 4), 0);
	assert_memory_equal(b, "tail", 4);
	assert_int_equal(guest_mem_write(f->mem, BASE + 4 * MIB, "x", 1),
			 -EFAULT);
	assert_int_equal(pmem_region_flush(r), 0);
	assert_int_equal(size(f), 3 * MIB + 5);
	file_bytes(f, 100, text, 4);
	assert_memory_equal(text, "word", 4);
	pmem_region_destroy(r);
	assert_int_equal(size(f), 3 * MIB + 5);
}

static void test_pmem_readonly_drops_writes_and_says_so_rarely(void **state)
{
	struct fixture *f = *state;
	struct pmem_region *r;
	uint8_t b[8];

	make_file(f, 2 * MIB, false);
	chmod(f->path, 0400);
	f->config.readonly = true;
	r = make(f, ANY);
	assert_int_equal(memslots[256].flags, KVM_MEM_READONLY);
	assert_int_equal(guest_mem_write(f->mem, BASE, "x", 1), -EFAULT);
	/* What KVM hands over as an MMIO access. */
	for (int i = 0; i < 1000; i++)
		assert_true(bus_write(f->mmio, BASE + 4096, b, 8));
	assert_int_equal(complaints, 1);
	assert_int_equal(dropped, 1);
	assert_true(bus_read(f->mmio, BASE + 2 * MIB - 8, b, 8));
	assert_int_equal(b[7], pattern(2 * MIB - 1));
	assert_int_equal(pmem_region_flush(r), 0);
	pmem_region_destroy(r);
	assert_false(bus_read(f->mmio, BASE, b, 8));
}

static void test_pmem_vhd_footer_is_neither_seen_nor_written(void **state)
{
	struct fixture *f = *state;
	struct pmem_region *r;
	uint8_t b[1024], before[512], after[512];

	make_file(f, 2 * MIB + 1536, true);
	file_bytes(f, 2 * MIB + 1536, before, 512);
	r = make(f, ANY);
	assert_int_equal(pmem_region_bytes(r), 4 * MIB);
	assert_int_equal(guest_mem_read(f->mem, BASE + 2 * MIB + 1024, b, 1024),
			 0);
	assert_int_equal(b[511], pattern(2 * MIB + 1535));
	for (int i = 512; i < 1024; i++)
		assert_int_equal(b[i], 0);
	memset(b, 0xee, sizeof(b));
	assert_int_equal(guest_mem_write(f->mem, BASE + 2 * MIB + 1024, b,
					 1024), 0);
	assert_int_equal(pmem_region_flush(r), 0);
	file_bytes(f, 2 * MIB + 1024, b, 512);
	assert_int_equal(b[0], 0xee);
	assert_int_equal(b[511], 0xee);
	file_bytes(f, 2 * MIB + 1536, after, 512);
	assert_memory_equal(before, after, 512);
	/* Not flushed, but not lost either. */
	assert_int_equal(guest_mem_write(f->mem, BASE + 2 * MIB, "last", 4), 0);
	pmem_region_destroy(r);
	file_bytes(f, 2 * MIB, b, 4);
	assert_memory_equal(b, "last", 4);
	assert_int_equal(size(f), 2 * MIB + 2048);

	/* Read-only, and smaller than a page. */
	make_file(f, 512, true);
	f->config.readonly = true;
	r = make(f, ANY);
	assert_int_equal(guest_mem_read(f->mem, BASE, b, 1024), 0);
	assert_int_equal(b[511], pattern(511));
	assert_int_equal(b[512], 0);
	pmem_region_destroy(r);
}

static void test_pmem_shrunk_file_reads_zeros_and_fails_flushes(void **state)
{
	struct fixture *f = *state;
	struct pmem_region *r;
	uint8_t b[4096];

	make_file(f, 4 * MIB, false);
	r = make(f, ANY);
	assert_int_equal(pmem_region_flush(r), 0);
	assert_false(pmem_maps_repair());
	assert_int_equal(truncate(f->path, (off_t)MIB + 1), 0);
	/* A device touches it: SIGBUS, handled. */
	assert_int_equal(guest_mem_read(f->mem, BASE + 3 * MIB, b, 4096), 0);
	for (int i = 0; i < 4096; i++)
		assert_int_equal(b[i], 0);
	assert_int_equal(guest_mem_write(f->mem, BASE + 3 * MIB, "kept", 4), 0);
	assert_int_equal(guest_mem_read(f->mem, BASE + 3 * MIB, b, 4), 0);
	assert_memory_equal(b, "kept", 4);
	assert_int_equal(guest_mem_read(f->mem, BASE + MIB, b, 1), 0);
	assert_int_equal(b[0], pattern(MIB));
	assert_int_equal(pmem_region_flush(r), -EIO);
	assert_int_equal(pmem_region_flush(r), -EIO);
	assert_int_equal(lost, 1);
	/* Again, and this time a vCPU was first. */
	assert_int_equal(truncate(f->path, 0), 0);
	assert_true(pmem_maps_repair());
	assert_false(pmem_maps_repair());
	assert_int_equal(guest_mem_read(f->mem, BASE, b, 1), 0);
	assert_int_equal(b[0], 0);
	pmem_region_destroy(r);
	assert_int_equal(size(f), 0);
}

/* libc's, with a host in between that has no more of it. */
int inotify_init1(int flags)
{
	if (!no_inotify)
		return (int)syscall(SYS_inotify_init1, flags);
	errno = EMFILE;
	return -1;
}

/* The loop hears of it, whoever touches the memory or nobody. */
static void notice_shrunk_file(struct fixture *f)
{
	struct pmem_region *r, *second;
	uint8_t b = 1;
	int fds[2];

	make_file(f, 2 * MIB, false);
	f->config.readonly = true;
	r = make(f, ANY);
	second = make(f, ANY);
	pmem_region_destroy(r);
	assert_int_equal(truncate(f->path, 4096), 0);
	running = f->loop;
	alarm(20);
	loop_run(f->loop);
	alarm(0);
	running = NULL;
	assert_int_equal(lost, 1);
	/* Not by SIGBUS: a system call finds memory there. */
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], (char *)memslots[257].host + MIB, 1),
			 1);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(guest_mem_read(f->mem, pmem_region_base(second) + MIB,
					&b, 1), 0);
	assert_int_equal(b, 0);
	pmem_region_destroy(second);
}

static void test_pmem_shrunk_file_is_noticed_by_itself(void **state)
{
	notice_shrunk_file(*state);
}

static void test_pmem_shrunk_file_is_noticed_without_inotify(void **state)
{
	no_inotify = true;
	notice_shrunk_file(*state);
	no_inotify = false;
}

/* Nobody has touched what is gone; or all that is gone is part of a page. */
static void test_pmem_shrunk_file_is_found_by_the_flush(void **state)
{
	struct fixture *f = *state;
	struct pmem_region *r;

	make_file(f, 2 * MIB, false);
	r = make(f, ANY);
	assert_int_equal(truncate(f->path, 2 * MIB - 1), 0);
	assert_int_equal(pmem_region_flush(r), -EIO);
	assert_int_equal(lost, 1);
	pmem_region_destroy(r);
}

static void test_pmem_regions_are_placed_and_places_reused(void **state)
{
	struct fixture *f = *state;
	struct pmem_region *r[4];
	struct error e;

	make_file(f, 3 * MIB, false);
	f->config.readonly = true;
	make_space(f, 16 * MIB, 4, 0);
	for (int i = 0; i < 4; i++) {
		r[i] = make(f, ANY);
		assert_int_equal(pmem_region_slot(r[i]), i);
		assert_int_equal(pmem_region_base(r[i]),
				 BASE + (uint64_t)i * 4 * MIB);
	}
	assert_int_equal(refused(f, ANY, &e), -ENOSPC);
	assert_int_equal(e.class, ERROR_NO_AVAILABLE_LOCATION);
	assert_int_equal(refused(f, 2, &e), -EEXIST);
	assert_int_equal(e.class, ERROR_ALREADY_ATTACHED);
	assert_int_equal(refused(f, 4, &e), -ENOSPC);
	pmem_region_destroy(r[2]);
	pmem_region_destroy(r[0]);
	/* Too large for either hole. */
	make_file(f, 5 * MIB, false);
	assert_int_equal(refused(f, ANY, &e), -ERANGE);
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	make_file(f, MIB, false);
	r[2] = make(f, 2);
	assert_int_equal(pmem_region_slot(r[2]), 2);
	assert_int_equal(pmem_region_base(r[2]), BASE);
	r[0] = make(f, ANY);
	assert_int_equal(pmem_region_slot(r[0]), 0);
	assert_int_equal(pmem_region_base(r[0]), BASE + 2 * MIB);
	for (int i = 0; i < 4; i++)
		pmem_region_destroy(r[i]);
}

/* As a saved VM's are, whatever came and went before. */
static void test_pmem_region_is_at_the_address_given(void **state)
{
	static const uint64_t bad[] = {
		BASE + MIB, BASE - 2 * MIB, BASE + 14 * MIB, BASE + 16 * MIB,
		BASE + 6 * MIB, BASE + 10 * MIB, UINT64_MAX - 2 * MIB + 1,
	};
	struct fixture *f = *state;
	struct pmem_region *r, *other;
	struct error e;

	make_file(f, 3 * MIB, false);
	f->config.readonly = true;
	make_space(f, 16 * MIB, 4, 0);
	f->config.base = BASE + 8 * MIB;
	r = make(f, 3);
	assert_true(pmem_region_base(r) == BASE + 8 * MIB);
	assert_int_equal(pmem_region_slot(r), 3);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		f->config.base = bad[i];
		assert_int_equal(refused(f, ANY, &e), -EINVAL);
		assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	}
	f->config.base = BASE + 12 * MIB;
	other = make(f, ANY);
	assert_int_equal(pmem_region_slot(other), 0);
	pmem_region_destroy(other);
	f->config.base = 0;
	other = make(f, ANY);
	assert_true(pmem_region_base(other) == BASE);
	pmem_region_destroy(other);
	pmem_region_destroy(r);
}

static void test_pmem_lock_is_one_writer_or_readers(void **state)
{
	struct fixture *f = *state;
	struct pmem_region *r, *second;
	struct error e;

	make_file(f, MIB, false);
	r = make(f, ANY);
	assert_int_equal(refused(f, ANY, &e), -EBUSY);
	f->config.readonly = true;
	assert_int_equal(refused(f, ANY, &e), -EBUSY);
	pmem_region_destroy(r);
	r = make(f, ANY);
	second = make(f, ANY);
	f->config.readonly = false;
	assert_int_equal(refused(f, ANY, &e), -EBUSY);
	pmem_region_destroy(r);
	pmem_region_destroy(second);
	/* Nothing of the refused ones is left: the slots are free. */
	r = make(f, ANY);
	assert_int_equal(pmem_region_slot(r), 0);
	pmem_region_destroy(r);
}

static void test_pmem_bad_files_are_refused(void **state)
{
	struct fixture *f = *state;
	struct error e;

	assert_int_equal(refused(f, 0, &e), -ENOENT);
	make_file(f, 0, false);
	assert_int_equal(refused(f, 0, &e), -EINVAL);
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	make_space(f, 64 * MIB, 4, MIB);
	make_file(f, MIB + 1, false);
	assert_int_equal(refused(f, 0, &e), -EFBIG);
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	make_file(f, MIB, false);
	set_memory_result = -EINVAL;
	assert_int_equal(refused(f, 0, &e), -EINVAL);
	memset(memslots, 0, sizeof(memslots));
	set_memory_result = 0;
	pmem_region_destroy(make(f, 0));
	f->config.path = (char *)"/dev/null";
	assert_int_equal(refused(f, 0, &e), -EINVAL);
	/* A VHD, they said. */
	make_file(f, MIB, true);
	assert_int_equal(truncate(f->path, (off_t)MIB), 0);
	f->config.path = f->path;
	assert_int_equal(refused(f, 0, &e), -EINVAL);
}

static void on_signal(int sig)
{
	_exit(sig == SIGBUS ? 42 : 1);
}

/* Signals that are none of its business reach whoever was there before. */
static void test_pmem_other_sigbus_is_passed_on(void **state)
{
	struct fixture *f = *state;
	struct sigaction sa = { .sa_handler = on_signal }, now;
	struct pmem_region *r;
	int status;
	pid_t pid;

	make_file(f, MIB, false);
	pid = fork();
	if (!pid) {
		sigaction(SIGBUS, &sa, NULL);
		r = make(f, ANY);
		kill(getpid(), SIGBUS);
		_exit(2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
	/* And with the last map the handler goes. */
	r = make(f, ANY);
	sigaction(SIGBUS, NULL, &now);
	assert_true(now.sa_flags & (int)SA_SIGINFO);
	pmem_region_destroy(r);
	sigaction(SIGBUS, NULL, &now);
	assert_false(now.sa_flags & (int)SA_SIGINFO);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_pmem_odd_size_is_padded_and_never_grown),
		T(test_pmem_readonly_drops_writes_and_says_so_rarely),
		T(test_pmem_vhd_footer_is_neither_seen_nor_written),
		T(test_pmem_shrunk_file_reads_zeros_and_fails_flushes),
		T(test_pmem_shrunk_file_is_noticed_by_itself),
		T(test_pmem_shrunk_file_is_noticed_without_inotify),
		T(test_pmem_shrunk_file_is_found_by_the_flush),
		T(test_pmem_regions_are_placed_and_places_reused),
		T(test_pmem_region_is_at_the_address_given),
		T(test_pmem_lock_is_one_writer_or_readers),
		T(test_pmem_bad_files_are_refused),
		T(test_pmem_other_sigbus_is_passed_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
