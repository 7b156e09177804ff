/* SPDX-License-Identifier: MIT */
/* LINK: error loop iothread guest_mem state virtio/virtqueue */
/* LINK: virtio/device% */
/* WITH: fake_driver */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_driver.h"
#include "state.h"

#define RING(i)	(FAKE_RAM_BASE + 0x10000 * (gpa_t)(i))
#define DATA	(FAKE_RAM_BASE + 0x100000)

#define ACK		1
#define DRIVER		3
#define FEATURES_OK	11
#define DRIVER_OK	15
#define NEEDS_RESET	0x40
#define FAILED		0x80

#define FEATURE_X	UINT64_C(1)	/* the device's only own feature */

/* A device that returns every chain and counts what is asked of it. */
struct echo {
	struct virtio_device dev;
	int activate_ret;
	int activated, quiesced, resumed, resets, destroyed;
	uint8_t config[8];
	uint32_t value;			/* saved and loaded */
};

static void echo_config_read(struct virtio_device *d, uint32_t offset,
			     uint8_t *data, uint32_t len)
{
	memcpy(data, ((struct echo *)d)->config + offset, len);
}

static void echo_config_write(struct virtio_device *d, uint32_t offset,
			      const uint8_t *data, uint32_t len)
{
	memcpy(((struct echo *)d)->config + offset, data, len);
}

static int echo_activate(struct virtio_device *d)
{
	((struct echo *)d)->activated++;
	return ((struct echo *)d)->activate_ret;
}

static void echo_handle_queue(struct virtio_device *d, unsigned int index)
{
	struct iovec iov[16];
	struct virtq_chain c = { .iov = iov, .iov_max = 16 };
	int ret;

	do {
		while ((ret = virtqueue_pop(virtio_vq(d, index), &c)) > 0)
			virtqueue_push(virtio_vq(d, index), c.head,
				       (uint32_t)c.writable_bytes);
	} while (!ret && virtqueue_arm(virtio_vq(d, index)));
	if (ret < 0)
		virtio_device_broken(d);
	virtio_queue_flush(d, index);
}

static void echo_quiesce(struct virtio_device *d)
{
	((struct echo *)d)->quiesced++;
}

static void echo_resume(struct virtio_device *d)
{
	((struct echo *)d)->resumed++;
}

static void echo_reset(struct virtio_device *d)
{
	((struct echo *)d)->resets++;
}

static void echo_save(struct virtio_device *d, struct state_writer *w)
{
	state_put_u32(w, ((struct echo *)d)->value);
}

static int echo_load(struct virtio_device *d, struct state_reader *r,
		     struct error *e)
{
	((struct echo *)d)->value = state_get_u32(r);
	if (!state_reader_error(r))
		return 0;
	return error_errno(e, state_reader_error(r), "echo");
}

static void echo_destroy(struct virtio_device *d)
{
	((struct echo *)d)->destroyed++;
	virtio_device_deinit(d);
}

static const struct virtio_device_ops ops = {
	.config_read = echo_config_read,
	.config_write = echo_config_write,
	.activate = echo_activate,
	.handle_queue = echo_handle_queue,
	.quiesce = echo_quiesce,
	.resume = echo_resume,
	.reset = echo_reset,
	.save = echo_save,
	.load = echo_load,
	.destroy = echo_destroy,
};

static const struct virtio_device_info info = {
	.name = "echo", .type_id = 99, .ops = &ops,
};

struct fixture {
	struct fake_ram ram;
	struct iothread *thread;
	struct echo echo;
	struct virtio_device *d;
	struct fake_irq irq;
	struct fake_queue q[2];
};

