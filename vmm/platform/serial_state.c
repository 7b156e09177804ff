/* SPDX-License-Identifier: MIT */
/* A serial port, saved and loaded. Machine lock held, vCPUs stopped. */
#include <errno.h>

#include "platform/serial_internal.h"

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
	if (s->rx_count > serial_rx_depth(s)) {
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
		serial_tx_flush(s);
	serial_rx_fill(s);
	serial_update(s, true);
	return 0;
}
