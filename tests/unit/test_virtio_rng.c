/* SPDX-License-Identifier: MIT */
/* LINK: error loop iothread guest_mem virtio/virtqueue */
/* LINK: virtio/device virtio/device_loop virtio/device_reg virtio/rng */
/* WITH: fake_driver */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_driver.h"
#include "virtio/rng.h"

#define RING	FAKE_RAM_BASE
#define DATA	(FAKE_RAM_BASE + 0x100000)
#define NEEDS_RESET 0x40

struct fixture {
	struct fake_ram ram;
	struct iothread *thread;
	struct virtio_device *d;
	struct fake_irq irq;
	struct fake_queue q;
	char path[160];
};

static void start(struct fixture *f, const char *source)
{
	struct error e;

	assert_int_equal(virtio_rng_create(&f->d, source, f->ram.mem,
					   iothread_loop(f->thread), &e), 0);
	fake_irq_init(&f->irq, f->d);
	fake_queue_init(&f->q, &f->ram, RING, 8);
	assert_int_equal(fake_start(f->d, UINT64_MAX, &f->q, 1), 15);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_ram_init(&f->ram);
	assert_int_equal(iothread_create(&f->thread, "io"), 0);
	snprintf(f->path, sizeof(f->path), "%s/test-rng-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	close(mkstemp(f->path));
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	virtio_device_destroy(f->d);
	iothread_destroy(f->thread);
	fake_ram_deinit(&f->ram);
	unlink(f->path);
	free(f);
	return 0;
}

static uint32_t run(struct fixture *f, const struct fake_buffer *b,
		    unsigned int count)
{
	uint32_t id, len;

	fake_add(&f->q, b, count);
	fake_kick(f->d, 0);
	assert_true(fake_used_wait(&f->q, &f->irq, 0, &id, &len));
	return len;
}

static void test_rng_fills_scattered_buffers(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b[] = {
		{ DATA, 64, true }, { DATA + 100, 64, true },
	};
	uint8_t *p = fake_ptr(&f->ram, DATA);
	uint8_t seen = 0, gap = 0;

	start(f, NULL);
	assert_int_equal(run(f, b, 2), 128);
	for (int i = 0; i < 64; i++)
		seen |= p[i] ^ p[100 + i];
	for (int i = 64; i < 100; i++)
		gap |= p[i];
	assert_int_not_equal(seen, 0);
	assert_int_equal(gap, 0);
}

static void test_rng_request_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b[] = {
		{ DATA, 40000, true }, { DATA + 40000, 600000, true },
	};
	uint8_t *p = fake_ptr(&f->ram, DATA + 65536);
	uint8_t beyond = 0;

	start(f, NULL);
	assert_int_equal(run(f, b, 2), 65536);
	for (int i = 0; i < 1000; i++)
		beyond |= p[i];
	assert_int_equal(beyond, 0);
}

static void test_rng_many_requests_go_on_over_turns(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { DATA, 60000, true };
	uint32_t id, len;

	start(f, NULL);
	for (int i = 0; i < 8; i++)
		fake_add(&f->q, &b, 1);
	fake_kick(f->d, 0);
	for (int i = 0; i < 8; i++) {
		assert_true(fake_used_wait(&f->q, &f->irq, 0, &id, &len));
		assert_int_equal(len, 60000);
	}
}

static void test_rng_readable_or_empty_chain_breaks_device(void **state)
{
	struct fixture *f = *state;
	static const struct fake_buffer rows[][2] = {
		{ { DATA, 16, false }, { DATA, 16, true } },
		{ { DATA, 16, false }, { DATA, 0, true } },
		{ { DATA, 0, true }, { DATA, 0, true } },
	};

	for (size_t i = 0; i < 3; i++) {
		start(f, NULL);
		fake_add(&f->q, rows[i], 2);
		fake_kick(f->d, 0);
		assert_true(fake_irq_wait(&f->irq.config));
		assert_int_equal(virtio_reg_status(f->d), 15 | NEEDS_RESET);
		if (i < 2)
			virtio_device_destroy(f->d);
	}
}

static void test_rng_file_given_once_then_silence(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { DATA, 8, true };
	FILE *file = fopen(f->path, "we");

	fputs("0123456789", file);
	fclose(file);
	start(f, f->path);
	assert_int_equal(run(f, &b, 1), 8);
	assert_memory_equal(fake_ptr(&f->ram, DATA), "01234567", 8);
	assert_int_equal(run(f, &b, 1), 2);
	assert_memory_equal(fake_ptr(&f->ram, DATA), "89", 2);
	fake_add(&f->q, &b, 1);
	fake_kick(f->d, 0);
	virtio_device_quiesce(f->d);
	virtio_device_resume(f->d);
	assert_int_equal(fake_used_idx(&f->q), 2);
	assert_int_equal(virtio_reg_status(f->d), 15);
}

static void test_rng_device_with_nothing_is_tried_again(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { DATA, 8, true };
	uint32_t id, len;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	char name[64];

	/* A terminal is a character device that has nothing for a while. */
	assert_true(master >= 0);
	assert_int_equal(grantpt(master) | unlockpt(master), 0);
	assert_int_equal(ptsname_r(master, name, sizeof(name)), 0);
	start(f, name);
	fake_add(&f->q, &b, 1);
	fake_kick(f->d, 0);
	usleep(50000);
	assert_int_equal(fake_used_idx(&f->q), 0);
	assert_int_equal(write(master, "abc\n", 4), 4);
	assert_true(fake_used_wait(&f->q, &f->irq, 0, &id, &len));
	assert_int_equal(len, 4);
	/* A reset while it waits leaves no timer behind. */
	fake_add(&f->q, &b, 1);
	fake_kick(f->d, 0);
	usleep(20000);
	virtio_reg_status_write(f->d, 0);
	close(master);
}

static void test_rng_unsuitable_source_refused(void **state)
{
	struct fixture *f = *state;
	struct error e;

	unlink(f->path);
	assert_int_equal(virtio_rng_create(&f->d, f->path, f->ram.mem, NULL,
					   &e), -ENOENT);
	assert_non_null(strstr(e.text, f->path));
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_int_equal(virtio_rng_create(&f->d, f->path, f->ram.mem, NULL,
					   &e), -EINVAL);
	assert_int_equal(virtio_rng_create(&f->d, "/", f->ram.mem, NULL, &e),
			 -EINVAL);
	f->d = NULL;
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_rng_fills_scattered_buffers),
		T(test_rng_request_is_bounded),
		T(test_rng_many_requests_go_on_over_turns),
		T(test_rng_readable_or_empty_chain_breaks_device),
		T(test_rng_file_given_once_then_silence),
		T(test_rng_device_with_nothing_is_tried_again),
		T(test_rng_unsuitable_source_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
