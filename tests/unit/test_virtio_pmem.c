/* SPDX-License-Identifier: MIT */
/* LINK: error loop iothread guest_mem state virtio/virtqueue */
/* LINK: virtio/device% */
/* LINK: virtio/pmem pmem/flusher */
/* WITH: fake_driver */
#include "unit.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_driver.h"
#include "state.h"
#include "virtio/pmem.h"

#define RING	FAKE_RAM_BASE
#define REQ	(FAKE_RAM_BASE + 0x100000)
#define RESP	(FAKE_RAM_BASE + 0x110000)
#define NEEDS_RESET 0x40

/* ---- a region whose flushes the test holds up ------------------------------ */

static struct {
	uint64_t bytes;
	atomic_uint started, destroyed;
	atomic_int result;
	sem_t begun, go;
	atomic_bool held;
} region;

gpa_t pmem_region_base(const struct pmem_region *r)
{
	(void)r;
	return UINT64_C(0x4000000000);
}

uint64_t pmem_region_bytes(const struct pmem_region *r)
{
	(void)r;
	return region.bytes;
}

unsigned int pmem_region_slot(const struct pmem_region *r)
{
	(void)r;
	return 3;
}

int pmem_region_flush(struct pmem_region *r)
{
	(void)r;
	atomic_fetch_add(&region.started, 1);
	sem_post(&region.begun);
	if (region.held)
		sem_wait(&region.go);
	return atomic_load(&region.result);
}

void pmem_region_destroy(struct pmem_region *r)
{
	(void)r;
	atomic_fetch_add(&region.destroyed, 1);
}

/* ---------------------------------------------------------------------------- */

struct fixture {
	struct fake_ram ram;
	struct iothread *thread;
	struct virtio_device *d;
	struct fake_irq irq;
	struct fake_queue q;
};

