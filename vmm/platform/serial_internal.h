/* SPDX-License-Identifier: MIT */
/*
 * The parts of the serial port: serial_regs.c is what the guest sees of it,
 * serial.c ties it to a bus and a chardev, serial_state.c saves it. Machine lock
 * held.
 */
#ifndef MOTE_SERIAL_INTERNAL_H
#define MOTE_SERIAL_INTERNAL_H

#include <stdbool.h>

#include "platform/serial.h"

#define SERIAL_REGS	8

/* Of the registers, the bits that can be set; of LSR, a break. */
#define IER_MASK	0x0f
#define FCR_KEPT	0xc9
#define MCR_MASK	0x1f
#define LSR_BI		0x10

#define FIFO_BYTES	16
/*
 * Output that the chardev had no room for. Much more than a FIFO: Linux's
 * console gives up waiting for THRE after 10 ms and writes the byte anyway.
 */
#define TX_BYTES	4096

struct rx_char {
	uint8_t byte;
	uint8_t errors;		/* LSR bits that belong to it */
};

struct serial {
	struct bus *pio;
	struct bus_range range;
	struct irq_line *irq;
	struct chardev *chr;
	pthread_mutex_t *lock;

	uint8_t ier, fcr, lcr, mcr, msr, scr, dll, dlm;
	bool overrun;
	bool thre_pending;	/* THR became empty and nobody was told */
	bool break_pending;	/* no room in the FIFO yet */
	bool mcr_written;	/* since reset */
	bool lsr_polled;	/* since IIR or the last byte was read */
	uint8_t causes;		/* as of the last update() */

	struct rx_char rx[FIFO_BYTES];
	unsigned int rx_head, rx_count;
	uint8_t tx[TX_BYTES];
	unsigned int tx_head, tx_count;
};

/* One byte; what is wider is the caller's to split. */
uint8_t serial_reg_read(struct serial *s, unsigned int reg);
void serial_reg_write(struct serial *s, unsigned int reg, uint8_t v);

/* How many bytes the receiver has room for. */
unsigned int serial_rx_depth(const struct serial *s);
/* Takes what the chardev has, if the guest is ready for it. */
void serial_rx_fill(struct serial *s);
/* Gives the chardev what it has room for. */
void serial_tx_flush(struct serial *s);
/*
 * After every change. The line is an edge: it is raised when a cause appears
 * that was not there, and when the caller knows of causes that a driver which
 * handles one per interrupt would otherwise never hear of.
 */
void serial_update(struct serial *s, bool again);

#endif