static void create_device(struct fixture *f)
{
	static const uint16_t sizes[] = { 16, 64 };
	struct error e;

	memset(&f->echo, 0, sizeof(f->echo));
	f->d = &f->echo.dev;
	assert_int_equal(virtio_device_init(f->d, &info, f->ram.mem,
					    iothread_loop(f->thread), FEATURE_X,
					    8, sizes, 2, &e), 0);
	fake_irq_init(&f->irq, f->d);
	for (unsigned int i = 0; i < 2; i++)
		fake_queue_init(&f->q[i], &f->ram, RING(i), 16);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_ram_init(&f->ram);
	assert_int_equal(iothread_create(&f->thread, "io"), 0);
	create_device(f);
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

/* A chain goes through and comes back with an interrupt. */
static void assert_alive(struct fixture *f, unsigned int index)
{
	struct fake_buffer b = { DATA, 7, true };
	uint16_t head = fake_add(&f->q[index], &b, 1);
	uint32_t id, len;

	fake_kick(f->d, index);
	assert_true(fake_used_wait(&f->q[index], &f->irq, index, &id, &len));
	assert_int_equal(id, head);
	assert_int_equal(len, 7);
}

static void reach(struct virtio_device *d, uint8_t status)
{
	static const uint8_t path[] = { ACK, DRIVER, FEATURES_OK, DRIVER_OK };

	virtio_reg_status_write(d, 0);
	virtio_reg_driver_features(d, 1, 1);	/* VERSION_1 */
	for (size_t i = 0; i < 4 && virtio_reg_status(d) != status; i++)
		virtio_reg_status_write(d, path[i]);
	assert_int_equal(virtio_reg_status(d), status);
}

static void test_device_status_only_legal_transitions_taken(void **state)
{
	struct fixture *f = *state;
	static const uint8_t states[] = {
		0, ACK, DRIVER, FEATURES_OK, DRIVER_OK,
	};
	/* Bit `to` of row `from`: every other write leaves the status. */
	static const struct {
		uint8_t from, to;
	} legal[] = {
		{ 0, ACK }, { 0, DRIVER }, { ACK, DRIVER },
		{ DRIVER, FEATURES_OK }, { FEATURES_OK, DRIVER_OK },
		{ 0, FAILED }, { ACK, ACK | FAILED },
		{ DRIVER, DRIVER | FAILED },
		{ FEATURES_OK, FEATURES_OK | FAILED },
		{ DRIVER_OK, DRIVER_OK | FAILED },
	};

	for (size_t i = 0; i < sizeof(states); i++) {
		for (unsigned int to = 1; to < 256; to++) {
			uint8_t from = states[i], expected = from;

			for (size_t k = 0; k < sizeof(legal) / 2; k++)
				if (legal[k].from == from &&
				    legal[k].to == (to & ~NEEDS_RESET))
					expected = legal[k].to;
			reach(f->d, from);
			virtio_reg_status_write(f->d, (uint8_t)to);
			if (virtio_reg_status(f->d) != expected)
				fail_msg("0x%02x + write 0x%02x → 0x%02x", from,
					 to, virtio_reg_status(f->d));
		}
	}
}

static void test_device_status_failed_only_left_by_reset(void **state)
{
	struct fixture *f = *state;

	reach(f->d, DRIVER);
	virtio_reg_status_write(f->d, DRIVER | FAILED);
	virtio_reg_status_write(f->d, FEATURES_OK | FAILED);
	virtio_reg_status_write(f->d, FEATURES_OK);
	assert_int_equal(virtio_reg_status(f->d), DRIVER | FAILED);
	virtio_reg_status_write(f->d, 0);
	assert_int_equal(virtio_reg_status(f->d), 0);
}

static void test_device_features_ok_only_for_subset_with_version_1(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint32_t low, high;
		uint8_t status;
	} rows[] = {
		{ 0, 1, FEATURES_OK },
		{ 1, 1, FEATURES_OK },
		{ 1u << 28 | 1u << 29 | 1, 1, FEATURES_OK },
		{ 0, 0, DRIVER },		/* no VERSION_1 */
		{ 1, 0, DRIVER },
		{ 2, 1, DRIVER },		/* not offered */
		{ 0, 3, DRIVER },
		{ 0xffffffff, 0xffffffff, DRIVER },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		reach(f->d, DRIVER);
		virtio_reg_driver_features(f->d, 0, rows[i].low);
		virtio_reg_driver_features(f->d, 1, rows[i].high);
		virtio_reg_status_write(f->d, FEATURES_OK);
		assert_int_equal(virtio_reg_status(f->d), rows[i].status);
		/* 3.1.1: without the bit there is no way on. */
		virtio_reg_status_write(f->d, DRIVER_OK);
		assert_int_equal(f->d->active, rows[i].status == FEATURES_OK);
	}
}

