/* SPDX-License-Identifier: MIT */
/*
 * The vsock's life cycle, and packets of the guest (VIRTIO 1.2, 5.10.6). Create
 * and destroy are the main thread's, the rest is the loop's.
 */
#include "vsock/vsock.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vsock/internal.h"

/* A packet's header, in the host's byte order. */
struct packet {
	uint32_t guest_port, host_port, len, flags, buf_alloc, fwd_cnt;
	uint16_t type, op;
};

static void reply_reset(struct vsock *v, const struct packet *p)
{
	unsigned int at = (v->reply_first + v->reply_count) % REPLIES;

	/* vsock_can_receive() kept a place. */
	if (v->reply_count == REPLIES)
		return;
	v->replies[at] = (struct reply){ p->guest_port, p->host_port, p->type };
	v->reply_count++;
}

static void fill_reply(struct vsock *v, struct vsock_slot *s)
{
	const struct reply *r = &v->replies[v->reply_first];

	s->hdr = (struct virtio_vsock_hdr){
		.src_cid = htole64(VSOCK_HOST_CID),
		.dst_cid = htole64(v->guest_cid),
		.src_port = htole32(r->host_port),
		.dst_port = htole32(r->guest_port),
		.type = htole16(r->type),
		.op = htole16(VIRTIO_VSOCK_OP_RST),
	};
	s->len_bytes = 0;
	v->reply_first = (v->reply_first + 1) % REPLIES;
	v->reply_count--;
}

bool vsock_can_receive(const struct vsock *v)
{
	return v->reply_count < REPLIES;
}

bool vsock_has_packets(const struct vsock *v)
{
	return v->active && (v->reply_count || !TAILQ_EMPTY(&v->ready));
}

unsigned int vsock_fill(struct vsock *v, struct vsock_slot *const *slots,
			unsigned int count)
{
	unsigned int used = 0;
	struct conn *c;

	if (!v->active || !count)
		return 0;
	if (v->reply_count) {
		fill_reply(v, slots[0]);
		return 1;
	}
	/* In turn; one that has nothing after all leaves the queue. */
	while (!used && (c = TAILQ_FIRST(&v->ready))) {
		TAILQ_REMOVE(&v->ready, c, ready);
		c->queued = false;
		used = conn_fill(c, slots, count);
	}
	return used;
}

/* ---- packets of the guest ------------------------------------------------ */

static void on_request(struct vsock *v, const struct packet *p)
{
	struct conn *c = conn_create(v, CONN_DIALING, -1);

	if (!c) {
		reply_reset(v, p);
		return;
	}
	v->dialing_count++;
	c->seqpacket = p->type == VIRTIO_VSOCK_TYPE_SEQPACKET;
	c->peer_buf_alloc = p->buf_alloc;
	c->peer_fwd_cnt = p->fwd_cnt;
	conn_hash(c, p->guest_port, p->host_port);
	host_dial(c);
}

/* No connection there: whatever it is, but not a reset, is reset. */
static void on_unknown(struct vsock *v, const struct packet *p, bool valid)
{
	if (valid && p->op == VIRTIO_VSOCK_OP_REQUEST)
		on_request(v, p);
	else if (p->op != VIRTIO_VSOCK_OP_RST)
		reply_reset(v, p);
}

static void on_response(struct conn *c)
{
	if (c->state != CONN_REQUESTED || c->due & DUE_REQUEST) {
		conn_abort(c);
		return;
	}
	host_answer(c);
}

static void on_shutdown(struct conn *c, const struct packet *p)
{
	struct vsock *v = c->vsock;

	c->guest_shut |= p->flags & SHUTDOWN_BOTH;
	if (c->guest_shut == SHUTDOWN_BOTH) {
		reply_reset(v, p);
		conn_detach(c);
		return;
	}
	if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND)
		conn_finish_writing(c);
	if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV)
		conn_finish_reading(c);
}

static void on_data(struct conn *c, const struct packet *p,
		    const struct iovec *iov, unsigned int count)
{
	uint32_t held = c->rx_cnt - c->fwd_cnt;

	/* 5.10.6.3.1: no more than the room that was told. */
	if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND ||
	    p->len > c->window - held) {
		conn_abort(c);
		return;
	}
	if (p->len)
		conn_write(c, iov, count, p->len,
			   p->flags & VIRTIO_VSOCK_SEQ_EOM);
}

/* A connection whose socket is open. */
static void on_open(struct conn *c, const struct packet *p,
		    const struct iovec *iov, unsigned int count)
{
	switch (p->op) {
	case VIRTIO_VSOCK_OP_RW:
		on_data(c, p, iov, count);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		on_shutdown(c, p);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		c->due |= DUE_CREDIT;
		conn_schedule(c);
		break;
	default:
		conn_abort(c);
	}
}

