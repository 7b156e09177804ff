/* SPDX-License-Identifier: MIT */
/* LINK: error loop iothread guest_mem state virtio/virtqueue */
/* LINK: virtio/device% virtio/console virtio/console_port */
/* WITH: fake_driver fake_chardev */
#include "unit.h"

#include <errno.h>
#include <linux/virtio_console.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_chardev.h"
#include "fake_driver.h"
#include "state.h"
#include "virtio/console.h"

#define RX_RING	FAKE_RAM_BASE
#define TX_RING	(FAKE_RAM_BASE + 0x10000)
#define DATA	(FAKE_RAM_BASE + 0x100000)
#define NEEDS_RESET 0x40
#define RX	0
#define TX	1

struct fixture {
	struct chardev cd;
	struct fake_ram ram;
	struct iothread *thread;
	struct virtio_device *d;
	struct fake_irq irq;
	struct fake_queue q[2];
};

static void create(struct fixture *f)
{
	struct error e;

	assert_int_equal(virtio_console_create(&f->d, &f->cd, f->ram.mem,
					       iothread_loop(f->thread), &e),
			 0);
	fake_irq_init(&f->irq, f->d);
}

static void start(struct fixture *f, uint64_t features)
{
	fake_queue_init(&f->q[RX], &f->ram, RX_RING, 64);
	fake_queue_init(&f->q[TX], &f->ram, TX_RING, 64);
	assert_int_equal(fake_start(f->d, features, f->q, 2), 15);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_chardev_init(&f->cd);
	f->cd.columns = 80;
	f->cd.rows = 25;
	fake_ram_init(&f->ram);
	assert_int_equal(iothread_create(&f->thread, "io"), 0);
	create(f);
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

static void send(struct fixture *f, const struct fake_buffer *b,
		 unsigned int count)
{
	fake_add(&f->q[TX], b, count);
	fake_kick(f->d, TX);
}

static bool used(struct fixture *f, unsigned int queue, uint32_t *len)
{
	uint32_t id;

	return fake_used_wait(&f->q[queue], &f->irq, queue, &id, len);
}

static void put(struct fixture *f, const char *text)
{
	memcpy(fake_ptr(&f->ram, DATA), text, strlen(text));
}

static void test_console_output_reaches_back_end(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b[] = {
		{ DATA, 5, false }, { DATA + 5, 0, false },
		{ DATA + 5, 6, false },
	};
	uint32_t len;

	start(f, UINT64_MAX);
	put(f, "hello world");
	send(f, b, 3);
	assert_true(used(f, TX, &len));
	assert_int_equal(len, 0);
	assert_int_equal(fake_chardev_written(&f->cd), 11);
	assert_memory_equal(f->cd.output, "hello world", 11);
}

static void test_console_short_write_continues_when_there_is_room(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b[] = { { DATA, 5, false }, { DATA + 5, 6, false } };
	uint32_t len;

	start(f, UINT64_MAX);
	put(f, "hello world");
	fake_chardev_set_room(&f->cd, 7);
	send(f, b, 2);
	while (fake_chardev_written(&f->cd) < 7)
		usleep(1000);
	usleep(20000);
	/* Not used, not lost, not tried again and again. */
	assert_int_equal(fake_used_idx(&f->q[TX]), 0);
	assert_true(f->cd.writes < 8);
	fake_chardev_set_room(&f->cd, 1);
	while (fake_chardev_written(&f->cd) < 8)
		usleep(1000);
	assert_int_equal(fake_used_idx(&f->q[TX]), 0);
	fake_chardev_set_room(&f->cd, 100);
	assert_true(used(f, TX, &len));
	assert_int_equal(fake_chardev_written(&f->cd), 11);
	assert_memory_equal(f->cd.output, "hello world", 11);
}

static void test_console_long_output_yields_to_others(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { DATA, 0xf0000, false };
	uint8_t *p = fake_ptr(&f->ram, DATA);
	uint32_t len;

	for (size_t i = 0; i < b.len; i++)
		p[i] = (uint8_t)(i * 7 >> 3);
	start(f, UINT64_MAX);
	send(f, &b, 1);
	assert_true(used(f, TX, &len));
	assert_int_equal(fake_chardev_written(&f->cd), b.len);
	assert_memory_equal(f->cd.output, p, b.len);
	assert_true(f->cd.longest_write <= 256 << 10);
}

static void test_console_input_fills_buffers(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b[] = { { DATA, 3, true }, { DATA + 3, 4, true } };
	uint32_t len;

	start(f, UINT64_MAX);
	fake_chardev_type(&f->cd, "0123456789", 10);	/* before there is a buffer */
	fake_add(&f->q[RX], b, 2);
	fake_kick(f->d, RX);
	assert_true(used(f, RX, &len));
	assert_int_equal(len, 7);
	assert_memory_equal(fake_ptr(&f->ram, DATA), "0123456", 7);
	fake_add(&f->q[RX], b, 2);
	fake_kick(f->d, RX);
	assert_true(used(f, RX, &len));
	assert_int_equal(len, 3);
	assert_memory_equal(fake_ptr(&f->ram, DATA), "789", 3);
	/* A buffer that waits for input. */
	fake_add(&f->q[RX], b, 1);
	fake_kick(f->d, RX);
	usleep(10000);
	assert_int_equal(fake_used_idx(&f->q[RX]), 2);
	fake_chardev_type(&f->cd, "x", 1);
	assert_true(used(f, RX, &len));
	assert_int_equal(len, 1);
}

static void test_console_large_paste_loses_nothing(void **state)
{
	struct fixture *f = *state;
	static uint8_t got[100000];
	uint8_t paste[1000];
	size_t total = 0;
	uint32_t id, len;

	start(f, UINT64_MAX);
	for (unsigned int i = 0; i < 64; i++)
		fake_add(&f->q[RX], &(struct fake_buffer){
			 DATA + 64 * (gpa_t)i, 48, true }, 1);
	fake_kick(f->d, RX);
	for (unsigned int i = 0; i < 100; i++) {
		memset(paste, (int)i, sizeof(paste));
		fake_chardev_type(&f->cd, paste, sizeof(paste));
	}
	while (total < sizeof(got)) {
		assert_true(fake_used_wait(&f->q[RX], &f->irq, RX, &id, &len));
		memcpy(got + total, fake_ptr(&f->ram, DATA + 64 * (gpa_t)id),
		       len);
		total += len;
		fake_offer(&f->q[RX], (uint16_t)id);
		fake_kick(f->d, RX);
	}
	for (size_t i = 0; i < sizeof(got); i++)
		assert_int_equal(got[i], i / 1000);
}

static void test_console_wrong_direction_breaks_device(void **state)
{
	struct fixture *f = *state;

	for (unsigned int queue = RX; queue <= TX; queue++) {
		start(f, UINT64_MAX);
		fake_add(&f->q[queue], &(struct fake_buffer){
			 DATA, 4, queue == TX }, 1);
		fake_kick(f->d, queue);
		assert_true(fake_irq_wait(&f->irq.config));
		assert_int_equal(virtio_reg_status(f->d), 15 | NEEDS_RESET);
		virtio_reg_status_write(f->d, 0);
	}
	assert_int_equal(fake_chardev_written(&f->cd), 0);
}

static uint16_t config_u16(struct fixture *f, uint32_t offset)
{
	uint8_t b[2];

	virtio_reg_config_read(f->d, offset, b, 2);
	return (uint16_t)(b[0] | b[1] << 8);
}

static void test_console_resize_is_shown(void **state)
{
	struct fixture *f = *state;
	uint8_t generation;

	assert_int_equal(config_u16(f, 0), 80);
	assert_int_equal(config_u16(f, 2), 25);
	start(f, UINT64_MAX);
	/* The first size is news too, once the driver writes. */
	usleep(10000);
	assert_false(fake_irq_take(&f->irq.config));
	fake_add(&f->q[TX], &(struct fake_buffer){ DATA, 4, false }, 1);
	fake_kick(f->d, TX);
	assert_true(fake_irq_wait(&f->irq.config));
	generation = atomic_load(&f->d->config_generation);
	f->cd.client->resized(f->cd.opaque, 132, 50);
	assert_true(fake_irq_wait(&f->irq.config));
	assert_int_equal(config_u16(f, 0), 132);
	assert_int_equal(config_u16(f, 2), 50);
	assert_int_not_equal(atomic_load(&f->d->config_generation),
			     generation);
	/* The same size again is no news. */
	f->cd.client->resized(f->cd.opaque, 132, 50);
	virtio_device_quiesce(f->d);
	virtio_device_resume(f->d);
	usleep(10000);
	assert_false(fake_irq_take(&f->irq.config));
}

static void test_console_resize_without_size_feature_is_silent(void **state)
{
	struct fixture *f = *state;

	start(f, 0);
	f->cd.client->resized(f->cd.opaque, 132, 50);
	usleep(20000);
	assert_false(fake_irq_take(&f->irq.config));
	assert_int_equal(config_u16(f, 0), 132);
}

static void test_console_emergency_write_needs_no_queue(void **state)
{
	struct fixture *f = *state;
	uint32_t v = 'E';

	virtio_reg_config_write(f->d, 8, (const uint8_t *)&v, 4);
	virtio_reg_config_write(f->d, 0, (const uint8_t *)&v, 4);
	assert_int_equal(fake_chardev_written(&f->cd), 1);
	assert_int_equal(f->cd.output[0], 'E');
	assert_int_equal(config_u16(f, 0), 80);
}

static void test_console_saved_half_way_continues_there(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b[] = { { DATA, 5, false }, { DATA + 5, 6, false } };
	struct state_writer w = STATE_WRITER_INIT;
	struct state_reader r;
	struct error e;
	uint32_t len;

	start(f, UINT64_MAX);
	put(f, "hello world");
	fake_chardev_set_room(&f->cd, 7);
	send(f, b, 2);
	while (fake_chardev_written(&f->cd) < 7)
		usleep(1000);
	virtio_device_quiesce(f->d);
	virtio_device_save(f->d, &w);
	virtio_device_destroy(f->d);

	create(f);
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(virtio_device_load(f->d, &r, &e), 0);
	assert_int_equal(state_reader_finish(&r), 0);
	f->cd.room = 100;
	assert_int_equal(fake_chardev_written(&f->cd), 7);
	virtio_device_resume(f->d);
	assert_true(used(f, TX, &len));
	assert_memory_equal(f->cd.output, "hello world", 11);
	assert_int_equal(fake_chardev_written(&f->cd), 11);
	state_writer_deinit(&w);
}

static void test_console_reset_forgets_half_a_chain(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { DATA, 11, false };
	uint32_t len;

	start(f, UINT64_MAX);
	put(f, "hello world");
	fake_chardev_set_room(&f->cd, 7);
	send(f, &b, 1);
	while (fake_chardev_written(&f->cd) < 7)
		usleep(1000);
	virtio_reg_status_write(f->d, 0);
	fake_chardev_set_room(&f->cd, 100);		/* nobody there: harmless */
	start(f, UINT64_MAX);
	send(f, &b, 1);
	assert_true(used(f, TX, &len));
	assert_int_equal(fake_chardev_written(&f->cd), 18);
	assert_memory_equal(f->cd.output, "hello whello world", 18);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_console_output_reaches_back_end),
		T(test_console_short_write_continues_when_there_is_room),
		T(test_console_long_output_yields_to_others),
		T(test_console_input_fills_buffers),
		T(test_console_large_paste_loses_nothing),
		T(test_console_wrong_direction_breaks_device),
		T(test_console_resize_is_shown),
		T(test_console_resize_without_size_feature_is_silent),
		T(test_console_emergency_write_needs_no_queue),
		T(test_console_saved_half_way_continues_there),
		T(test_console_reset_forgets_half_a_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