static void test_device_features_fixed_after_features_ok(void **state)
{
	struct fixture *f = *state;

	reach(f->d, FEATURES_OK);
	virtio_reg_driver_features(f->d, 0, 1);
	assert_int_equal(virtio_reg_driver_features_read(f->d, 0), 0);
	assert_int_equal(virtio_reg_driver_features_read(f->d, 1), 1);
	assert_int_equal(virtio_reg_driver_features_read(f->d, 2), 0);
	assert_int_equal(virtio_reg_device_features(f->d, 0),
			 1u << 28 | 1u << 29 | 1);
	assert_int_equal(virtio_reg_device_features(f->d, 1), 1);
	assert_int_equal(virtio_reg_device_features(f->d, 2), 0);
	virtio_reg_status_write(f->d, 0);
	assert_int_equal(virtio_reg_driver_features_read(f->d, 1), 0);
}

static void test_device_queue_registers_reject_what_is_not_allowed(void **state)
{
	struct fixture *f = *state;
	struct virtqueue_config *c = &f->d->queues[0].config;

	assert_int_equal(c->size, 16);
	for (uint16_t size = 0; size < 40; size++)
		if (size != 8)
			virtio_reg_queue_size(f->d, 0, size == 16 ? 8 : size);
	assert_int_equal(c->size, 8);
	virtio_reg_queue_enable(f->d, 0);	/* before FEATURES_OK */
	assert_false(f->d->queues[0].enabled);
	virtio_reg_queue_address(f->d, 0, 0, true, 0x11);
	virtio_reg_queue_address(f->d, 0, 0, false, 0x22);
	assert_true(c->desc == UINT64_C(0x1100000022));
	virtio_reg_queue_address(f->d, 0, 3, false, 1);
	virtio_reg_queue_address(f->d, 2, 0, false, 1);
	virtio_reg_queue_size(f->d, 2, 8);
	virtio_reg_queue_enable(f->d, 0xffffffff);
	virtio_reg_queue_notify(f->d, 2);

	reach(f->d, FEATURES_OK);
	assert_true(c->desc == 0);		/* the reset on the way */
	virtio_reg_queue_enable(f->d, 0);
	assert_true(f->d->queues[0].enabled);
	virtio_reg_queue_size(f->d, 0, 4);
	virtio_reg_queue_address(f->d, 0, 1, false, 4);
	assert_int_equal(c->size, 16);
	assert_true(c->avail == 0);
	virtio_reg_queue_size(f->d, 1, 4);
	assert_int_equal(f->d->queues[1].config.size, 4);
}

static void test_device_config_access_outside_harmless(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[8] = { 0 };
	static const uint64_t offsets[] = {
		8, 7, 0x100000000, UINT64_MAX, UINT64_MAX - 1,
	};

	virtio_reg_config_write(f->d, 4, (const uint8_t *)"abcd", 4);
	virtio_reg_config_read(f->d, 4, buf, 4);
	assert_memory_equal(buf, "abcd", 4);
	for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		memset(buf, 0, 2);
		virtio_reg_config_write(f->d, offsets[i], buf, 2);
		virtio_reg_config_read(f->d, offsets[i], buf, 2);
		assert_memory_equal(buf, "\xff\xff", 2);
	}
	virtio_reg_config_read(f->d, 4, buf, 4);
	assert_memory_equal(buf, "abcd", 4);
}

static void test_device_driver_ok_activates_and_chains_flow(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { DATA, 7, true };
	uint32_t id, len;

	/* Offered before DRIVER_OK: found without a kick. */
	fake_add(&f->q[0], &b, 1);
	assert_int_equal(fake_start(f->d, UINT64_MAX, f->q, 2), DRIVER_OK);
	assert_int_equal(f->echo.activated, 1);
	assert_true(virtio_has(f->d, VIRTIO_RING_F_EVENT_IDX));
	assert_true(fake_used_wait(&f->q[0], &f->irq, 0, &id, &len));
	assert_alive(f, 1);
	assert_alive(f, 0);
	virtio_reg_status_write(f->d, DRIVER_OK);
	assert_int_equal(f->echo.activated, 1);
}