/* The host has closed it; the guest is about to. */
static void on_closed(struct conn *c, const struct packet *p)
{
	struct vsock *v = c->vsock;

	/* It knows, and has another use for its port. */
	if (p->op == VIRTIO_VSOCK_OP_REQUEST) {
		conn_free(c);
		on_request(v, p);
	} else if (p->op == VIRTIO_VSOCK_OP_SHUTDOWN) {
		c->guest_shut |= p->flags & SHUTDOWN_BOTH;
		if (c->guest_shut != SHUTDOWN_BOTH)
			return;
		reply_reset(v, p);
		conn_free(c);
	}
	/* What was on its way when it heard of the end does not matter. */
}

static void on_known(struct conn *c, const struct packet *p,
		     const struct iovec *iov, unsigned int count)
{
	c->peer_buf_alloc = p->buf_alloc;
	c->peer_fwd_cnt = p->fwd_cnt;
	conn_schedule(c);
	if (p->op == VIRTIO_VSOCK_OP_RST)
		conn_detach(c);
	else if (c->state == CONN_CLOSED)
		on_closed(c, p);
	else if (p->op == VIRTIO_VSOCK_OP_RESPONSE)
		on_response(c);
	else if (c->state == CONN_OPEN)
		on_open(c, p, iov, count);
	else if (p->op != VIRTIO_VSOCK_OP_CREDIT_UPDATE &&
		 p->op != VIRTIO_VSOCK_OP_CREDIT_REQUEST)
		conn_abort(c);
}

static bool type_is_known(const struct vsock *v, uint16_t type)
{
	return type == VIRTIO_VSOCK_TYPE_STREAM ||
	       (type == VIRTIO_VSOCK_TYPE_SEQPACKET && v->seqpacket);
}

/* Leaves the first len bytes (5.10.6); false: there are not as many. */
static bool trim(struct iovec *iov, unsigned int *count, size_t len)
{
	unsigned int used = 0;

	for (; len && used < *count; used++) {
		if (iov[used].iov_len > len)
			iov[used].iov_len = len;
		len -= iov[used].iov_len;
	}
	*count = used;
	return !len;
}

void vsock_receive(struct vsock *v, const struct virtio_vsock_hdr *h,
		   struct iovec *iov, unsigned int count)
{
	const struct packet p = {
		.guest_port = le32toh(h->src_port),
		.host_port = le32toh(h->dst_port),
		.len = le32toh(h->len), .flags = le32toh(h->flags),
		.buf_alloc = le32toh(h->buf_alloc),
		.fwd_cnt = le32toh(h->fwd_cnt),
		.type = le16toh(h->type), .op = le16toh(h->op),
	};
	struct conn *c;
	bool valid;

	/* Not from this guest, or not to this host: nobody to answer. */
	if (!v->active || le64toh(h->src_cid) != v->guest_cid ||
	    le64toh(h->dst_cid) != VSOCK_HOST_CID)
		return;
	/* 5.10.6.4.2: an unknown type gets a reset. */
	valid = type_is_known(v, p.type) && trim(iov, &count, p.len);
	c = conn_find(v, p.guest_port, p.host_port);
	if (!c)
		on_unknown(v, &p, valid);
	else if (!valid ||
		 c->seqpacket != (p.type == VIRTIO_VSOCK_TYPE_SEQPACKET))
		conn_abort(c);
	else
		on_known(c, &p, iov, count);
}

/* ---- life cycle ---------------------------------------------------------- */

void vsock_start(struct vsock *v, bool seqpacket)
{
	v->active = true;
	v->seqpacket = seqpacket;
}

void vsock_reset(struct vsock *v)
{
	struct conn *c;

	while ((c = TAILQ_FIRST(&v->all)))
		conn_free(c);
	v->reply_count = 0;
	v->active = false;
}

int vsock_create(struct vsock **out, const struct vsock_params *p,
		 struct error *e)
{
	struct vsock *v = calloc(1, sizeof(*v));
	int ret;

	if (!v)
		return error_errno(e, -ENOMEM, "vsock");
	v->loop = p->loop;
	v->guest_cid = p->guest_cid;
	v->packets = p->packets;
	v->opaque = p->opaque;
	v->pool_bytes = VSOCK_POOL_BYTES;
	v->listener = (struct listener)LISTENER_INIT;
	v->accept = (struct loop_watch)LOOP_WATCH_INIT;
	v->again.watch = (struct loop_watch)LOOP_WATCH_INIT;
	for (unsigned int i = 0; i < TABLE_BUCKETS; i++)
		LIST_INIT(&v->buckets[i]);
	TAILQ_INIT(&v->all);
	TAILQ_INIT(&v->ready);
	conn_seed_ports(v);
	ret = host_listen(v, p->path, e);
	if (ret) {
		vsock_destroy(v);
		return ret;
	}
	*out = v;
	return 0;
}

static void destroy_on_loop(void *opaque)
{
	struct vsock *v = opaque;

	vsock_reset(v);
	host_unlisten(v);
}

void vsock_destroy(struct vsock *v)
{
	if (!v)
		return;
	loop_call(v->loop, destroy_on_loop, v);
	listener_close(&v->listener);
	services_free(v);
	free(v->path);
	free(v);
}
