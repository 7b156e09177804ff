/* SPDX-License-Identifier: MIT */
/* LINK: error loop iothread guest_mem virtio/virtqueue state */
/* LINK: virtio/device% virtio/balloon */
/* WITH: fake_driver */
/* The balloon: what it gives back, what it says, and hostile drivers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_driver.h"
#include "state.h"
#include "virtio/balloon.h"

#define RING(i)	(FAKE_RAM_BASE + 0x4000 * (gpa_t)(i))
#define DATA	(FAKE_RAM_BASE + 0x100000)
#define NEEDS_RESET 0x40
#define F_STATS (1ull << 1)
#define F_OOM	(1ull << 2)
#define F_REPORTING (1ull << 5)
#define PAGE	4096u

struct fixture {
	struct fake_ram ram;
	struct iothread *thread;
	struct virtio_device *d;
	struct fake_irq irq;
	struct fake_queue q[5];
	struct { uint8_t *host; uint64_t len; } gone[16];
	unsigned int discards, changes;
};

static void on_discard(void *opaque, void *host, uint64_t len_bytes)
{
	struct fixture *f = opaque;

	if (f->discards < 16) {
		f->gone[f->discards].host = host;
		f->gone[f->discards].len = len_bytes;
	}
	f->discards++;
}

static void on_changed(void *opaque)
{
	((struct fixture *)opaque)->changes++;
}

static void start(struct fixture *f, struct balloon_params p, uint64_t wanted,
		  unsigned int queues)
{
	const struct balloon_host host = { on_discard, on_changed, f };
	struct error e;

	assert_int_equal(virtio_balloon_create(&f->d, &p, &host, f->ram.mem,
					       iothread_loop(f->thread), &e),
			 0);
	fake_irq_init(&f->irq, f->d);
	for (unsigned int i = 0; i < queues; i++)
		fake_queue_init(&f->q[i], &f->ram, RING(i), 16);
	assert_int_equal(fake_start(f->d, wanted, f->q, queues), 15);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_ram_init(&f->ram);
	assert_int_equal(iothread_create(&f->thread, "io"), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	virtio_device_destroy(f->d);
	iothread_destroy(f->thread);
	fake_ram_deinit(&f->ram);
	free(f);
	return 0;
}

static uint32_t run(struct fixture *f, unsigned int queue,
		    const struct fake_buffer *b, unsigned int count)
{
	uint32_t id, len;

	fake_add(&f->q[queue], b, count);
	fake_kick(f->d, queue);
	assert_true(fake_used_wait(&f->q[queue], &f->irq, queue, &id, &len));
	return len;
}

static void send_pfns(struct fixture *f, unsigned int queue,
		      const uint32_t *pfns, uint32_t count)
{
	const struct fake_buffer b = { DATA, count * 4, false };

	memcpy(fake_ptr(&f->ram, DATA), pfns, count * sizeof(*pfns));
	assert_int_equal(run(f, queue, &b, 1), 0);
}

static void expect_gone(struct fixture *f, unsigned int i, gpa_t gpa,
			uint64_t len)
{
	assert_true(i < f->discards);
	assert_ptr_equal(f->gone[i].host, fake_ptr(&f->ram, gpa));
	assert_int_equal(f->gone[i].len, len);
}

static void test_balloon_gives_pages_back_in_runs(void **state)
{
	struct fixture *f = *state;
	const uint32_t pfns[] = { 0x140, 0x141, 0x142, 0x160, 0x15f, 0x150 };

	start(f, (struct balloon_params){ 0 }, UINT64_MAX, 3);
	send_pfns(f, 0, pfns, 6);
	assert_int_equal(f->discards, 3);
	expect_gone(f, 0, 0x140000, 3 * PAGE);
	expect_gone(f, 1, 0x15f000, 2 * PAGE);
	expect_gone(f, 2, 0x150000, PAGE);
	/* Deflating takes nothing. */
	send_pfns(f, 1, pfns, 6);
	assert_int_equal(f->discards, 3);
}

static void test_balloon_pages_outside_memory_are_nothing(void **state)
{
	struct fixture *f = *state;
	const uint32_t pfns[] = {
		0, 0xff, FAKE_RAM_END >> 12, UINT32_MAX, 0x300,
	};

	start(f, (struct balloon_params){ 0 }, UINT64_MAX, 3);
	send_pfns(f, 0, pfns, 5);
	assert_int_equal(f->discards, 1);
	expect_gone(f, 0, 0x300000, PAGE);
	assert_int_equal(virtio_reg_status(f->d), 15);
}

