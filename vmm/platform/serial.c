/* SPDX-License-Identifier: MIT */
/*
 * The 16550A serial port. Register accesses: vCPU threads under the machine
 * lock. The chardev's callbacks: main thread, which takes that lock here.
 */
#include <errno.h>
#include <stdlib.h>

#include "platform/serial_internal.h"

/* Wider accesses are split, as the 8-bit bus of the part does. */
static void serial_read(void *opaque, uint64_t offset, uint8_t *data,
			unsigned int len)
{
	for (unsigned int i = 0; i < len; i++)
		data[i] = serial_reg_read(opaque, (unsigned int)offset + i);
}

static void serial_write(void *opaque, uint64_t offset, const uint8_t *data,
			 unsigned int len)
{
	for (unsigned int i = 0; i < len; i++)
		serial_reg_write(opaque, (unsigned int)offset + i, data[i]);
}

static const struct bus_ops serial_ops = {
	.read = serial_read,
	.write = serial_write,
};

static void on_input(void *opaque)
{
	struct serial *s = opaque;

	pthread_mutex_lock(s->lock);
	serial_rx_fill(s);
	serial_update(s, false);
	pthread_mutex_unlock(s->lock);
}

static void on_output(void *opaque)
{
	struct serial *s = opaque;

	pthread_mutex_lock(s->lock);
	if (s->tx_count)
		serial_tx_flush(s);
	serial_update(s, false);
	pthread_mutex_unlock(s->lock);
}

static void on_break(void *opaque)
{
	struct serial *s = opaque;

	pthread_mutex_lock(s->lock);
	s->break_pending = true;
	serial_rx_fill(s);
	serial_update(s, false);
	pthread_mutex_unlock(s->lock);
}

static const struct chardev_client serial_client = {
	.input_ready = on_input,
	.output_ready = on_output,
	.break_received = on_break,
};

int serial_create(struct serial **out, const struct serial_params *p,
		  struct error *e)
{
	struct serial *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return error_errno(e, -ENOMEM, "serial port");
	s->pio = p->pio;
	s->irq = p->irq;
	s->chr = p->chr;
	s->lock = p->machine_lock;
	serial_reset(s);
	s->range = (struct bus_range){
		.base = p->port, .len_bytes = SERIAL_REGS,
		.ops = &serial_ops, .opaque = s,
	};
	ret = bus_add(s->pio, &s->range);
	if (ret) {
		free(s);
		return error_errno(e, ret, "serial port");
	}
	chardev_set_client(s->chr, &serial_client, s);
	*out = s;
	return 0;
}

void serial_destroy(struct serial *s)
{
	if (!s)
		return;
	chardev_set_client(s->chr, NULL, NULL);
	bus_remove(s->pio, &s->range);
	serial_tx_flush(s);
	if (s->tx_count) {
		chardev_flush(s->chr);
		serial_tx_flush(s);
	}
	free(s);
}
