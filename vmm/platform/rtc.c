/* SPDX-License-Identifier: MIT */
/* The MC146818. vCPU threads, machine lock held. */
#include "platform/rtc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* MC146818 data sheet, figure 8; the century is where the PC AT keeps it. */
enum {
	REG_SECONDS = 0x00,
	REG_MINUTES = 0x02,
	REG_HOURS = 0x04,
	REG_WEEKDAY = 0x06,
	REG_DAY = 0x07,
	REG_MONTH = 0x08,
	REG_YEAR = 0x09,
	REG_A = 0x0a,
	REG_B = 0x0b,
	REG_C = 0x0c,
	REG_D = 0x0d,
	REG_CENTURY = 0x32,
	REGS = 0x80,
};

#define A_UIP		0x80	/* an update comes within 244 µs */
#define A_DEFAULT	0x26	/* 32,768 Hz, 1024 Hz periodic */
#define B_24H		0x02
#define B_BINARY	0x04
#define B_INTERRUPTS	0x70
#define B_SET		0x80
#define D_VRT		0x80	/* the battery is good */
#define HOURS_PM	0x80

#define UIP_NS		244000
#define NS_PER_S	1000000000

struct rtc {
	struct bus *pio;
	struct bus_range range;
	rtc_clock_fn clock;
	void *clock_opaque;

	uint8_t index;
	/* Time registers count only while B.SET stops the clock; otherwise they
	 * are computed. */
	uint8_t regs[REGS];
	int64_t offset_s;	/* the guest's time − the host's */
};

static void host_clock(void *opaque, struct timespec *now)
{
	(void)opaque;
	clock_gettime(CLOCK_REALTIME, now);
}

static bool is_time(uint8_t reg)
{
	switch (reg) {
	case REG_SECONDS:
	case REG_MINUTES:
	case REG_HOURS:
	case REG_WEEKDAY:
	case REG_DAY:
	case REG_MONTH:
	case REG_YEAR:
	case REG_CENTURY:
		return true;
	default:
		return false;
	}
}

static uint8_t encode(const struct rtc *r, int value)
{
	if (r->regs[REG_B] & B_BINARY)
		return (uint8_t)value;
	return (uint8_t)(value / 10 << 4 | value % 10);
}

static int decode(const struct rtc *r, uint8_t value)
{
	if (r->regs[REG_B] & B_BINARY)
		return value;
	return (value >> 4) * 10 + (value & 0x0f);
}

static uint8_t encode_hours(const struct rtc *r, int hours)
{
	uint8_t v;

	if (r->regs[REG_B] & B_24H)
		return encode(r, hours);
	v = encode(r, hours % 12 ? hours % 12 : 12);
	return hours >= 12 ? v | HOURS_PM : v;
}

static int decode_hours(const struct rtc *r, uint8_t value)
{
	int hours;

	if (r->regs[REG_B] & B_24H)
		return decode(r, value);
	hours = decode(r, value & ~HOURS_PM) % 12;
	return value & HOURS_PM ? hours + 12 : hours;
}

/* The guest's time into the registers, in the format of register B. */
static void latch(struct rtc *r)
{
	struct timespec now;
	struct tm tm;
	time_t t;

	r->clock(r->clock_opaque, &now);
	if (__builtin_add_overflow(now.tv_sec, r->offset_s, &t) ||
	    !gmtime_r(&t, &tm) || tm.tm_year < -1900)
		memset(&tm, 0, sizeof(tm));
	r->regs[REG_SECONDS] = encode(r, tm.tm_sec);
	r->regs[REG_MINUTES] = encode(r, tm.tm_min);
	r->regs[REG_HOURS] = encode_hours(r, tm.tm_hour);
	r->regs[REG_WEEKDAY] = encode(r, tm.tm_wday + 1);
	r->regs[REG_DAY] = encode(r, tm.tm_mday);
	r->regs[REG_MONTH] = encode(r, tm.tm_mon + 1);
	r->regs[REG_YEAR] = encode(r, (tm.tm_year + 1900) % 100);
	r->regs[REG_CENTURY] = encode(r, (tm.tm_year + 1900) / 100 % 100);
}

/* The registers become the guest's time; timegm() takes any byte values. */
static void set_offset(struct rtc *r)
{
	struct timespec now;
	struct tm tm = {
		.tm_sec = decode(r, r->regs[REG_SECONDS]),
		.tm_min = decode(r, r->regs[REG_MINUTES]),
		.tm_hour = decode_hours(r, r->regs[REG_HOURS]),
		.tm_mday = decode(r, r->regs[REG_DAY]),
		.tm_mon = decode(r, r->regs[REG_MONTH]) - 1,
		.tm_year = decode(r, r->regs[REG_CENTURY]) * 100 +
			   decode(r, r->regs[REG_YEAR]) - 1900,
	};

	r->clock(r->clock_opaque, &now);
	r->offset_s = timegm(&tm) - now.tv_sec;
}

