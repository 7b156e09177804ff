/* SPDX-License-Identifier: MIT */
/* LINK: error loop iothread guest_mem state virtio/virtqueue */
/* LINK: virtio/device% virtio/console_port virtio/serial virtio/serial_control virtio/serial_state */
/* WITH: fake_driver fake_chardev */
/* A console with many ports, before fake chardevs. */
#include "unit.h"

#include <errno.h>
#include <linux/virtio_console.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_chardev.h"
#include "fake_driver.h"
#include "state.h"
#include "virtio/serial.h"

#define PORTS	3
#define QUEUES	(2 * PORTS + 2)
#define RING(n)	(FAKE_RAM_BASE + 0x10000 * (gpa_t)(n))
#define DATA	(FAKE_RAM_BASE + 0x100000)
#define TOLD	(FAKE_RAM_BASE + 0x110000)
#define C_RX	2
#define C_TX	3
#define NEEDS_RESET 0x40

struct fixture {
	struct chardev cd[PORTS];
	struct fake_ram ram;
	struct iothread *thread;
	struct virtio_device *d;
	struct fake_irq irq;
	struct fake_queue q[QUEUES];
	atomic_uint changes;
};

static void on_changed(void *opaque)
{
	atomic_fetch_add(&((struct fixture *)opaque)->changes, 1);
}

static void create(struct fixture *f, struct error *e)
{
	const struct serial_host host = { on_changed, f };

	assert_int_equal(virtio_serial_create(&f->d, PORTS, &host, f->ram.mem,
					      iothread_loop(f->thread), e), 0);
	fake_irq_init(&f->irq, f->d);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error e;

	for (int i = 0; i < PORTS; i++)
		fake_chardev_init(&f->cd[i]);
	fake_ram_init(&f->ram);
	assert_int_equal(iothread_create(&f->thread, "io"), 0);
	create(f, &e);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	virtio_device_destroy(f->d);
	for (int i = 0; i < PORTS; i++)
		assert_null(f->cd[i].client);
	iothread_destroy(f->thread);
	fake_ram_deinit(&f->ram);
	free(f);
	return 0;
}

static void start_with(struct fixture *f, uint64_t features)
{
	for (unsigned int i = 0; i < QUEUES; i++)
		fake_queue_init(&f->q[i], &f->ram, RING(i), 64);
	assert_int_equal(fake_start(f->d, features, f->q, QUEUES), 15);
}

static void start(struct fixture *f)
{
	start_with(f, UINT64_MAX);
}

static void add(struct fixture *f, unsigned int nr, const char *name,
		bool console)
{
	assert_int_equal(virtio_serial_add(f->d, nr, name, console,
					   &f->cd[nr]), 0);
}

/* Buffers to be told in. */
static void listen_to(struct fixture *f, unsigned int count, uint32_t len)
{
	for (unsigned int i = 0; i < count; i++)
		fake_add(&f->q[C_RX], &(struct fake_buffer){
			 TOLD + 64 * (gpa_t)f->q[C_RX].next_desc, len, true },
			 1);
	fake_kick(f->d, C_RX);
}

static void say(struct fixture *f, uint32_t id, uint16_t event, uint16_t value)
{
	const struct virtio_console_control c = { id, event, value };
	uint32_t used, len;

	memcpy(fake_ptr(&f->ram, DATA), &c, sizeof(c));
	fake_add(&f->q[C_TX], &(struct fake_buffer){ DATA, sizeof(c), false },
		 1);
	fake_kick(f->d, C_TX);
	assert_true(fake_used_wait(&f->q[C_TX], &f->irq, C_TX, &used, &len));
}

/* The next thing that the driver is told. */
static void expect_told(struct fixture *f, uint32_t id, uint16_t event,
			uint16_t value, const char *text)
{
	struct virtio_console_control c;
	uint32_t used, len;
	const char *p;

	assert_true(fake_used_wait(&f->q[C_RX], &f->irq, C_RX, &used, &len));
	p = fake_ptr(&f->ram, TOLD + 64 * (gpa_t)used);
	memcpy(&c, p, sizeof(c));
	assert_int_equal(len, sizeof(c) + strlen(text));
	assert_int_equal(c.id, id);
	assert_int_equal(c.event, event);
	assert_int_equal(c.value, value);
	assert_memory_equal(p + sizeof(c), text, strlen(text));
}