static void test_balloon_chain_is_bounded(void **state)
{
	struct fixture *f = *state;
	const struct fake_buffer b = { DATA, 0x100000, false };
	uint32_t *pfns = fake_ptr(&f->ram, DATA);

	/* No two of them are neighbours. */
	for (uint32_t i = 0; i < 0x40000; i++)
		pfns[i] = 0x140 + i % 2 * 8;
	start(f, (struct balloon_params){ 0 }, UINT64_MAX, 3);
	run(f, 0, &b, 1);
	assert_int_equal(f->discards, 4096);
	/* A torn number is none. */
	pfns[0] = 0x140;
	f->discards = 0;
	run(f, 0, &(struct fake_buffer){ DATA, 7, false }, 1);
	assert_int_equal(f->discards, 1);
}

static void test_balloon_target_and_actual(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[8], five[4] = { 5, 0, 0, 0 };

	start(f, (struct balloon_params){ .deflate_on_oom = true }, UINT64_MAX,
	      3);
	assert_true(f->d->offered & F_OOM);
	assert_false(f->d->offered & F_REPORTING);
	virtio_balloon_set_target(f->d, 0x1234);
	assert_true(fake_irq_take(&f->irq.config));
	virtio_reg_config_read(f->d, 0, bytes, 8);
	assert_memory_equal(bytes, "\x34\x12\0\0\0\0\0\0", 8);
	virtio_reg_config_write(f->d, 4, five, 4);
	assert_int_equal(virtio_balloon_actual(f->d), 5);
	assert_int_equal(f->changes, 1);
	/* num_pages is not the driver's. */
	virtio_reg_config_write(f->d, 0, five, 4);
	virtio_reg_config_write(f->d, 6, five, 4);
	virtio_reg_config_read(f->d, 0, bytes, 8);
	assert_memory_equal(bytes, "\x34\x12\0\0\5\0\0\0", 8);
	/* A reset forgets what the guest has done, not what it is to do. */
	virtio_reg_status_write(f->d, 0);
	virtio_reg_config_read(f->d, 0, bytes, 8);
	assert_memory_equal(bytes, "\x34\x12\0\0\0\0\0\0", 8);
}

static void put_stat(struct fixture *f, unsigned int i, uint16_t tag,
		     uint64_t value)
{
	uint8_t *p = (uint8_t *)fake_ptr(&f->ram, DATA) + i * 10;

	memcpy(p, &tag, 2);
	memcpy(p + 2, &value, 8);
}

static void test_balloon_stats_are_kept_and_asked_for_again(void **state)
{
	struct fixture *f = *state;
	const struct fake_buffer b = { DATA, 35, false };
	uint32_t id, len;

	start(f, (struct balloon_params){ 0 }, UINT64_MAX, 3);
	assert_true(virtio_balloon_stat(f->d, BALLOON_STAT_AVAILABLE) ==
		    BALLOON_STAT_UNKNOWN);
	put_stat(f, 0, BALLOON_STAT_AVAILABLE, 1ull << 33);
	put_stat(f, 1, 0xffff, 1);
	put_stat(f, 2, BALLOON_STAT_FREE, 77);
	put_stat(f, 3, BALLOON_STAT_TOTAL, 88);		/* torn */
	fake_add(&f->q[2], &b, 1);
	fake_kick(f->d, 2);
	/* Held; a pause gives it back. */
	for (int i = 0; i < 500 && virtio_balloon_stat(f->d,
		     BALLOON_STAT_FREE) != 77; i++)
		usleep(10000);
	assert_true(virtio_balloon_stat(f->d, BALLOON_STAT_FREE) == 77);
	assert_true(virtio_balloon_stat(f->d, BALLOON_STAT_AVAILABLE) ==
		    1ull << 33);
	assert_true(virtio_balloon_stat(f->d, BALLOON_STAT_TOTAL) ==
		    BALLOON_STAT_UNKNOWN);
	assert_int_equal(fake_used_idx(&f->q[2]), 0);
	virtio_device_quiesce(f->d);
	assert_true(fake_used(&f->q[2], &id, &len));
	virtio_device_resume(f->d);
	/* Without one it comes back after a while. */
	fake_irq_take(&f->irq.queue[2]);
	fake_add(&f->q[2], &b, 1);
	fake_kick(f->d, 2);
	assert_true(fake_used_wait(&f->q[2], &f->irq, 2, &id, &len));
	/* A second one while one is held gives the first back. */
	fake_add(&f->q[2], &b, 1);
	fake_add(&f->q[2], &b, 1);
	fake_kick(f->d, 2);
	assert_true(fake_used_wait(&f->q[2], &f->irq, 2, &id, &len));
	assert_int_equal(fake_used_idx(&f->q[2]), 3);
}

