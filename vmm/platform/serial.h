/* SPDX-License-Identifier: MIT */
/*
 * A 16550A serial port (PC16550D data sheet) in front of a chardev.
 *
 * Register accesses run on vCPU threads, the chardev's callbacks on the main
 * thread; both hold the machine lock, which the callbacks take themselves.
 *
 * Nothing is lost in either direction. Output that the chardev does not take
 * stays here and LSR.THRE is withheld until it has gone. Input is taken from
 * the chardev only while the guest asserts MCR.RTS, as a sender with hardware
 * flow control does: Linux clears the FIFO when it opens the port and raises
 * RTS last, so what was typed or piped in before survives. A guest that never
 * wrote MCR gets its input when it enables the interrupt or polls LSR.
 */
#ifndef MOTE_SERIAL_H
#define MOTE_SERIAL_H

#include <pthread.h>
#include <stdint.h>

#include "bus.h"
#include "char/chardev.h"
#include "error.h"
#include "irq.h"
#include "state.h"

struct serial;

struct serial_params {
	struct bus *pio;
	uint64_t port;			/* 8 registers from here */
	struct irq_line *irq;		/* edge; must outlive the port */
	struct chardev *chr;		/* outlives the port's last access */
	pthread_mutex_t *machine_lock;
};

/* Becomes the chardev's front end. Destroy it before the chardev, with the
 * loop not running. */
int serial_create(struct serial **out, const struct serial_params *p,
		  struct error *e);
void serial_destroy(struct serial *s);

/* System reset: registers as after power-on; output is kept. Machine lock. */
void serial_reset(struct serial *s);

/* Machine lock held, vCPUs stopped. The chardev's rings are not part of it. */
void serial_save(const struct serial *s, struct state_writer *w);
/* Nothing is changed on failure: what state_reader_error() says, or -EPROTO. */
int serial_load(struct serial *s, struct state_reader *r);

#endif