static void start(struct fixture *f)
{
	fake_queue_init(&f->q, &f->ram, RING, 64);
	assert_int_equal(fake_start(f->d, UINT64_MAX, &f->q, 1), 15);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error e;

	memset(&region, 0, sizeof(region));
	region.bytes = 4 << 20;
	sem_init(&region.begun, 0, 0);
	sem_init(&region.go, 0, 0);
	fake_ram_init(&f->ram);
	assert_int_equal(iothread_create(&f->thread, "io"), 0);
	assert_int_equal(virtio_pmem_create(&f->d, NULL, f->ram.mem,
					    iothread_loop(f->thread), &e), 0);
	fake_irq_init(&f->irq, f->d);
	start(f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	region.held = false;
	for (int i = 0; i < 8; i++)
		sem_post(&region.go);
	virtio_device_destroy(f->d);
	assert_int_equal(atomic_load(&region.destroyed), 1);
	iothread_destroy(f->thread);
	fake_ram_deinit(&f->ram);
	free(f);
	return 0;
}

static void put32(struct fixture *f, gpa_t gpa, uint32_t v)
{
	memcpy(fake_ptr(&f->ram, gpa), &v, sizeof(v));
}

static uint32_t get32(struct fixture *f, gpa_t gpa)
{
	uint32_t v;

	memcpy(&v, fake_ptr(&f->ram, gpa), sizeof(v));
	return v;
}

static uint16_t offer(struct fixture *f, unsigned int i)
{
	struct fake_buffer b[] = {
		{ REQ + 8 * i, 4, false }, { RESP + 8 * i, 4, true },
	};
	uint16_t head;

	put32(f, b[0].addr, 0);
	put32(f, b[1].addr, 99);
	head = fake_add(&f->q, b, 2);
	fake_kick(f->d, 0);
	return head;
}

static void expect_answer(struct fixture *f, unsigned int i, uint32_t ret)
{
	uint32_t id, len;

	assert_true(fake_used_wait(&f->q, &f->irq, 0, &id, &len));
	assert_int_equal(len, 4);
	assert_int_equal(get32(f, RESP + 8 * i), ret);
}

static void test_pmem_config_says_where_it_is(void **state)
{
	struct fixture *f = *state;
	uint64_t config[2], beyond;

	virtio_reg_config_read(f->d, 0, (uint8_t *)config, 16);
	assert_int_equal(config[0], UINT64_C(0x4000000000));
	assert_int_equal(config[1], 4 << 20);
	virtio_reg_config_read(f->d, 16, (uint8_t *)&beyond, 8);
	assert_int_equal(beyond, UINT64_MAX);
}

static void test_pmem_flush_answers_with_its_result(void **state)
{
	struct fixture *f = *state;

	offer(f, 0);
	expect_answer(f, 0, 0);
	assert_int_equal(atomic_load(&region.started), 1);
	atomic_store(&region.result, -ENOSPC);
	offer(f, 1);
	expect_answer(f, 1, 1);
	atomic_store(&region.result, 0);
	offer(f, 2);
	expect_answer(f, 2, 0);
	assert_int_equal(atomic_load(&region.started), 3);
}

static void test_pmem_odd_requests_table(void **state)
{
	struct fixture *f = *state;
	static const struct {
		struct fake_buffer b[6];
		unsigned int count;
		uint32_t type;
		int answer;		/* -1: the device is broken */
	} rows[] = {
		{ { { REQ, 4, false }, { RESP, 4, true } }, 2, 1, 1 },
		{ { { REQ, 4, false }, { RESP, 4, true } }, 2, ~0u, 1 },
		{ { { REQ, 3, false }, { RESP, 4, true } }, 2, 0, 1 },
		{ { { RESP, 4, true } }, 1, 0, 1 },
		{ { { REQ, 1, false }, { REQ + 1, 3, false },
		    { RESP, 4, true } }, 3, 0, 0 },
		{ { { REQ, 4, false }, { RESP, 1, true }, { RESP + 1, 0, true },
		    { RESP + 1, 1, true }, { RESP + 2, 1, true },
		    { RESP + 3, 1, true } }, 6, 0, 0 },
		{ { { REQ, 64, false }, { RESP, 64, true } }, 2, 0, 0 },
		{ { { REQ, 4, false } }, 1, 0, -1 },
		{ { { REQ, 4, false }, { RESP, 3, true } }, 2, 0, -1 },
		{ { { REQ, 4, false }, { 0, 4, true } }, 2, 0, -1 },
	};
	uint32_t id, len;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		virtio_reg_status_write(f->d, 0);
		start(f);
		put32(f, REQ, rows[i].type);
		put32(f, RESP, 99);
		put32(f, RESP + 4, 99);
		fake_add(&f->q, rows[i].b, rows[i].count);
		fake_kick(f->d, 0);
		if (rows[i].answer < 0) {
			assert_true(fake_irq_wait(&f->irq.config));
			assert_true(virtio_reg_status(f->d) & NEEDS_RESET);
			assert_int_equal(get32(f, RESP), 99);
			continue;
		}
		assert_true(fake_used_wait(&f->q, &f->irq, 0, &id, &len));
		assert_int_equal(len, 4);
		assert_int_equal(get32(f, RESP), rows[i].answer);
		assert_int_equal(get32(f, RESP + 4), 99);
	}
}

static void nothing(void *opaque)
{
	(void)opaque;
}

/* What comes while a flush is under way shares the next one. */
static void test_pmem_requests_share_flushes_and_block_nobody(void **state)
{
	struct fixture *f = *state;

	region.held = true;
	offer(f, 0);
	sem_wait(&region.begun);
	for (unsigned int i = 1; i < 20; i++)
		offer(f, i);
	/* The loop is free all the while. */
	loop_call(iothread_loop(f->thread), nothing, NULL);
	assert_int_equal(fake_used_idx(&f->q), 0);
	sem_post(&region.go);
	expect_answer(f, 0, 0);
	sem_wait(&region.begun);
	assert_int_equal(fake_used_idx(&f->q), 1);
	atomic_store(&region.result, -EIO);
	sem_post(&region.go);
	for (unsigned int i = 1; i < 20; i++)
		expect_answer(f, i, 1);
	assert_int_equal(atomic_load(&region.started), 2);
}

/* As many as there can be, and a driver that cheats to have one more. */
static void test_pmem_requests_are_bounded_by_the_queue(void **state)
{
	struct fixture *f = *state;
	uint16_t head;
	uint32_t id, len;

	region.held = true;
	head = offer(f, 0);
	sem_wait(&region.begun);
	for (int i = 0; i < 63; i++)
		fake_offer(&f->q, head);
	fake_kick(f->d, 0);
	region.held = false;
	sem_post(&region.go);
	for (int i = 0; i < 64; i++)
		assert_true(fake_used_wait(&f->q, &f->irq, 0, &id, &len));
	region.held = true;
	for (int i = 0; i < 65; i++)
		fake_offer(&f->q, head);
	fake_kick(f->d, 0);
	assert_true(fake_irq_wait(&f->irq.config));
	assert_true(virtio_reg_status(f->d) & NEEDS_RESET);
}

