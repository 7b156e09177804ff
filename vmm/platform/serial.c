/* SPDX-License-Identifier: MIT */
/*
 * The 16550A serial port. Register accesses: vCPU threads under the machine
 * lock. The chardev's callbacks: main thread, which takes that lock here.
 */
#include "platform/serial.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* PC16550D, table II: registers, by offset. */
enum {
	REG_DATA,	/* RBR, THR; DLL under DLAB */
	REG_IER,	/* DLM under DLAB */
	REG_IIR,	/* FCR when written */
	REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR,
	REGS,
};

#define IER_RDA		0x01
#define IER_THRE	0x02
#define IER_RLS		0x04
#define IER_MSR		0x08
#define IER_MASK	0x0f

#define IIR_NONE	0x01
#define IIR_MSR		0x00
#define IIR_THRE	0x02
#define IIR_RDA		0x04
#define IIR_RLS		0x06
#define IIR_TIMEOUT	0x0c
#define IIR_FIFOS_ON	0xc0

#define FCR_ENABLE	0x01
#define FCR_CLEAR_RX	0x02
#define FCR_KEPT	0xc9

#define LCR_DLAB	0x80

#define MCR_DTR		0x01
#define MCR_RTS		0x02
#define MCR_OUT1	0x04
#define MCR_OUT2	0x08
#define MCR_LOOP	0x10
#define MCR_MASK	0x1f

#define LSR_DR		0x01
#define LSR_OE		0x02
#define LSR_BI		0x10
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

#define FIFO_BYTES	16
/*
 * Output that the chardev had no room for. Much more than a FIFO: Linux's
 * console gives up waiting for THRE after 10 ms and writes the byte anyway.
 */
#define TX_BYTES	4096

/* The causes of an interrupt, one bit each. */
#define CAUSE_RLS	0x01
#define CAUSE_RDA	0x02
#define CAUSE_THRE	0x04
#define CAUSE_MSR	0x08

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

static unsigned int rx_depth(const struct serial *s)
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

/*
 * After every change. The line is an edge: it is raised when a cause appears
 * that was not there, and when the caller knows of causes that a driver which
 * handles one per interrupt would otherwise never hear of.
 */
static void update(struct serial *s, bool again)
{
	uint8_t now = causes(s);

	if (now & ~s->causes || (again && now))
		irq_line_raise(s->irq);
	s->causes = now;
}

static void rx_push(struct serial *s, uint8_t byte, uint8_t errors)
{
	if (s->rx_count == rx_depth(s)) {
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
	if (s->break_pending && s->rx_count < rx_depth(s)) {
		s->break_pending = false;
		rx_push(s, 0, LSR_BI);
	}
	n = chardev_read(s->chr, buf, rx_depth(s) - s->rx_count);
	for (size_t i = 0; i < n; i++)
		rx_push(s, buf[i], 0);
}

/*
 * MCR.RTS, "request to send", tells the other side that we are ready. A guest
 * that does not know of MCR shows it by wanting interrupts, or by polling LSR.
 */
static void rx_fill_if_ready(struct serial *s)
{
	if (s->mcr & MCR_RTS || (!s->mcr_written && s->ier & IER_RDA))
		rx_fill(s);
}

static void tx_flush(struct serial *s)
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
		rx_fill_if_ready(s);
	/*
	 * Without FIFOs the next byte is an edge of its own. With them, a
	 * driver that has not looked at LSR since the last byte does not loop
	 * on LSR.DR and waits for another interrupt, which hardware gives it by
	 * the character timeout.
	 */
	more = s->rx_count && (!(s->fcr & FCR_ENABLE) || !s->lsr_polled);
	s->lsr_polled = false;
	update(s, more);
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
	update(s, v != IIR_NONE && v != IIR_MSR && others);
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
	update(s, false);
	return v;
}

static uint8_t read_msr(struct serial *s)
{
	uint8_t v = s->msr;

	s->msr &= ~MSR_DELTAS;
	update(s, false);
	return v;
}

static uint8_t read_register(struct serial *s, unsigned int reg)
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
	rx_fill_if_ready(s);
	update(s, false);
}

static void write_fcr(struct serial *s, uint8_t v)
{
	/* PC16550D, 8.5: other bits count only together with FCR0, and a
	 * change of it clears the FIFOs. Output is never thrown away: it is
	 * as good as sent. */
	if ((v ^ s->fcr) & FCR_ENABLE || v & FCR_CLEAR_RX)
		rx_clear(s);
	s->fcr = v & FCR_ENABLE ? v & FCR_KEPT : 0;
	rx_fill_if_ready(s);
	update(s, false);
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
	rx_fill_if_ready(s);
	update(s, false);
}

