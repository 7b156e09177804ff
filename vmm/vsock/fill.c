/* SPDX-License-Identifier: MIT */
/*
 * Packets to the guest: what a connection has to say, and how much the guest has
 * room for (VIRTIO 1.2, 5.10.6.3). Loop's thread.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vsock/internal.h"

/* For one turn of one connection; the others come next. */
#define TURN_IOVS	1024u
#define TURN_BYTES	(256u << 10)

/* Its counters are what the guest says: never more than it has room for. */
static uint32_t credit(const struct conn *c)
{
	uint32_t in_flight = c->tx_cnt - c->peer_fwd_cnt;

	return in_flight < c->peer_buf_alloc ? c->peer_buf_alloc - in_flight :
					       0;
}

static bool can_send_data(const struct conn *c)
{
	if (c->state != CONN_OPEN || c->eof ||
	    c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV)
		return false;
	return (c->message || c->readable) && credit(c);
}

bool conn_has_packet(const struct conn *c)
{
	return c->due || c->shut_wanted & ~c->shut_sent || can_send_data(c);
}

static void set_header(struct conn *c, struct vsock_slot *s, unsigned int op,
		       uint32_t len, uint32_t flags)
{
	s->hdr = (struct virtio_vsock_hdr){
		.src_cid = htole64(VSOCK_HOST_CID),
		.dst_cid = htole64(c->vsock->guest_cid),
		.src_port = htole32(c->host_port),
		.dst_port = htole32(c->guest_port),
		.len = htole32(len),
		.type = htole16(c->seqpacket ? VIRTIO_VSOCK_TYPE_SEQPACKET :
					       VIRTIO_VSOCK_TYPE_STREAM),
		.op = htole16((uint16_t)op),
		.flags = htole32(flags),
		.buf_alloc = htole32(c->window),
		.fwd_cnt = htole32(c->fwd_cnt),
	};
	s->len_bytes = len;
	/* Every packet tells the credit. */
	c->told_fwd_cnt = c->fwd_cnt;
	c->due &= ~DUE_CREDIT;
}

/*
 * Reads straight into as many slots as the credit and the socket have bytes
 * for; returns how many there are.
 */
static unsigned int fill_stream(struct conn *c, struct vsock_slot *const *slots,
				unsigned int count)
{
	struct iovec iov[TURN_IOVS];
	unsigned int iovs = 0, used = 0;
	size_t room = 0, want = credit(c);
	ssize_t n;

	if (want > TURN_BYTES)
		want = TURN_BYTES;
	for (unsigned int i = 0; i < count && room < want &&
	     iovs + slots[i]->count <= TURN_IOVS; i++) {
		memcpy(iov + iovs, slots[i]->iov,
		       slots[i]->count * sizeof(*iov));
		iovs += slots[i]->count;
		room += slots[i]->room_bytes;
	}
	n = conn_read(c, iov, iovs, room < want ? room : want);
	if (n < 0) {
		if (n != -EAGAIN)
			conn_abort(c);
		return 0;
	}
	while (n > 0) {
		struct vsock_slot *s = slots[used++];
		uint32_t len = (size_t)n < s->room_bytes ? (uint32_t)n :
							   s->room_bytes;

		c->tx_cnt += len;
		set_header(c, s, VIRTIO_VSOCK_OP_RW, len, 0);
		n -= len;
	}
	return used;
}

static void scatter(const struct vsock_slot *s, const uint8_t *from,
		    uint32_t len)
{
	for (unsigned int i = 0; i < s->count && len; i++) {
		size_t n = s->iov[i].iov_len < len ? s->iov[i].iov_len : len;

		memcpy(s->iov[i].iov_base, from, n);
		from += n;
		len -= (uint32_t)n;
	}
}

/* Part of a message; the last one says so (5.10.6.6). */
static unsigned int fill_message(struct conn *c, struct vsock_slot *s)
{
	uint32_t len, flags = 0;
	int ret = c->message ? 1 : conn_read_message(c);

	if (ret <= 0) {
		if (ret && ret != -EAGAIN)
			conn_abort(c);
		return 0;
	}
	/* The guest never has room for more than this in one message. */
	if (c->message_len > c->peer_buf_alloc) {
		conn_abort(c);
		return 0;
	}
	len = c->message_len - c->message_pos;
	if (len > credit(c))
		len = credit(c);
	if (len > s->room_bytes)
		len = s->room_bytes;
	scatter(s, c->message + c->message_pos, len);
	c->message_pos += len;
	c->tx_cnt += len;
	if (c->message_pos == c->message_len) {
		flags = VIRTIO_VSOCK_SEQ_EOM;
		conn_drop_message(c);
	}
	set_header(c, s, VIRTIO_VSOCK_OP_RW, len, flags);
	return 1;
}

/* The beginning of a connection, or its end by force; 0: neither is due. */
static unsigned int take_due_op(struct conn *c)
{
	static const struct {
		unsigned int due, op;
	} ops[] = {
		{ DUE_RST, VIRTIO_VSOCK_OP_RST },
		{ DUE_REQUEST, VIRTIO_VSOCK_OP_REQUEST },
		{ DUE_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE },
	};

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (c->due & ops[i].due) {
			c->due &= ~ops[i].due;
			return ops[i].op;
		}
	return 0;
}

unsigned int conn_fill(struct conn *c, struct vsock_slot *const *slots,
		       unsigned int count)
{
	unsigned int op = take_due_op(c), used = 0;

	if (op) {
		set_header(c, slots[0], op, 0, 0);
		if (op == VIRTIO_VSOCK_OP_RST) {
			conn_free(c);
			return 1;
		}
		used = 1;
	} else if (can_send_data(c)) {
		used = c->seqpacket ? fill_message(c, slots[0]) :
				      fill_stream(c, slots, count);
	} else if (c->shut_wanted & ~c->shut_sent) {
		c->shut_sent = c->shut_wanted;
		set_header(c, slots[0], VIRTIO_VSOCK_OP_SHUTDOWN, 0,
			   c->shut_sent);
		used = 1;
	} else if (c->due & DUE_CREDIT) {
		set_header(c, slots[0], VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0);
		used = 1;
	}
	conn_schedule(c);
	return used;
}