static void test_balloon_is_asked_as_often_as_wanted(void **state)
{
	struct fixture *f = *state;
	const struct fake_buffer b = { DATA, 10, false };
	uint32_t id, len;

	start(f, (struct balloon_params){ 0 }, UINT64_MAX, 3);
	assert_int_equal(virtio_balloon_stats_interval(f->d),
			 BALLOON_STATS_SECONDS);
	assert_int_equal(virtio_balloon_stats_time(f->d), 0);
	virtio_balloon_set_stats_interval(f->d, 0);
	put_stat(f, 0, BALLOON_STAT_FREE, 77);
	fake_add(&f->q[2], &b, 1);
	fake_kick(f->d, 2);
	usleep((BALLOON_STATS_SECONDS * 1000 + 200) * 1000);
	assert_int_equal(fake_used_idx(&f->q[2]), 0);
	assert_true(virtio_balloon_stat(f->d, BALLOON_STAT_FREE) == 77);
	assert_true(llabs(virtio_balloon_stats_time(f->d) - time(NULL)) < 60);
	/* What waits now need not have waited. */
	virtio_balloon_set_stats_interval(f->d, 1);
	assert_true(fake_used_wait(&f->q[2], &f->irq, 2, &id, &len));
	/* A pause and a large number are nothing special. */
	virtio_device_quiesce(f->d);
	virtio_balloon_set_stats_interval(f->d, UINT32_MAX);
	virtio_device_resume(f->d);
	fake_add(&f->q[2], &b, 1);
	fake_kick(f->d, 2);
	virtio_balloon_set_stats_interval(f->d, 1);
	assert_true(fake_used_wait(&f->q[2], &f->irq, 2, &id, &len));
}

/* Linux numbers the queues that there are; the specification has gaps. */
static void test_balloon_reports_on_either_queue(void **state)
{
	struct fixture *f = *state;
	const struct fake_buffer b[] = {
		{ 0x140000, 2 * PAGE, true }, { 0x150001, PAGE, true },
	};

	start(f, (struct balloon_params){ .free_page_reporting = true },
	      UINT64_MAX, 5);
	for (unsigned int queue = 3; queue < 5; queue++) {
		f->discards = 0;
		assert_int_equal(run(f, queue, b, 2), 0);
		assert_int_equal(f->discards, 2);
		expect_gone(f, 0, 0x140000, 2 * PAGE);
		expect_gone(f, 1, 0x150001, PAGE);
	}
	/* Readable buffers are nobody's free pages. */
	f->discards = 0;
	run(f, 3, &(struct fake_buffer){ 0x140000, PAGE, false }, 1);
	assert_int_equal(f->discards, 0);
}

static void test_balloon_reporting_not_negotiated_discards_nothing(void **state)
{
	struct fixture *f = *state;
	const struct fake_buffer b = { 0x140000, PAGE, true };

	start(f, (struct balloon_params){ .free_page_reporting = true },
	      F_STATS, 5);
	assert_int_equal(run(f, 3, &b, 1), 0);
	assert_int_equal(f->discards, 0);
}

static void test_balloon_malformed_ring_breaks_device(void **state)
{
	struct fixture *f = *state;

	start(f, (struct balloon_params){ 0 }, UINT64_MAX, 3);
	fake_set_avail_idx(&f->q[0], 9000);
	fake_kick(f->d, 0);
	assert_true(fake_irq_wait(&f->irq.config));
	assert_int_equal(virtio_reg_status(f->d), 15 | NEEDS_RESET);
}

static void test_balloon_state_survives(void **state)
{
	struct fixture *f = *state;
	const struct balloon_host host = { on_discard, on_changed, f };
	const struct balloon_params p = { 0 };
	struct state_writer w = STATE_WRITER_INIT;
	struct state_reader r;
	struct virtio_device *d;
	uint8_t two[4] = { 2 };
	struct error e;

	start(f, p, UINT64_MAX, 3);
	virtio_balloon_set_target(f->d, 7);
	virtio_reg_config_write(f->d, 4, two, 4);
	virtio_device_quiesce(f->d);
	virtio_device_save(f->d, &w);
	assert_int_equal(w.error, 0);
	assert_int_equal(virtio_balloon_create(&d, &p, &host, f->ram.mem,
					       iothread_loop(f->thread), &e),
			 0);
	fake_irq_init(&f->irq, d);
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(virtio_device_load(d, &r, &e), 0);
	assert_int_equal(state_reader_finish(&r), 0);
	assert_int_equal(virtio_balloon_actual(d), 2);
	virtio_device_destroy(d);
	state_writer_deinit(&w);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_balloon_gives_pages_back_in_runs),
		T(test_balloon_pages_outside_memory_are_nothing),
		T(test_balloon_chain_is_bounded),
		T(test_balloon_target_and_actual),
		T(test_balloon_stats_are_kept_and_asked_for_again),
		T(test_balloon_is_asked_as_often_as_wanted),
		T(test_balloon_reports_on_either_queue),
		T(test_balloon_reporting_not_negotiated_discards_nothing),
		T(test_balloon_malformed_ring_breaks_device),
		T(test_balloon_state_survives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
