/* SPDX-License-Identifier: MIT */
/* LINK: platform/serial platform/serial_regs platform/serial_state bus error state */
/* The serial port between a fake chardev and a driver, on one thread. */
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "platform/serial.h"

#define PORT 0x3f8
enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

/* ---- the fake chardev ---------------------------------------------------- */

struct chardev {
	const struct chardev_client *client;
	void *opaque;
	uint8_t out[8192];
	size_t out_len, room;
	const uint8_t *in;
	size_t in_len, in_at;
};

void chardev_set_client(struct chardev *c, const struct chardev_client *client,
			void *opaque)
{
	c->client = client;
	c->opaque = opaque;
}

size_t chardev_write(struct chardev *c, const uint8_t *data, size_t len)
{
	size_t n = len < c->room ? len : c->room;

	memcpy(c->out + c->out_len, data, n);
	c->out_len += n;
	c->room -= n;
	return n;
}

size_t chardev_read(struct chardev *c, uint8_t *data, size_t len)
{
	size_t n = c->in_len - c->in_at;

	n = n < len ? n : len;
	if (!n)
		return 0;
	memcpy(data, c->in + c->in_at, n);
	c->in_at += n;
	return n;
}

void chardev_flush(struct chardev *c)
{
	c->room = sizeof(c->out) - c->out_len;
}

/* ---- the rest ------------------------------------------------------------ */

struct fixture {
	pthread_mutex_t lock;
	struct bus *pio;
	struct serial *s;
	struct chardev chr;
	struct irq_line irq;
};

static int edges;

void irq_line_raise(struct irq_line *l)
{
	(void)l;
	edges++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct serial_params p = {
		.port = PORT, .irq = &f->irq, .chr = &f->chr,
		.machine_lock = &f->lock,
	};

	pthread_mutex_init(&f->lock, NULL);
	f->chr.room = sizeof(f->chr.out);
	if (bus_create(&f->pio, &f->lock))
		return -1;
	p.pio = f->pio;
	edges = 0;
	*state = f;
	return serial_create(&f->s, &p, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	serial_destroy(f->s);
	bus_destroy(f->pio);
	free(f);
	return 0;
}

static uint8_t in(struct fixture *f, unsigned int reg)
{
	uint8_t v;

	assert_true(bus_read(f->pio, PORT + reg, &v, 1));
	return v;
}

static void out(struct fixture *f, unsigned int reg, int value)
{
	uint8_t v = (uint8_t)value;

	assert_true(bus_write(f->pio, PORT + reg, &v, 1));
}

/* Bytes that the host's side sends. */
static void offer(struct fixture *f, const void *data, size_t len)
{
	f->chr.in = data;
	f->chr.in_len = len;
	f->chr.in_at = 0;
	f->chr.client->input_ready(f->chr.opaque);
}

static void open_port(struct fixture *f)
{
	out(f, 2, 0x07);	/* FIFOs on and cleared, trigger at 1 */
	out(f, LCR, 0x03);
	out(f, IER, 0x05);
	out(f, MCR, 0x0b);	/* DTR, RTS, OUT2 */
}

/* ---- registers ----------------------------------------------------------- */

static void test_serial_registers_keep_what_hardware_keeps(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint8_t lcr, reg, write, read;
	} rows[] = {
		{ 0x03, IER, 0xff, 0x0f },
		{ 0x03, IER, 0x00, 0x00 },
		{ 0x03, MCR, 0xe5, 0x05 },
		{ 0x03, SCR, 0xa5, 0xa5 },
		{ 0x83, DATA, 0x12, 0x12 },	/* DLL */
		{ 0x83, IER, 0x34, 0x34 },	/* DLM */
		{ 0x03, LCR, 0x1b, 0x1b },
		{ 0x03, LSR, 0xff, 0x60 },	/* read-only */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		out(f, LCR, rows[i].lcr);
		out(f, rows[i].reg, rows[i].write);
		assert_int_equal(in(f, rows[i].reg), rows[i].read);
	}
}

static void test_serial_divisor_does_not_reach_the_host(void **state)
{
	struct fixture *f = *state;

	out(f, LCR, 0x80);
	out(f, DATA, 'x');
	assert_int_equal(f->chr.out_len, 0);
}