static bool update_in_progress(const struct rtc *r)
{
	struct timespec now;

	if (r->regs[REG_B] & B_SET)
		return false;
	r->clock(r->clock_opaque, &now);
	return now.tv_nsec >= NS_PER_S - UIP_NS;
}

static uint8_t read_register(struct rtc *r, uint8_t reg)
{
	if (is_time(reg) && !(r->regs[REG_B] & B_SET))
		latch(r);
	switch (reg) {
	case REG_A:
		return r->regs[REG_A] | (update_in_progress(r) ? A_UIP : 0);
	case REG_C:
		return 0;
	case REG_D:
		return D_VRT;
	default:
		return r->regs[reg];
	}
}

/* B.SET stops the clock for setting it, in the format written along with it. */
static void write_b(struct rtc *r, uint8_t value)
{
	uint8_t old = r->regs[REG_B];

	r->regs[REG_B] = value;
	if (value & ~old & B_SET)
		latch(r);
	if (old & ~value & B_SET)
		set_offset(r);
}

static void write_register(struct rtc *r, uint8_t reg, uint8_t value)
{
	bool running = !(r->regs[REG_B] & B_SET);

	switch (reg) {
	case REG_A:
		r->regs[REG_A] = value & ~A_UIP;
		return;
	case REG_B:
		write_b(r, value);
		return;
	case REG_C:
	case REG_D:
		return;
	}
	if (!is_time(reg)) {
		r->regs[reg] = value;
		return;
	}
	if (running)
		latch(r);
	r->regs[reg] = value;
	if (running)
		set_offset(r);
}

/* The index port is write-only; its bit 7 masks NMIs, which is not modelled. */
static void rtc_read(void *opaque, uint64_t offset, uint8_t *data,
		     unsigned int len)
{
	struct rtc *r = opaque;

	for (unsigned int i = 0; i < len; i++)
		data[i] = offset + i == 1 ? read_register(r, r->index) : 0xff;
}

static void rtc_write(void *opaque, uint64_t offset, const uint8_t *data,
		      unsigned int len)
{
	struct rtc *r = opaque;

	for (unsigned int i = 0; i < len; i++) {
		if (offset + i == 0)
			r->index = data[i] & (REGS - 1);
		else
			write_register(r, r->index, data[i]);
	}
}

static const struct bus_ops rtc_ops = {
	.read = rtc_read,
	.write = rtc_write,
};

/* MC146818, "reset": the interrupt enables go, SET and formats stay. */
void rtc_reset(struct rtc *r)
{
	r->index = 0;
	r->regs[REG_B] &= ~B_INTERRUPTS;
}

void rtc_save(const struct rtc *r, struct state_writer *w)
{
	state_put_u8(w, r->index);
	state_put_bytes(w, r->regs, sizeof(r->regs));
	state_put_u64(w, (uint64_t)r->offset_s);
}

int rtc_load(struct rtc *r, struct state_reader *s)
{
	uint8_t regs[REGS], index = state_get_u8(s);
	int64_t offset_s;

	state_get_bytes(s, regs, sizeof(regs));
	offset_s = (int64_t)state_get_u64(s);
	if (state_reader_error(s))
		return state_reader_error(s);
	if (index >= REGS || regs[REG_A] & A_UIP)
		return -EPROTO;
	r->index = index;
	memcpy(r->regs, regs, sizeof(regs));
	r->offset_s = offset_s;
	return 0;
}

int rtc_create(struct rtc **out, struct bus *pio, uint64_t port,
	       rtc_clock_fn clock, void *clock_opaque, struct error *e)
{
	struct rtc *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return error_errno(e, -ENOMEM, "clock");
	r->pio = pio;
	r->clock = clock ? clock : host_clock;
	r->clock_opaque = clock_opaque;
	r->regs[REG_A] = A_DEFAULT;
	r->regs[REG_B] = B_24H;
	r->range = (struct bus_range){
		.base = port, .len_bytes = 2, .ops = &rtc_ops, .opaque = r,
	};
	ret = bus_add(pio, &r->range);
	if (ret) {
		free(r);
		return error_errno(e, ret, "clock");
	}
	*out = r;
	return 0;
}

void rtc_destroy(struct rtc *r)
{
	if (!r)
		return;
	bus_remove(r->pio, &r->range);
	free(r);
}