static void write_register(struct serial *s, unsigned int reg, uint8_t v)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		if (dlab) {
			s->dll = v;
			break;
		}
		tx_byte(s, v);
		update(s, false);
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

/* Wider accesses are split, as the 8-bit bus of the part does. */
static void serial_read(void *opaque, uint64_t offset, uint8_t *data,
			unsigned int len)
{
	for (unsigned int i = 0; i < len; i++)
		data[i] = read_register(opaque, (unsigned int)offset + i);
}

static void serial_write(void *opaque, uint64_t offset, const uint8_t *data,
			 unsigned int len)
{
	for (unsigned int i = 0; i < len; i++)
		write_register(opaque, (unsigned int)offset + i, data[i]);
}

static const struct bus_ops serial_ops = {
	.read = serial_read,
	.write = serial_write,
};

static void on_input(void *opaque)
{
	struct serial *s = opaque;

	pthread_mutex_lock(s->lock);
	rx_fill_if_ready(s);
	update(s, false);
	pthread_mutex_unlock(s->lock);
}

static void on_output(void *opaque)
{
	struct serial *s = opaque;

	pthread_mutex_lock(s->lock);
	if (s->tx_count)
		tx_flush(s);
	update(s, false);
	pthread_mutex_unlock(s->lock);
}

static void on_break(void *opaque)
{
	struct serial *s = opaque;

	pthread_mutex_lock(s->lock);
	s->break_pending = true;
	rx_fill_if_ready(s);
	update(s, false);
	pthread_mutex_unlock(s->lock);
}

static const struct chardev_client serial_client = {
	.input_ready = on_input,
	.output_ready = on_output,
	.break_received = on_break,
};

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

void serial_save(const struct serial *s, struct state_writer *w)
{
	const uint8_t regs[] = { s->ier, s->fcr, s->lcr, s->mcr, s->msr,
				 s->scr, s->dll, s->dlm, s->causes };
	const bool flags[] = { s->overrun, s->thre_pending, s->break_pending,
			       s->mcr_written, s->lsr_polled };

	state_put_bytes(w, regs, sizeof(regs));
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		state_put_bool(w, flags[i]);
	state_put_u32(w, s->rx_count);
	for (unsigned int i = 0; i < s->rx_count; i++) {
		const struct rx_char *c = &s->rx[(s->rx_head + i) % FIFO_BYTES];

		state_put_u8(w, c->byte);
		state_put_u8(w, c->errors);
	}
	state_put_u32(w, s->tx_count);
	for (unsigned int i = 0; i < s->tx_count; i++)
		state_put_u8(w, s->tx[(s->tx_head + i) % TX_BYTES]);
}

/* The FIFOs of a saved port; counts are checked before they are used. */
static void load_fifos(struct serial *s, struct state_reader *r)
{
	s->rx_head = s->tx_head = 0;
	s->rx_count = state_get_u32(r);
	if (s->rx_count > rx_depth(s)) {
		r->error = r->error ? r->error : -EPROTO;
		return;
	}
	for (unsigned int i = 0; i < s->rx_count; i++) {
		s->rx[i].byte = state_get_u8(r);
		s->rx[i].errors = state_get_u8(r) & LSR_BI;
	}
	s->tx_count = state_get_u32(r);
	if (s->tx_count > TX_BYTES) {
		r->error = r->error ? r->error : -EPROTO;
		return;
	}
	state_get_bytes(r, s->tx, s->tx_count);
}

int serial_load(struct serial *s, struct state_reader *r)
{
	struct serial n = *s;
	uint8_t *const regs[] = { &n.ier, &n.fcr, &n.lcr, &n.mcr, &n.msr,
				  &n.scr, &n.dll, &n.dlm, &n.causes };
	bool *const flags[] = { &n.overrun, &n.thre_pending, &n.break_pending,
				&n.mcr_written, &n.lsr_polled };

	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		*regs[i] = state_get_u8(r);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		*flags[i] = state_get_bool(r);
	load_fifos(&n, r);
	if (state_reader_error(r))
		return state_reader_error(r);
	if (n.ier & ~IER_MASK || n.fcr & ~FCR_KEPT || n.mcr & ~MCR_MASK)
		return -EPROTO;
	*s = n;
	/* What it waits for may have come while it was saved. */
	if (s->tx_count)
		tx_flush(s);
	rx_fill_if_ready(s);
	update(s, true);
	return 0;
}

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
		.base = p->port, .len_bytes = REGS,
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
	tx_flush(s);
	if (s->tx_count) {
		chardev_flush(s->chr);
		tx_flush(s);
	}
	free(s);
}
