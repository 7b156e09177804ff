/* SPDX-License-Identifier: MIT */
/* The registers of the 16550A serial port. Machine lock held: vCPU threads, and
 * the main one for what the chardev brings. */
#include "platform/serial_internal.h"

/* PC16550D, table II: registers, by offset. */
enum {
	REG_DATA,	/* RBR, THR; DLL under DLAB */
	REG_IER,	/* DLM under DLAB */
	REG_IIR,	/* FCR when written */
	REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR,
};

#define IER_RDA		0x01
#define IER_THRE	0x02
#define IER_RLS		0x04
#define IER_MSR		0x08

#define IIR_NONE	0x01
#define IIR_MSR		0x00
#define IIR_THRE	0x02
#define IIR_RDA		0x04
#define IIR_RLS		0x06
#define IIR_TIMEOUT	0x0c
#define IIR_FIFOS_ON	0xc0

#define FCR_ENABLE	0x01
#define FCR_CLEAR_RX	0x02

#define LCR_DLAB	0x80

#define MCR_DTR		0x01
#define MCR_RTS		0x02
#define MCR_OUT1	0x04
#define MCR_OUT2	0x08
#define MCR_LOOP	0x10

#define LSR_DR		0x01
#define LSR_OE		0x02
#define LSR_THRE	0x20
#define LSR_TEMT	0x40
#define LSR_FIFO_ERROR	0x80

#define MSR_DELTAS	0x0f
#define MSR_CTS		0x10
#define MSR_DSR		0x20
#define MSR_RI		0x40
#define MSR_DCD		0x80
/* What is plugged in is always there and ready. */
#define MSR_LINES	(MSR_CTS | MSR_DSR | MSR_DCD)

/* The causes of an interrupt, one bit each. */
#define CAUSE_RLS	0x01
#define CAUSE_RDA	0x02
#define CAUSE_THRE	0x04
#define CAUSE_MSR	0x08

unsigned int serial_rx_depth(const struct serial *s)
{
	return s->fcr & FCR_ENABLE ? FIFO_BYTES : 1;
}

static unsigned int rx_trigger(const struct serial *s)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	return s->fcr & FCR_ENABLE ? levels[s->fcr >> 6] : 1;
}

static uint8_t lsr_errors(const struct serial *s)
{
	uint8_t errors = s->rx_count ? s->rx[s->rx_head].errors : 0;

	return errors | (s->overrun ? LSR_OE : 0);
}

static uint8_t causes(const struct serial *s)
{
	uint8_t c = 0;

	if (s->ier & IER_RLS && lsr_errors(s))
		c |= CAUSE_RLS;
	if (s->ier & IER_RDA && s->rx_count)
		c |= CAUSE_RDA;
	if (s->ier & IER_THRE && s->thre_pending)
		c |= CAUSE_THRE;
	if (s->ier & IER_MSR && s->msr & MSR_DELTAS)
		c |= CAUSE_MSR;
	return c;
}

/* PC16550D, table IV: by priority. Too few bytes for the trigger level are
 * given as a timeout at once: nothing more is known to be on the way. */
static uint8_t iir(const struct serial *s)
{
	uint8_t c = causes(s);

	if (c & CAUSE_RLS)
		return IIR_RLS;
	if (c & CAUSE_RDA)
		return s->rx_count >= rx_trigger(s) ? IIR_RDA : IIR_TIMEOUT;
	if (c & CAUSE_THRE)
		return IIR_THRE;
	if (c & CAUSE_MSR)
		return IIR_MSR;
	return IIR_NONE;
}

void serial_update(struct serial *s, bool again)
{
	uint8_t now = causes(s);

	if (now & ~s->causes || (again && now))
		irq_line_raise(s->irq);
	s->causes = now;
}

static void rx_push(struct serial *s, uint8_t byte, uint8_t errors)
{
	if (s->rx_count == serial_rx_depth(s)) {
		s->overrun = true;
		return;
	}
	s->rx[(s->rx_head + s->rx_count++) % FIFO_BYTES] =
		(struct rx_char){ byte, errors };
}

