/* SPDX-License-Identifier: MIT */
/*
 * An MC146818 real-time clock with its CMOS memory, at two ports: index and
 * data. It runs on the host's clock; setting it gives the guest an offset of
 * its own. There are no interrupts: Linux uses it to read and set the time
 * only, and its own timers for everything else.
 *
 * Registers run on vCPU threads with the machine lock held.
 */
#ifndef MOTE_RTC_H
#define MOTE_RTC_H

#include <time.h>

#include "bus.h"
#include "error.h"
#include "state.h"

struct rtc;

/* The host's time in UTC; NULL: CLOCK_REALTIME. */
typedef void (*rtc_clock_fn)(void *opaque, struct timespec *now);

int rtc_create(struct rtc **out, struct bus *pio, uint64_t port,
	       rtc_clock_fn clock, void *clock_opaque, struct error *e);
void rtc_destroy(struct rtc *r);

/* System reset: time and memory stay, as with a battery. Machine lock. */
void rtc_reset(struct rtc *r);

/* Machine lock held, vCPUs stopped. The clock goes on while a VM is saved. */
void rtc_save(const struct rtc *r, struct state_writer *w);
/* Nothing is changed on failure: what state_reader_error() says, or -EPROTO. */
int rtc_load(struct rtc *r, struct state_reader *s);

#endif
