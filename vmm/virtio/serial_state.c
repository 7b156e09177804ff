/* SPDX-License-Identifier: MIT */
/* What a console device with many ports has said and heard, saved and loaded. Main
 * thread, machine lock held, quiesced; its ports are there. */
#include <errno.h>
#include <linux/virtio_console.h>

#include "state.h"
#include "virtio/serial_internal.h"

enum flag {
	FLAG_ANNOUNCED = 1 << 0,
	FLAG_READY = 1 << 1,
	FLAG_GUEST_OPEN = 1 << 2,
	FLAGS_ALL = (1 << 3) - 1,
};

void serial_state_save(struct virtio_device *d, struct state_writer *w)
{
	const struct virtio_serial *s = (struct virtio_serial *)d;

	state_put_bool(w, s->driver_ready);
	for (unsigned int i = 0; i < s->max_ports; i++) {
		const struct serial_port *p = &s->ports[i];

		state_put_u8(w, (uint8_t)p->pending);
		state_put_u8(w, (uint8_t)((p->announced ? FLAG_ANNOUNCED : 0) |
					  (p->ready ? FLAG_READY : 0) |
					  (p->guest_open ? FLAG_GUEST_OPEN :
							   0)));
		state_put_u64(w, p->io.sent);
	}
}

/* Of a port that is gone only that may be owed; but without the feature port 0 is
 * taken to be there, whether it is or not. */
static bool possible(const struct serial_port *p, uint8_t flags)
{
	bool multiport = virtio_has(&p->serial->dev, VIRTIO_CONSOLE_F_MULTIPORT);
	unsigned int may = (1u << SERIAL_MESSAGES) - 1;

	if (!p->io.cd)
		may = 1u << SERIAL_REMOVE;
	else if (!p->name)
		may &= ~(1u << SERIAL_NAME);
	if (p->pending & ~may || flags & ~FLAGS_ALL)
		return false;
	if (!(flags & FLAG_ANNOUNCED))
		return !flags;
	return p->io.cd || (!multiport && !p->nr && !(flags & FLAG_READY));
}

int serial_state_load(struct virtio_device *d, struct state_reader *r,
		      struct error *e)
{
	struct virtio_serial *s = (struct virtio_serial *)d;
	bool good = true;

	s->driver_ready = state_get_bool(r);
	for (unsigned int i = 0; i < s->max_ports; i++) {
		struct serial_port *p = &s->ports[i];
		uint8_t flags;

		p->pending = state_get_u8(r);
		flags = state_get_u8(r);
		p->io.sent = state_get_u64(r);
		good &= possible(p, flags);
		p->announced = flags & FLAG_ANNOUNCED;
		p->ready = flags & FLAG_READY;
		p->guest_open = flags & FLAG_GUEST_OPEN;
		/* Others are at the other end now. */
		if (p->ready && !p->console)
			p->pending |= 1u << SERIAL_OPEN;
	}
	if (state_reader_error(r) || !good)
		return error_errno(e, state_reader_error(r) ?
				   state_reader_error(r) : -EPROTO,
				   "virtio-serial: bad state");
	serial_look_again(s);
	s->host.changed(s->host.opaque);
	return 0;
}