static void rx_clear(struct serial *s)
{
	s->rx_head = s->rx_count = 0;
	s->overrun = false;
}

static void rx_fill(struct serial *s)
{
	uint8_t buf[FIFO_BYTES];
	size_t n;

	if (s->mcr & MCR_LOOP)
		return;
	if (s->break_pending && s->rx_count < serial_rx_depth(s)) {
		s->break_pending = false;
		rx_push(s, 0, LSR_BI);
	}
	n = chardev_read(s->chr, buf, serial_rx_depth(s) - s->rx_count);
	for (size_t i = 0; i < n; i++)
		rx_push(s, buf[i], 0);
}

/*
 * MCR.RTS, "request to send", tells the other side that we are ready. A guest
 * that does not know of MCR shows it by wanting interrupts, or by polling LSR.
 */
void serial_rx_fill(struct serial *s)
{
	if (s->mcr & MCR_RTS || (!s->mcr_written && s->ier & IER_RDA))
		rx_fill(s);
}

void serial_tx_flush(struct serial *s)
{
	while (s->tx_count) {
		unsigned int n = s->tx_count;

		if (n > TX_BYTES - s->tx_head)
			n = TX_BYTES - s->tx_head;
		n = (unsigned int)chardev_write(s->chr, s->tx + s->tx_head, n);
		if (!n)
			return;
		s->tx_head = (s->tx_head + n) % TX_BYTES;
		s->tx_count -= n;
	}
	s->thre_pending = true;
}

static void tx_byte(struct serial *s, uint8_t byte)
{
	if (s->mcr & MCR_LOOP) {
		rx_push(s, byte, 0);
		s->thre_pending = true;
		return;
	}
	s->thre_pending = false;
	if (!s->tx_count && chardev_write(s->chr, &byte, 1) == 1) {
		s->thre_pending = true;
		/* The holding register was full for a moment: a new edge. With
		 * FIFOs it is not, or every byte of a burst would raise one. */
		if (!(s->fcr & FCR_ENABLE))
			s->causes &= ~CAUSE_THRE;
		return;
	}
	if (s->tx_count < TX_BYTES)
		s->tx[(s->tx_head + s->tx_count++) % TX_BYTES] = byte;
}

static uint8_t read_data(struct serial *s)
{
	struct rx_char c = { 0 };
	bool more;

	if (!s->rx_count)
		return 0;
	c = s->rx[s->rx_head];
	s->rx_head = (s->rx_head + 1) % FIFO_BYTES;
	s->rx_count--;
	if (!s->rx_count)
		serial_rx_fill(s);
	/*
	 * Without FIFOs the next byte is an edge of its own. With them, a
	 * driver that has not looked at LSR since the last byte does not loop
	 * on LSR.DR and waits for another interrupt, which hardware gives it by
	 * the character timeout.
	 */
	more = s->rx_count && (!(s->fcr & FCR_ENABLE) || !s->lsr_polled);
	s->lsr_polled = false;
	serial_update(s, more);
	return c.byte;
}

static uint8_t read_iir(struct serial *s)
{
	uint8_t v = iir(s);
	uint8_t others;

	s->lsr_polled = false;
	if (v == IIR_THRE)
		s->thre_pending = false;
	others = causes(s);
	if (v == IIR_RLS)
		others &= ~CAUSE_RLS;
	else if (v == IIR_RDA || v == IIR_TIMEOUT)
		others &= ~CAUSE_RDA;
	serial_update(s, v != IIR_NONE && v != IIR_MSR && others);
	return v | (s->fcr & FCR_ENABLE ? IIR_FIFOS_ON : 0);
}