/* How Linux's autoconfig() and autoconfig_16550a() tell the parts apart. */
static void test_serial_is_detected_as_16550a(void **state)
{
	struct fixture *f = *state;

	out(f, IER, 0);
	assert_int_equal(in(f, IER) & 0x0f, 0);
	out(f, IER, 0x0f);
	assert_int_equal(in(f, IER) & 0x0f, 0x0f);
	out(f, IER, 0);
	out(f, MCR, 0x1a);	/* loopback, OUT2 and RTS */
	assert_int_equal(in(f, MSR) & 0xf0, 0x90);
	out(f, MCR, 0);
	out(f, LCR, 0xbf);
	out(f, 2, 0);
	out(f, LCR, 0);
	out(f, 2, 0x01);
	assert_int_equal(in(f, IIR) >> 6, 3);
	/* No EFR (16650), no 64-byte mode (16750), no UUE bit (XScale). */
	out(f, LCR, 0x80);
	assert_int_not_equal(in(f, 2), 0);
	out(f, LCR, 0xbf);
	assert_int_not_equal(in(f, 2), 0);
	out(f, LCR, 0);
	out(f, 2, 0x21);
	assert_int_equal(in(f, IIR) >> 5, 6);
	out(f, IER, 0x40);
	assert_int_equal(in(f, IER), 0);
}

static void test_serial_loopback_fifo_holds_sixteen(void **state)
{
	struct fixture *f = *state;
	int n = 0;

	out(f, 2, 0x07);
	out(f, MCR, 0x10);
	for (int i = 0; i < 256; i++)
		out(f, DATA, i);
	assert_true(in(f, LSR) & 0x02);	/* overrun */
	while (in(f, LSR) & 0x01)
		assert_int_equal(in(f, DATA), n++);
	assert_int_equal(n, 16);
	assert_int_equal(f->chr.out_len, 0);
}

static void test_serial_modem_lines_read_as_connected(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(in(f, MSR), 0xb0);
	out(f, IER, 0x08);
	out(f, MCR, 0x10);	/* all lines drop */
	assert_int_equal(edges, 1);
	assert_int_equal(in(f, IIR) & 0x0f, 0x00);
	assert_int_equal(in(f, MSR), 0x0b);
	assert_int_equal(in(f, MSR), 0x00);
	assert_int_equal(in(f, IIR) & 0x0f, 0x01);
}

static void test_serial_reset_is_power_on(void **state)
{
	struct fixture *f = *state;

	open_port(f);
	offer(f, "abc", 3);
	serial_reset(f->s);
	assert_int_equal(in(f, IER), 0);
	assert_int_equal(in(f, MCR), 0);
	assert_int_equal(in(f, LCR), 0);
	assert_int_equal(in(f, IIR), 0x01);
	assert_int_equal(in(f, LSR), 0x60);
}

/* ---- output -------------------------------------------------------------- */

static void test_serial_thre_is_withheld_until_there_is_room(void **state)
{
	struct fixture *f = *state;

	open_port(f);
	f->chr.room = 2;
	out(f, DATA, 'a');
	out(f, DATA, 'b');
	assert_int_equal(in(f, LSR) & 0x60, 0x60);
	out(f, DATA, 'c');
	assert_int_equal(in(f, LSR) & 0x60, 0);
	out(f, IER, 0x02);
	assert_int_equal(in(f, IIR) & 0x0f, 0x01);
	assert_int_equal(edges, 0);
	f->chr.room = 10;
	f->chr.client->output_ready(f->chr.opaque);
	assert_int_equal(edges, 1);
	assert_int_equal(in(f, IIR) & 0x0f, 0x02);
	assert_int_equal(in(f, LSR) & 0x60, 0x60);
	assert_memory_equal(f->chr.out, "abc", 3);
}

/* Linux's console writes on after 10 ms without THRE. */
static void test_serial_impatient_guest_loses_nothing(void **state)
{
	struct fixture *f = *state;

	f->chr.room = 0;
	for (int i = 0; i < 4096; i++)
		out(f, DATA, i * 7);
	f->chr.room = 1000;
	f->chr.client->output_ready(f->chr.opaque);
	assert_int_equal(in(f, LSR) & 0x60, 0);
	f->chr.room = sizeof(f->chr.out) - f->chr.out_len;
	f->chr.client->output_ready(f->chr.opaque);
	out(f, DATA, 'e');
	assert_int_equal(f->chr.out_len, 4097);
	for (int i = 0; i < 4096; i++)
		assert_int_equal(f->chr.out[i], (uint8_t)(i * 7));
	assert_int_equal(f->chr.out[4096], 'e');
}