static void test_pmem_reset_does_not_wait_for_a_flush(void **state)
{
	struct fixture *f = *state;

	region.held = true;
	offer(f, 0);
	sem_wait(&region.begun);
	virtio_reg_status_write(f->d, 0);
	assert_int_equal(virtio_reg_status(f->d), 0);
	assert_int_equal(get32(f, RESP), 99);
	start(f);
	atomic_store(&region.result, -EIO);
	offer(f, 1);
	/* The first one's end is not taken for the second's. */
	loop_call(iothread_loop(f->thread), nothing, NULL);
	assert_int_equal(atomic_load(&region.started), 1);
	sem_post(&region.go);
	sem_wait(&region.begun);
	loop_call(iothread_loop(f->thread), nothing, NULL);
	assert_int_equal(fake_used_idx(&f->q), 0);
	atomic_store(&region.result, 0);
	sem_post(&region.go);
	expect_answer(f, 1, 0);
	assert_int_equal(get32(f, RESP), 99);
}

static void *release_later(void *opaque)
{
	(void)opaque;
	usleep(20000);
	sem_post(&region.go);
	sem_post(&region.go);
	return NULL;
}

static void test_pmem_quiesce_finishes_what_is_in_flight(void **state)
{
	struct fixture *f = *state;
	pthread_t t;

	region.held = true;
	offer(f, 0);
	sem_wait(&region.begun);
	offer(f, 1);
	loop_call(iothread_loop(f->thread), nothing, NULL);
	assert_int_equal(pthread_create(&t, NULL, release_later, NULL), 0);
	virtio_device_quiesce(f->d);
	assert_int_equal(fake_used_idx(&f->q), 2);
	pthread_join(t, NULL);
	region.held = false;
	offer(f, 2);
	loop_call(iothread_loop(f->thread), nothing, NULL);
	assert_int_equal(fake_used_idx(&f->q), 2);
	virtio_device_resume(f->d);
	expect_answer(f, 0, 0);
	expect_answer(f, 1, 0);
	expect_answer(f, 2, 0);
}

static void test_pmem_state_is_loaded_where_it_was_only(void **state)
{
	struct fixture *f = *state;
	struct state_writer w = STATE_WRITER_INIT;
	struct virtio_device *other;
	struct state_reader r;
	struct error e;

	offer(f, 0);
	expect_answer(f, 0, 0);
	virtio_device_quiesce(f->d);
	virtio_device_save(f->d, &w);
	assert_int_equal(virtio_pmem_create(&other, NULL, f->ram.mem,
					    iothread_loop(f->thread), &e), 0);
	fake_irq_init(&f->irq, other);
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(virtio_device_load(other, &r, &e), 0);
	assert_int_equal(state_reader_finish(&r), 0);
	virtio_device_resume(other);
	virtio_device_reset(f->d);
	virtio_device_destroy(f->d);
	f->d = other;
	atomic_store(&region.destroyed, 0);
	offer(f, 1);
	expect_answer(f, 1, 0);

	region.bytes = 8 << 20;
	state_reader_init(&r, w.data, w.len_bytes);
	virtio_device_reset(other);
	assert_int_equal(virtio_device_load(other, &r, &e), -EINVAL);
	state_reader_init(&r, w.data, w.len_bytes - 1);
	assert_int_equal(virtio_device_load(other, &r, &e), -ENODATA);
	state_writer_deinit(&w);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_pmem_config_says_where_it_is),
		T(test_pmem_flush_answers_with_its_result),
		T(test_pmem_odd_requests_table),
		T(test_pmem_requests_share_flushes_and_block_nobody),
		T(test_pmem_requests_are_bounded_by_the_queue),
		T(test_pmem_reset_does_not_wait_for_a_flush),
		T(test_pmem_quiesce_finishes_what_is_in_flight),
		T(test_pmem_state_is_loaded_where_it_was_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