static uint8_t read_lsr(struct serial *s)
{
	uint8_t v;

	if (!s->mcr_written && !s->rx_count)
		rx_fill(s);
	v = lsr_errors(s);
	if (v && s->fcr & FCR_ENABLE)
		v |= LSR_FIFO_ERROR;
	if (s->rx_count)
		v |= LSR_DR;
	if (!s->tx_count)
		v |= LSR_THRE | LSR_TEMT;
	/* PC16550D, 8.4: reading clears the error bits. */
	s->overrun = false;
	if (s->rx_count)
		s->rx[s->rx_head].errors = 0;
	s->lsr_polled = true;
	serial_update(s, false);
	return v;
}

static uint8_t read_msr(struct serial *s)
{
	uint8_t v = s->msr;

	s->msr &= ~MSR_DELTAS;
	serial_update(s, false);
	return v;
}

uint8_t serial_reg_read(struct serial *s, unsigned int reg)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		return dlab ? s->dll : read_data(s);
	case REG_IER:
		return dlab ? s->dlm : s->ier;
	case REG_IIR:
		return read_iir(s);
	case REG_LCR:
		return s->lcr;
	case REG_MCR:
		return s->mcr;
	case REG_LSR:
		return read_lsr(s);
	case REG_MSR:
		return read_msr(s);
	default:
		return s->scr;
	}
}

static void write_ier(struct serial *s, uint8_t v)
{
	/* PC16550D, 8.6.1: enabling THRE while it is empty interrupts. */
	if (v & ~s->ier & IER_THRE && !s->tx_count)
		s->thre_pending = true;
	s->ier = v & IER_MASK;
	serial_rx_fill(s);
	serial_update(s, false);
}

static void write_fcr(struct serial *s, uint8_t v)
{
	/* PC16550D, 8.5: other bits count only together with FCR0, and a
	 * change of it clears the FIFOs. Output is never thrown away: it is
	 * as good as sent. */
	if ((v ^ s->fcr) & FCR_ENABLE || v & FCR_CLEAR_RX)
		rx_clear(s);
	s->fcr = v & FCR_ENABLE ? v & FCR_KEPT : 0;
	serial_rx_fill(s);
	serial_update(s, false);
}

/* PC16550D, 8.7: in loopback the modem outputs feed the modem inputs. */
static void write_mcr(struct serial *s, uint8_t v)
{
	uint8_t lines = MSR_LINES, changed;

	v &= MCR_MASK;
	if (v & MCR_LOOP) {
		lines = v & MCR_DTR ? MSR_DSR : 0;
		lines |= v & MCR_RTS ? MSR_CTS : 0;
		lines |= v & MCR_OUT1 ? MSR_RI : 0;
		lines |= v & MCR_OUT2 ? MSR_DCD : 0;
	}
	changed = (lines ^ s->msr) & ~MSR_DELTAS;
	if (lines & MSR_RI)	/* 8.8: the delta is of the trailing edge */
		changed &= ~MSR_RI;
	s->msr = lines | (s->msr & MSR_DELTAS) | changed >> 4;
	s->mcr = v;
	s->mcr_written = true;
	serial_rx_fill(s);
	serial_update(s, false);
}

void serial_reg_write(struct serial *s, unsigned int reg, uint8_t v)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		if (dlab) {
			s->dll = v;
			break;
		}
		tx_byte(s, v);
		serial_update(s, false);
		break;
	case REG_IER:
		if (dlab)
			s->dlm = v;
		else
			write_ier(s, v);
		break;
	case REG_IIR:
		write_fcr(s, v);
		break;
	case REG_LCR:
		s->lcr = v;
		break;
	case REG_MCR:
		write_mcr(s, v);
		break;
	case REG_SCR:
		s->scr = v;
		break;
	default:	/* LSR, MSR: read-only */
		break;
	}
}

void serial_reset(struct serial *s)
{
	s->ier = s->fcr = s->lcr = s->mcr = s->scr = s->dlm = 0;
	s->dll = 1;
	s->msr = MSR_LINES;
	s->thre_pending = s->break_pending = false;
	s->mcr_written = s->lsr_polled = false;
	s->causes = 0;
	rx_clear(s);
}