static void test_serial_enabling_thre_interrupts_when_empty(void **state)
{
	struct fixture *f = *state;

	for (int i = 1; i <= 3; i++) {
		out(f, IER, 0x02);
		assert_int_equal(edges, i);
		assert_int_equal(in(f, IIR) & 0x0f, 0x02);
		assert_int_equal(in(f, IIR) & 0x0f, 0x01);
		out(f, IER, 0);
	}
}

static void test_serial_burst_raises_one_edge(void **state)
{
	struct fixture *f = *state;

	open_port(f);
	out(f, IER, 0x02);
	assert_int_equal(in(f, IIR) & 0x0f, 0x02);
	edges = 0;
	for (int i = 0; i < 16; i++)
		out(f, DATA, 'x');
	assert_int_equal(edges, 1);
}

/* ---- input --------------------------------------------------------------- */

static void test_serial_input_waits_for_rts(void **state)
{
	struct fixture *f = *state;

	out(f, MCR, 0x08);
	offer(f, "typed early", 11);
	assert_int_equal(in(f, LSR) & 1, 0);
	/* What Linux does when it opens the port. */
	out(f, 2, 0x07);
	out(f, 2, 0x00);
	in(f, LSR);
	in(f, DATA);
	out(f, IER, 0x05);
	out(f, 2, 0x01);
	assert_int_equal(in(f, LSR) & 1, 0);
	out(f, MCR, 0x0b);
	assert_int_equal(edges, 1);
	for (int i = 0; i < 11; i++) {
		assert_int_equal(in(f, LSR) & 1, 1);
		assert_int_equal(in(f, DATA), "typed early"[i]);
	}
	assert_int_equal(in(f, LSR) & 1, 0);
}

static void test_serial_simple_poller_gets_input_without_mcr(void **state)
{
	struct fixture *f = *state;

	offer(f, "ab", 2);
	assert_int_equal(in(f, LSR) & 1, 1);
	assert_int_equal(in(f, DATA), 'a');
	assert_int_equal(in(f, LSR) & 1, 1);
	assert_int_equal(in(f, DATA), 'b');
	assert_int_equal(in(f, LSR) & 1, 0);
	assert_int_equal(in(f, DATA), 0);
}

static void test_serial_trigger_level_tells_data_from_timeout(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint8_t fcr;
		size_t level;
	} rows[] = { { 0x01, 1 }, { 0x41, 4 }, { 0x81, 8 }, { 0xc1, 14 } };

	open_port(f);
	for (size_t i = 0; i < 4; i++) {
		out(f, 2, rows[i].fcr | 0x02);
		if (rows[i].level > 1) {
			offer(f, "0123456789abcdef", rows[i].level - 1);
			assert_int_equal(in(f, IIR) & 0x0f, 0x0c);
		}
		offer(f, "x", 1);
		assert_int_equal(in(f, IIR) & 0x0f, 0x04);
		out(f, 2, rows[i].fcr | 0x02);
		assert_int_equal(in(f, IIR) & 0x0f, 0x01);
	}
}

static void test_serial_break_is_flagged_and_comes_first(void **state)
{
	struct fixture *f = *state;

	open_port(f);
	f->chr.client->break_received(f->chr.opaque);
	assert_int_equal(edges, 1);
	offer(f, "h", 1);
	assert_int_equal(in(f, IIR) & 0x0f, 0x06);
	assert_int_equal(in(f, LSR) & 0x11, 0x11);
	assert_int_equal(in(f, LSR) & 0x10, 0);
	assert_int_equal(in(f, DATA), 0);
	assert_int_equal(in(f, LSR) & 0x11, 0x01);
	assert_int_equal(in(f, DATA), 'h');
}

/*
 * A driver that sleeps unless it got an edge, and handles one cause each, must
 * still see everything; so must one that loops as Linux's does.
 */
static void drain(struct fixture *f, bool loops, uint8_t fcr, size_t total)
{
	static uint8_t data[100 << 10];
	size_t at = 0, wakes = 0;

	for (size_t i = 0; i < total; i++)
		data[i] = (uint8_t)(i * 13 + i / 255);
	out(f, 2, fcr);
	out(f, IER, 0x01);
	out(f, MCR, 0x0b);
	edges = 0;
	offer(f, data, total);
	while (edges) {
		uint8_t id = in(f, IIR) & 0x0f;

		edges = 0;
		wakes++;
		if (id == 0x01)
			continue;
		if (!loops)
			assert_int_equal(in(f, DATA), data[at++]);
		else
			while (in(f, LSR) & 1)
				assert_int_equal(in(f, DATA), data[at++]);
	}
	assert_int_equal(at, total);
	if (loops)
		assert_true(wakes <= 2);
}