static void test_device_reset_is_synchronous_and_starts_anew(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		fake_queue_init(&f->q[0], &f->ram, RING(0), 16);
		assert_int_equal(fake_start(f->d, 0, f->q, 1), DRIVER_OK);
		assert_alive(f, 0);
		virtio_reg_status_write(f->d, 0);
		assert_int_equal(virtio_reg_status(f->d), 0);
		assert_int_equal(f->echo.resets, i + 1);
		assert_false(f->d->queues[0].enabled);
		assert_false(virtqueue_enabled(virtio_vq(f->d, 0)));
	}
	virtio_device_reset(f->d);
	assert_int_equal(f->echo.resets, 3);	/* it was not active */
}

static void assert_broken(struct fixture *f)
{
	uint16_t used = fake_used_idx(&f->q[0]);
	struct fake_buffer b = { DATA, 7, true };

	assert_true(fake_irq_wait(&f->irq.config));
	assert_int_equal(virtio_reg_status(f->d), DRIVER_OK | NEEDS_RESET);
	fake_add(&f->q[1], &b, 1);
	fake_kick(f->d, 1);
	virtio_device_quiesce(f->d);
	virtio_device_resume(f->d);
	assert_int_equal(fake_used_idx(&f->q[0]), used);
	assert_int_equal(fake_used_idx(&f->q[1]), 0);
	/* The bit is the device's: a driver cannot clear it but by a reset. */
	virtio_reg_status_write(f->d, DRIVER_OK);
	assert_int_equal(virtio_reg_status(f->d), DRIVER_OK | NEEDS_RESET);
	virtio_reg_status_write(f->d, 0);
	assert_int_equal(virtio_reg_status(f->d), 0);
}

static void test_device_malformed_ring_needs_reset(void **state)
{
	struct fixture *f = *state;

	fake_start(f->d, 0, f->q, 2);
	fake_set_avail_idx(&f->q[0], 1000);
	fake_kick(f->d, 0);
	assert_broken(f);
	fake_queue_init(&f->q[0], &f->ram, RING(0), 16);
	fake_start(f->d, 0, f->q, 1);
	assert_alive(f, 0);
	assert_false(fake_irq_take(&f->irq.config));
}

static void test_device_bad_ring_address_needs_reset(void **state)
{
	struct fixture *f = *state;

	f->q[0].config.used = FAKE_RAM_END;
	fake_start(f->d, 0, f->q, 2);
	assert_int_equal(f->echo.activated, 0);
	assert_true(fake_irq_wait(&f->irq.config));
	assert_int_equal(virtio_reg_status(f->d), DRIVER_OK | NEEDS_RESET);
}

static void test_device_activate_failure_needs_reset(void **state)
{
	struct fixture *f = *state;

	f->echo.activate_ret = -ENOMEM;
	fake_start(f->d, 0, f->q, 2);
	assert_broken(f);
	assert_int_equal(f->echo.resets, 1);
	f->echo.activate_ret = 0;
	fake_queue_init(&f->q[0], &f->ram, RING(0), 16);
	fake_start(f->d, 0, f->q, 1);
	assert_alive(f, 0);
}

static void test_device_quiesce_resume_idempotent_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { DATA, 7, true };
	uint32_t id, len;

	virtio_device_quiesce(f->d);		/* inactive: only marked */
	virtio_device_resume(f->d);
	assert_int_equal(f->echo.quiesced, 0);
	fake_start(f->d, 0, f->q, 1);
	virtio_device_quiesce(f->d);
	virtio_device_quiesce(f->d);
	assert_int_equal(f->echo.quiesced, 1);
	fake_add(&f->q[0], &b, 1);
	fake_kick(f->d, 0);
	usleep(20000);
	assert_int_equal(fake_used_idx(&f->q[0]), 0);
	virtio_device_resume(f->d);
	virtio_device_resume(f->d);
	assert_int_equal(f->echo.resumed, 1);
	assert_true(fake_used_wait(&f->q[0], &f->irq, 0, &id, &len));
	assert_alive(f, 0);
}

static void test_device_started_while_quiesced_waits_for_resume(void **state)
{
	struct fixture *f = *state;

	virtio_device_quiesce(f->d);
	fake_start(f->d, 0, f->q, 1);
	assert_int_equal(f->echo.activated, 1);
	fake_kick(f->d, 0);
	virtio_device_resume(f->d);
	assert_alive(f, 0);
}

