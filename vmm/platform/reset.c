/* SPDX-License-Identifier: MIT */
/*
 * Reset control, keyboard controller, ACPI sleep registers and exit port. vCPU
 * threads, machine lock held.
 */
#include "platform/reset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "layout_x86.h"
#include "state.h"

/* ICH9, 13.7.5: reset control register. */
#define CF9_SYS_RST	0x02	/* the kind: hard */
#define CF9_RST_CPU	0x04	/* now */
#define CF9_FULL_RST	0x08	/* with a power cycle */

/* IBM PC AT keyboard controller: pulse output port line 0, the CPU's reset. */
#define I8042_PULSE_RESET 0xfe

/* Port B: bits 0..3 are kept, the others come from the hardware. */
#define PORT_B		0x61
#define PORT_B_KEPT	0x0f
#define PORT_B_REFRESH	0x10	/* toggles with every read */
#define PORT_B_TIMER2	0x20

/* ACPI 6.4, 4.8.3.7: sleep control and status registers. */
#define SLEEP_CONTROL	0
#define SLP_TYP_SHIFT	2
#define SLP_TYP_MASK	0x07
#define SLP_EN		0x20
#define SLP_TYP_S5	5

enum { I8042_DATA, I8042_COMMAND, SYSTEM_B, SLEEP, EXIT, RANGES };

struct reset_dev {
	struct bus *pio;
	struct platform_owner owner;
	struct bus_range ranges[RANGES];
	uint8_t cf9;
	uint8_t port_b;
};

static void request(struct reset_dev *r, enum platform_request what,
		    uint8_t value)
{
	r->owner.request(r->owner.opaque, what, value);
}

uint8_t reset_cf9_read(const struct reset_dev *r)
{
	return r->cf9;
}

/*
 * Hardware resets when RST_CPU goes from 0 to 1; it is never kept here, so
 * every write that has it counts.
 */
void reset_cf9_write(struct reset_dev *r, uint8_t value)
{
	r->cf9 = value & (CF9_SYS_RST | CF9_FULL_RST);
	if (value & CF9_RST_CPU)
		request(r, PLATFORM_RESET, value);
}

void reset_reset(struct reset_dev *r)
{
	r->cf9 = 0;
	r->port_b = 0;
}

/* Status and data alike: both buffers empty, nobody has typed anything. */
static void read_zero(void *opaque, uint64_t offset, uint8_t *data,
		      unsigned int len)
{
	(void)opaque;
	(void)offset;
	memset(data, 0, len);
}

static void write_nothing(void *opaque, uint64_t offset, const uint8_t *data,
			  unsigned int len)
{
	(void)opaque;
	(void)offset;
	(void)data;
	(void)len;
}

static void i8042_command(void *opaque, uint64_t offset, const uint8_t *data,
			  unsigned int len)
{
	(void)offset;
	(void)len;
	if (data[0] == I8042_PULSE_RESET)
		request(opaque, PLATFORM_RESET, data[0]);
}

/*
 * Code that calibrates against timer 2 waits for its output without a limit:
 * it always reads as expired. No error bits (6, 7), or every NMI would be taken
 * for a memory error.
 */
static void port_b_read(void *opaque, uint64_t offset, uint8_t *data,
			unsigned int len)
{
	struct reset_dev *r = opaque;

	(void)offset;
	(void)len;
	r->port_b ^= PORT_B_REFRESH;
	data[0] = r->port_b | PORT_B_TIMER2;
}

static void port_b_write(void *opaque, uint64_t offset, const uint8_t *data,
			 unsigned int len)
{
	struct reset_dev *r = opaque;

	(void)offset;
	(void)len;
	r->port_b = (r->port_b & ~PORT_B_KEPT) | (data[0] & PORT_B_KEPT);
}

static void sleep_write(void *opaque, uint64_t offset, const uint8_t *data,
			unsigned int len)
{
	uint8_t v = data[0];

	(void)len;
	if (offset == SLEEP_CONTROL && v & SLP_EN &&
	    (v >> SLP_TYP_SHIFT & SLP_TYP_MASK) == SLP_TYP_S5)
		request(opaque, PLATFORM_POWEROFF, v);
}

static void exit_read(void *opaque, uint64_t offset, uint8_t *data,
		      unsigned int len)
{
	(void)opaque;
	(void)offset;
	memset(data, 0xff, len);
}

static void exit_write(void *opaque, uint64_t offset, const uint8_t *data,
		       unsigned int len)
{
	(void)len;
	if (!offset)
		request(opaque, PLATFORM_EXIT_PORT, data[0]);
}

static const struct bus_ops data_ops = { read_zero, write_nothing };
static const struct bus_ops command_ops = { read_zero, i8042_command };
static const struct bus_ops port_b_ops = { port_b_read, port_b_write };
static const struct bus_ops sleep_ops = { read_zero, sleep_write };
static const struct bus_ops exit_ops = { exit_read, exit_write };

/* The exit port takes accesses of up to four bytes, as outl() makes them. */
static const struct {
	uint64_t base, len_bytes;
	const struct bus_ops *ops;
} ports[RANGES] = {
	[I8042_DATA] = { LAYOUT_PORT_I8042, 1, &data_ops },
	[I8042_COMMAND] = { LAYOUT_PORT_I8042 + 4, 1, &command_ops },
	[SYSTEM_B] = { PORT_B, 1, &port_b_ops },
	[SLEEP] = { LAYOUT_PORT_SLEEP, 2, &sleep_ops },
	[EXIT] = { LAYOUT_PORT_EXIT, 4, &exit_ops },
};

int reset_create(struct reset_dev **out, struct bus *pio,
		 const struct platform_owner *owner, bool exit_port,
		 struct error *e)
{
	struct reset_dev *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return error_errno(e, -ENOMEM, "reset device");
	r->pio = pio;
	r->owner = *owner;
	for (size_t i = 0; i < RANGES; i++) {
		if (i == EXIT && !exit_port)
			continue;
		r->ranges[i] = (struct bus_range){
			.base = ports[i].base, .len_bytes = ports[i].len_bytes,
			.ops = ports[i].ops, .opaque = r,
		};
		ret = bus_add(pio, &r->ranges[i]);
		if (ret) {
			reset_destroy(r);
			return error_errno(e, ret, "port 0x%llx",
					   (unsigned long long)ports[i].base);
		}
	}
	*out = r;
	return 0;
}

void reset_destroy(struct reset_dev *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < RANGES; i++)
		bus_remove(r->pio, &r->ranges[i]);
	free(r);
}

void reset_save(const struct reset_dev *r, struct state_writer *w)
{
	state_put_u8(w, r->cf9);
	state_put_u8(w, r->port_b);
}

int reset_load(struct reset_dev *r, struct state_reader *s)
{
	r->cf9 = state_get_u8(s) & (CF9_SYS_RST | CF9_FULL_RST);
	r->port_b = state_get_u8(s) & (PORT_B_KEPT | PORT_B_REFRESH);
	return state_reader_error(s);
}