static void test_serial_paste_is_never_lost(void **state)
{
	drain(*state, true, 0x01, 100 << 10);
	drain(*state, true, 0x00, 1000);
	drain(*state, false, 0x81, 1000);
	drain(*state, false, 0x00, 1000);
}

static void test_serial_one_cause_per_interrupt_hears_of_all(void **state)
{
	struct fixture *f = *state;
	int received = 0, sent = 0;

	out(f, 2, 0x01);
	out(f, MCR, 0x0b);
	out(f, IER, 0x03);
	offer(f, "0123456789", 10);
	for (int i = 0; edges && i < 1000; i++) {
		edges = 0;
		switch (in(f, IIR) & 0x0f) {
		case 0x04:
		case 0x0c:
			in(f, DATA);
			received++;
			break;
		case 0x02:
			if (sent < 10) {
				out(f, DATA, 'o');
				sent++;
			}
			break;
		}
	}
	assert_int_equal(received, 10);
	assert_int_equal(sent, 10);
}

/* ---- save and load ------------------------------------------------------- */

static void test_serial_load_continues_where_save_was(void **state)
{
	struct fixture *f = *state;
	struct state_writer w = STATE_WRITER_INIT;
	struct state_reader r;

	open_port(f);
	offer(f, "abc", 3);
	in(f, DATA);
	f->chr.room = 0;
	out(f, DATA, 'p');
	out(f, DATA, 'q');
	serial_save(f->s, &w);
	serial_reset(f->s);
	state_reader_init(&r, w.data, w.len_bytes);
	edges = 0;
	assert_int_equal(serial_load(f->s, &r), 0);
	assert_int_equal(state_reader_finish(&r), 0);
	assert_int_equal(edges, 1);
	assert_int_equal(in(f, IER), 0x05);
	assert_int_equal(in(f, DATA), 'b');
	assert_int_equal(in(f, DATA), 'c');
	f->chr.room = 10;
	f->chr.client->output_ready(f->chr.opaque);
	assert_memory_equal(f->chr.out, "pq", 2);
	state_writer_deinit(&w);
}

static void test_serial_load_refuses_hostile_state(void **state)
{
	struct fixture *f = *state;
	struct state_writer w = STATE_WRITER_INIT;
	struct state_reader r;
	static const struct {
		size_t offset;
		uint8_t value;
	} rows[] = {
		{ 0, 0xff },	/* IER */
		{ 1, 0x3e },	/* FCR */
		{ 3, 0xff },	/* MCR */
		{ 9, 2 },	/* a flag */
		{ 14, 17 },	/* more than the FIFO holds */
		{ 17, 0xff },
		{ 21, 0x7f },	/* more output than there is room for */
	};

	serial_save(f->s, &w);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t *bad = malloc(w.len_bytes);

		memcpy(bad, w.data, w.len_bytes);
		bad[rows[i].offset] = rows[i].value;
		state_reader_init(&r, bad, w.len_bytes);
		assert_true(serial_load(f->s, &r) < 0);
		free(bad);
	}
	for (size_t len = 0; len < w.len_bytes; len++) {
		state_reader_init(&r, w.data, len);
		assert_true(serial_load(f->s, &r) < 0);
	}
	assert_int_equal(in(f, IER), 0);
	state_writer_deinit(&w);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_serial_registers_keep_what_hardware_keeps),
		T(test_serial_divisor_does_not_reach_the_host),
		T(test_serial_is_detected_as_16550a),
		T(test_serial_loopback_fifo_holds_sixteen),
		T(test_serial_modem_lines_read_as_connected),
		T(test_serial_reset_is_power_on),
		T(test_serial_thre_is_withheld_until_there_is_room),
		T(test_serial_impatient_guest_loses_nothing),
		T(test_serial_enabling_thre_interrupts_when_empty),
		T(test_serial_burst_raises_one_edge),
		T(test_serial_input_waits_for_rts),
		T(test_serial_simple_poller_gets_input_without_mcr),
		T(test_serial_trigger_level_tells_data_from_timeout),
		T(test_serial_break_is_flagged_and_comes_first),
		T(test_serial_paste_is_never_lost),
		T(test_serial_one_cause_per_interrupt_hears_of_all),
		T(test_serial_load_continues_where_save_was),
		T(test_serial_load_refuses_hostile_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