static void test_device_config_changed_moves_generation(void **state)
{
	struct fixture *f = *state;
	uint8_t before = atomic_load(&f->d->config_generation);

	virtio_device_config_begin(f->d);
	assert_int_not_equal(atomic_load(&f->d->config_generation), before);
	before = atomic_load(&f->d->config_generation);
	virtio_device_config_changed(f->d);
	assert_int_not_equal(atomic_load(&f->d->config_generation), before);
	assert_true(fake_irq_take(&f->irq.config));
}

static void test_device_load_continues_saved_device(void **state)
{
	struct fixture *f = *state;
	struct state_writer w = STATE_WRITER_INIT;
	struct state_reader r;
	struct error e;

	fake_start(f->d, UINT64_MAX, f->q, 2);
	for (int i = 0; i < 40; i++)
		assert_alive(f, i & 1);
	f->echo.value = 4711;
	virtio_device_quiesce(f->d);
	virtio_device_save(f->d, &w);
	virtio_device_destroy(f->d);
	f->d = NULL;

	/* Another device, the same memory; the driver notices nothing. */
	struct fake_queue q[2] = { f->q[0], f->q[1] };
	void *copy = malloc(0x20000);
	memcpy(copy, fake_ptr(&f->ram, RING(0)), 0x20000);
	create_device(f);
	memcpy(f->q, q, sizeof(q));
	memcpy(fake_ptr(&f->ram, RING(0)), copy, 0x20000);
	free(copy);
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(virtio_device_load(f->d, &r, &e), 0);
	assert_int_equal(state_reader_finish(&r), 0);
	assert_int_equal(f->echo.value, 4711);
	assert_int_equal(virtio_reg_status(f->d), DRIVER_OK);
	virtio_device_resume(f->d);
	for (int i = 0; i < 40; i++)
		assert_alive(f, i & 1);
	state_writer_deinit(&w);
}

static void test_device_load_hostile_state_refused(void **state)
{
	struct fixture *f = *state;
	struct state_writer w = STATE_WRITER_INIT;
	struct state_reader r;
	/* Offsets into the state: see virtio_device_save(). */
	static const struct {
		const char *name;
		size_t at;
		uint8_t value;
	} rows[] = {
		{ "status bit", 0, 0x2f },
		{ "driver without features", 0, 0x07 },
		{ "feature not offered", 2, 0x02 },
		{ "without VERSION_1", 6, 0x00 },
		{ "queue count", 10, 3 },
		{ "enabled is no boolean", 14, 2 },
		{ "size", 15, 3 },
		{ "descriptors unaligned", 17, 1 },
		{ "descriptors outside", 24, 0xff },
		{ "indices apart", 42, 0x40 },
	};
	struct error e;

	fake_start(f->d, 0, f->q, 1);
	virtio_device_quiesce(f->d);
	virtio_device_save(f->d, &w);
	virtio_device_reset(f->d);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint8_t good = w.data[rows[i].at];

		w.data[rows[i].at] = rows[i].value;
		state_reader_init(&r, w.data, w.len_bytes);
		if (virtio_device_load(f->d, &r, &e) >= 0)
			fail_msg("%s: not refused", rows[i].name);
		assert_int_equal(virtio_reg_status(f->d), 0);
		assert_false(f->d->active);
		w.data[rows[i].at] = good;
	}
	for (size_t len = 0; len < w.len_bytes; len++) {
		state_reader_init(&r, w.data, len);
		assert_true(virtio_device_load(f->d, &r, &e) < 0);
	}
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(virtio_device_load(f->d, &r, &e), 0);
	state_writer_deinit(&w);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_device_status_only_legal_transitions_taken),
		T(test_device_status_failed_only_left_by_reset),
		T(test_device_features_ok_only_for_subset_with_version_1),
		T(test_device_features_fixed_after_features_ok),
		T(test_device_queue_registers_reject_what_is_not_allowed),
		T(test_device_config_access_outside_harmless),
		T(test_device_driver_ok_activates_and_chains_flow),
		T(test_device_reset_is_synchronous_and_starts_anew),
		T(test_device_malformed_ring_needs_reset),
		T(test_device_bad_ring_address_needs_reset),
		T(test_device_activate_failure_needs_reset),
		T(test_device_quiesce_resume_idempotent_loses_nothing),
		T(test_device_started_while_quiesced_waits_for_resume),
		T(test_device_config_changed_moves_generation),
		T(test_device_load_continues_saved_device),
		T(test_device_load_hostile_state_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