static void expect_silence(struct fixture *f)
{
	uint16_t seen = f->q[C_RX].used_idx;

	usleep(20000);
	assert_int_equal(fake_used_idx(&f->q[C_RX]), seen);
}

/* A port that the driver has open. */
static void open_port(struct fixture *f, unsigned int nr)
{
	say(f, nr, VIRTIO_CONSOLE_PORT_READY, 1);
	say(f, nr, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

static void test_serial_ports_are_announced_named_and_opened(void **state)
{
	struct fixture *f = *state;
	uint8_t max[4];

	add(f, 0, NULL, true);
	add(f, 2, "org.example.agent", false);
	assert_true(f->cd[2].lossless);
	assert_false(f->cd[0].lossless);
	virtio_reg_config_read(f->d, 4, max, 4);
	assert_int_equal(max[0], PORTS);
	start(f);
	listen_to(f, 16, 64);
	expect_silence(f);
	say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect_told(f, 0, VIRTIO_CONSOLE_PORT_ADD, 1, "");
	expect_told(f, 2, VIRTIO_CONSOLE_PORT_ADD, 1, "");
	say(f, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	expect_told(f, 0, VIRTIO_CONSOLE_CONSOLE_PORT, 1, "");
	expect_told(f, 0, VIRTIO_CONSOLE_PORT_OPEN, 1, "");
	say(f, 2, VIRTIO_CONSOLE_PORT_READY, 1);
	expect_told(f, 2, VIRTIO_CONSOLE_PORT_NAME, 1, "org.example.agent");
	expect_told(f, 2, VIRTIO_CONSOLE_PORT_OPEN, 0, "");
	fake_chardev_set_open(&f->cd[2], true);
	expect_told(f, 2, VIRTIO_CONSOLE_PORT_OPEN, 1, "");
	fake_chardev_set_open(&f->cd[2], false);
	expect_told(f, 2, VIRTIO_CONSOLE_PORT_OPEN, 0, "");
	fake_chardev_set_open(&f->cd[0], true);
	expect_silence(f);
}

static void test_serial_data_passes_once_the_guest_listens(void **state)
{
	struct fixture *f = *state;
	uint32_t id, len;

	add(f, 1, "a", false);
	start(f);
	listen_to(f, 16, 64);
	say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	fake_add(&f->q[4], &(struct fake_buffer){ DATA + 64, 10, true }, 1);
	fake_kick(f->d, 4);
	fake_chardev_type(&f->cd[1], "hello", 5);
	usleep(20000);
	assert_int_equal(fake_used_idx(&f->q[4]), 0);
	open_port(f, 1);
	assert_true(fake_used_wait(&f->q[4], &f->irq, 4, &id, &len));
	assert_int_equal(len, 5);
	assert_memory_equal(fake_ptr(&f->ram, DATA + 64), "hello", 5);
	/* Out, with a pause for a slow reader. */
	fake_chardev_set_room(&f->cd[1], 3);
	memcpy(fake_ptr(&f->ram, DATA + 64), "abcdef", 6);
	fake_add(&f->q[5], &(struct fake_buffer){ DATA + 64, 6, false }, 1);
	fake_kick(f->d, 5);
	usleep(20000);
	assert_int_equal(fake_used_idx(&f->q[5]), 0);
	fake_chardev_set_room(&f->cd[1], 100);
	assert_true(fake_used_wait(&f->q[5], &f->irq, 5, &id, &len));
	assert_memory_equal(f->cd[1].output, "abcdef", 6);
	assert_int_equal(f->cd[1].out_len, 6);
}

static void test_serial_ports_come_and_go(void **state)
{
	struct fixture *f = *state;
	uint32_t id, len;

	start(f);
	listen_to(f, 32, 64);
	say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect_silence(f);
	add(f, 1, "a", false);
	expect_told(f, 1, VIRTIO_CONSOLE_PORT_ADD, 1, "");
	open_port(f, 1);
	expect_told(f, 1, VIRTIO_CONSOLE_PORT_NAME, 1, "a");
	expect_told(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 0, "");
	/* What waits for its reader does not wait for ever. */
	fake_chardev_set_room(&f->cd[1], 0);
	fake_add(&f->q[5], &(struct fake_buffer){ DATA + 64, 6, false }, 1);
	fake_kick(f->d, 5);
	virtio_serial_remove(f->d, 1);
	assert_null(f->cd[1].client);
	assert_false(f->cd[1].lossless);
	assert_true(fake_used_wait(&f->q[5], &f->irq, 5, &id, &len));
	expect_told(f, 1, VIRTIO_CONSOLE_PORT_REMOVE, 1, "");
	/* So does what comes later. */
	fake_add(&f->q[5], &(struct fake_buffer){ DATA + 64, 6, false }, 1);
	fake_kick(f->d, 5);
	assert_true(fake_used_wait(&f->q[5], &f->irq, 5, &id, &len));
	add(f, 1, "b", false);
	expect_told(f, 1, VIRTIO_CONSOLE_PORT_ADD, 1, "");
	say(f, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	expect_told(f, 1, VIRTIO_CONSOLE_PORT_NAME, 1, "b");
	expect_told(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 0, "");
	/* A reset forgets all that the driver knew, and nothing of the port. */
	virtio_reg_status_write(f->d, 0);
	start(f);
	listen_to(f, 4, 64);
	say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect_told(f, 1, VIRTIO_CONSOLE_PORT_ADD, 1, "");
}

static void expect_changes(struct fixture *f, unsigned int n)
{
	for (int i = 0; i < 5000 && f->changes != n; i++)
		usleep(1000);
	assert_int_equal(f->changes, n);
}

/* The host hears of what the guest opens and closes, and of nothing else. */
static void test_serial_host_is_told_of_what_is_open(void **state)
{
	struct fixture *f = *state;
	unsigned int before;

	add(f, 1, "a", false);
	add(f, 2, "b", false);
	start(f);
	listen_to(f, 16, 64);
	say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	say(f, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	before = f->changes;
	say(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_true(virtio_serial_guest_open(f->d, 1));
	assert_false(virtio_serial_guest_open(f->d, 2));
	expect_changes(f, before + 1);
	say(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	say(f, 0, VIRTIO_CONSOLE_PORT_OPEN, 1);
	say(f, 99, VIRTIO_CONSOLE_PORT_OPEN, 1);
	usleep(20000);
	expect_changes(f, before + 1);
	say(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	assert_false(virtio_serial_guest_open(f->d, 1));
	expect_changes(f, before + 2);
	say(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	virtio_reg_status_write(f->d, 0);
	assert_false(virtio_serial_guest_open(f->d, 1));
	expect_changes(f, before + 4);
}

static void test_serial_without_buffers_tells_later_and_in_order(void **state)
{
	struct fixture *f = *state;

	add(f, 1, "a", false);
	start(f);
	for (int i = 0; i < 1000; i++)
		say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	listen_to(f, 1, 64);
	expect_told(f, 1, VIRTIO_CONSOLE_PORT_ADD, 1, "");
	for (int i = 0; i < 1000; i++)
		say(f, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	for (int i = 0; i < 3; i++) {
		virtio_serial_remove(f->d, 1);
		add(f, 1, "c", false);
	}
	listen_to(f, 8, 64);
	expect_told(f, 1, VIRTIO_CONSOLE_PORT_REMOVE, 1, "");
	expect_told(f, 1, VIRTIO_CONSOLE_PORT_ADD, 1, "");
	expect_silence(f);
}

static void test_serial_nonsense_is_passed_over(void **state)
{
	static const uint16_t events[] = {
		VIRTIO_CONSOLE_PORT_ADD, VIRTIO_CONSOLE_PORT_REMOVE,
		VIRTIO_CONSOLE_PORT_READY, VIRTIO_CONSOLE_CONSOLE_PORT,
		VIRTIO_CONSOLE_RESIZE, VIRTIO_CONSOLE_PORT_OPEN,
		VIRTIO_CONSOLE_PORT_NAME, 8, 0xffff,
	};
	static const uint32_t ids[] = { 0, 1, 2, 3, 31, 32, UINT32_MAX };
	struct fixture *f = *state;
	uint32_t used, len;

	add(f, 1, "a", false);
	start(f);
	listen_to(f, 32, 64);
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		for (size_t j = 0; j < sizeof(events) / sizeof(events[0]); j++)
			say(f, ids[i], events[j], 1);
	for (uint32_t n = 0; n < 8; n++) {
		fake_add(&f->q[C_TX], &(struct fake_buffer){ DATA, n, false },
			 1);
		fake_kick(f->d, C_TX);
		assert_true(fake_used_wait(&f->q[C_TX], &f->irq, C_TX, &used,
					   &len));
	}
	expect_silence(f);
	/* A port that it has not heard of is neither ready nor open. */
	say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect_told(f, 1, VIRTIO_CONSOLE_PORT_ADD, 1, "");
	expect_silence(f);
	assert_int_equal(virtio_reg_status(f->d), 15);
}

static void test_serial_short_buffers_get_what_fits(void **state)
{
	struct fixture *f = *state;
	uint32_t used, len;

	add(f, 1, "name", false);
	start(f);
	say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	listen_to(f, 1, 3);
	assert_true(fake_used_wait(&f->q[C_RX], &f->irq, C_RX, &used, &len));
	assert_int_equal(len, 3);
	say(f, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	listen_to(f, 1, 10);
	expect_told(f, 1, VIRTIO_CONSOLE_PORT_NAME, 1, "na");
}

static void test_serial_wrong_direction_breaks_device(void **state)
{
	static const struct {
		unsigned int queue;
		bool writable;
	} rows[] = {
		{ C_RX, false }, { C_TX, true }, { 5, true }, { 7, true },
	};
	struct fixture *f = *state;

	add(f, 1, "a", false);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		start(f);
		if (rows[i].queue > C_TX)
			listen_to(f, 4, 64);
		say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
		/* Port 2 is not there: anything is used up. */
		fake_add(&f->q[rows[i].queue], &(struct fake_buffer){
			 DATA, 4, rows[i].writable }, 1);
		fake_kick(f->d, rows[i].queue);
		if (rows[i].queue == 7) {
			usleep(20000);
			assert_int_equal(virtio_reg_status(f->d), 15);
		} else {
			assert_true(fake_irq_wait(&f->irq.config));
			assert_int_equal(virtio_reg_status(f->d),
					 15 | NEEDS_RESET);
		}
		virtio_reg_status_write(f->d, 0);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- saved and loaded ------------------------------------------------------ */

/* The device of f, in the state that it was saved in; ports as before. */
static int load(struct fixture *f, const struct state_writer *w,
		struct error *e)
{
	struct state_reader r;
	int ret;

	virtio_device_destroy(f->d);
	create(f, e);
	add(f, 0, NULL, true);
	add(f, 2, "agent", false);
	state_reader_init(&r, w->data, w->len_bytes);
	ret = virtio_device_load(f->d, &r, e);
	if (!ret)
		assert_int_equal(state_reader_finish(&r), 0);
	return ret;
}

static void test_serial_goes_on_where_it_was_saved(void **state)
{
	struct state_writer w = STATE_WRITER_INIT;
	struct fixture *f = *state;
	uint32_t id, len;
	struct error e;

	add(f, 0, NULL, true);
	add(f, 2, "agent", false);
	fake_chardev_set_open(&f->cd[2], true);
	start(f);
	listen_to(f, 7, 64);
	say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	open_port(f, 0);
	open_port(f, 2);
	/* Of six bytes three are out. */
	fake_chardev_set_room(&f->cd[2], 3);
	memcpy(fake_ptr(&f->ram, DATA + 64), "abcdef", 6);
	fake_add(&f->q[7], &(struct fake_buffer){ DATA + 64, 6, false }, 1);
	fake_kick(f->d, 7);
	for (int i = 0; i < 1000 && f->cd[2].out_len < 3; i++)
		usleep(1000);
	virtio_device_quiesce(f->d);
	virtio_device_save(f->d, &w);
	fake_chardev_set_open(&f->cd[2], false);

	f->changes = 0;
	assert_int_equal(load(f, &w, &e), 0);
	assert_true(f->changes > 0);
	assert_true(virtio_serial_guest_open(f->d, 2));
	virtio_device_resume(f->d);
	for (int i = 0; i < 6; i++)
		assert_true(fake_used_wait(&f->q[C_RX], &f->irq, C_RX, &id,
					   &len));
	/* Nobody is at the other end any more. */
	expect_told(f, 2, VIRTIO_CONSOLE_PORT_OPEN, 0, "");
	fake_chardev_set_room(&f->cd[2], 100);
	assert_true(fake_used_wait(&f->q[7], &f->irq, 7, &id, &len));
	assert_memory_equal(f->cd[2].output, "abcdef", 6);
	assert_int_equal(f->cd[2].out_len, 6);
	/* The program has it open. */
	fake_add(&f->q[6], &(struct fake_buffer){ DATA + 64, 10, true }, 1);
	fake_kick(f->d, 6);
	fake_chardev_type(&f->cd[2], "hello", 5);
	assert_true(fake_used_wait(&f->q[6], &f->irq, 6, &id, &len));
	assert_memory_equal(fake_ptr(&f->ram, DATA + 64), "hello", 5);
	state_writer_deinit(&w);
}

/* 5.3.2: it takes port 0 to be there. */
static void test_serial_driver_of_one_port_is_saved_without_any(void **state)
{
	struct state_writer w = STATE_WRITER_INIT;
	struct fixture *f = *state;
	struct state_reader r;
	uint8_t *port0;
	struct error e;

	start_with(f, ~(UINT64_C(1) << VIRTIO_CONSOLE_F_MULTIPORT));
	virtio_device_quiesce(f->d);
	virtio_device_save(f->d, &w);
	port0 = w.data + w.len_bytes - PORTS * 10;
	/* It says nothing, and so not that it is ready for one. */
	for (int ready = 1; ready >= 0; ready--) {
		virtio_device_destroy(f->d);
		create(f, &e);
		port0[1] ^= 1 << 1;
		state_reader_init(&r, w.data, w.len_bytes);
		assert_int_equal(virtio_device_load(f->d, &r, &e),
				 ready ? -EPROTO : 0);
	}
	assert_int_equal(state_reader_finish(&r), 0);
	virtio_device_resume(f->d);
	state_writer_deinit(&w);
}

static void test_serial_impossible_state_is_refused(void **state)
{
	/* From the end: of each port pending, flags and how much was sent. */
	static const struct {
		unsigned int port, at;
		uint8_t value;
	} wrong[] = {
		{ 0, 0, 1 << 3 },	/* a name that it has not */
		{ 0, 0, 1 << 5 }, { 0, 1, 1 << 3 },
		{ 0, 1, 1 << 1 },	/* ready, but unknown to the driver */
		{ 2, 1, 1 << 2 },
		{ 1, 0, 1 << 1 },	/* there is no such port */
		{ 1, 1, 1 << 0 },
	};
	struct state_writer w = STATE_WRITER_INIT;
	struct fixture *f = *state;
	struct error e;
	uint8_t *ports;

	add(f, 0, NULL, true);
	add(f, 2, "agent", false);
	start(f);
	virtio_device_quiesce(f->d);
	virtio_device_save(f->d, &w);
	ports = w.data + w.len_bytes - PORTS * 10;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		uint8_t *at = ports + wrong[i].port * 10 + wrong[i].at;
		uint8_t was = *at;

		*at = wrong[i].value;
		if (!load(f, &w, &e))
			fail_msg("%u, %u: %u", wrong[i].port, wrong[i].at,
				 wrong[i].value);
		*at = was;
	}
	assert_int_equal(load(f, &w, &e), 0);
	virtio_device_resume(f->d);
	state_writer_deinit(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_serial_ports_are_announced_named_and_opened),
		T(test_serial_data_passes_once_the_guest_listens),
		T(test_serial_ports_come_and_go),
		T(test_serial_host_is_told_of_what_is_open),
		T(test_serial_without_buffers_tells_later_and_in_order),
		T(test_serial_nonsense_is_passed_over),
		T(test_serial_short_buffers_get_what_fits),
		T(test_serial_wrong_direction_breaks_device),
		T(test_serial_goes_on_where_it_was_saved),
		T(test_serial_driver_of_one_port_is_saved_without_any),
		T(test_serial_impossible_state_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
