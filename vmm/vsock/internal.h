/* SPDX-License-Identifier: MIT */
/*
 * What the files of the vsock room share.
 *
 *	vsock.c		life cycle; packets of the guest, and answers to them
 *	connection.c	the table of connections; their states and their ends
 *	fill.c		packets to the guest; credit
 *	socket.c	a connection's host socket: reading, writing, events
 *	host.c		who connects to PATH; the way to PATH_port
 *	service.c	what the user said about ports
 *	buffer.c	bytes that wait for the host
 *
 * The loop's thread, where not said otherwise.
 */
#ifndef MOTE_VSOCK_INTERNAL_H
#define MOTE_VSOCK_INTERNAL_H

#include <sys/queue.h>

#include "char/listener.h"
#include "vsock/buffer.h"
#include "vsock/vsock.h"

#define TABLE_BUCKETS	1024u		/* a power of two */
#define REPLIES		256u
/* What a stream may have on its way to the host: buf_alloc (5.10.6.3). */
#define WINDOW_MIN	(16u << 10)
#define WINDOW_MAX	(256u << 10)
#define SHUTDOWN_BOTH	(VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

enum conn_state {
	CONN_LINE,	/* a host program that has not said CONNECT yet */
	CONN_REQUESTED,	/* the guest was asked (or will be) and is silent */
	CONN_DIALING,	/* the guest asked; the host's backlog is full */
	CONN_OPEN,
	CONN_CLOSED,	/* no socket any more; the guest's RST is awaited */
	CONN_DRAINING,	/* the guest is gone; the host gets what is left */
};

/* Packets due, besides data and shutdowns. */
#define DUE_REQUEST	1u
#define DUE_RESPONSE	2u
#define DUE_RST		4u
#define DUE_CREDIT	8u

struct conn {
	struct vsock *vsock;
	TAILQ_ENTRY(conn) all;
	LIST_ENTRY(conn) bucket;	/* while hashed */
	TAILQ_ENTRY(conn) ready;	/* while queued: has a packet */
	enum conn_state state;
	bool hashed, queued;
	bool seqpacket;
	uint32_t guest_port, host_port;

	/* The host's side. */
	struct loop_watch watch;	/* its fd is the socket */
	bool watching_output;
	bool readable;		/* until EAGAIN or a short read */
	bool hangup;		/* more than a short read may be left */
	bool eof;		/* nothing more comes from the host */
	bool deaf;		/* the host takes nothing any more */
	unsigned int dials;	/* retries left (CONN_DIALING) */
	uid_t uid;		/* of the host's program */

	/* To the guest. */
	unsigned int due;
	uint32_t shut_wanted, shut_sent;	/* VIRTIO_VSOCK_SHUTDOWN_* */
	uint32_t peer_buf_alloc, peer_fwd_cnt, tx_cnt;
	uint8_t *message;		/* seqpacket: being sent */
	uint32_t message_len, message_pos;

	/* From the guest. */
	uint32_t guest_shut;
	uint32_t window;		/* buf_alloc, from the pool */
	uint32_t rx_cnt, fwd_cnt, told_fwd_cnt;
	struct vsock_buffer buffer;
};

/* An answer to a packet of no connection. */
struct reply {
	uint32_t guest_port, host_port;
	uint16_t type;
};

struct service;

LIST_HEAD(conn_bucket, conn);
TAILQ_HEAD(conn_list, conn);

struct vsock {
	struct loop *loop;
	uint32_t guest_cid;
	char *path;
	void (*packets)(void *opaque);
	void *opaque;
	bool active, seqpacket;

	struct listener listener;
	struct loop_watch accept;
	struct loop_timer again;	/* accept() or connect() had no room */
	bool accept_later;

	struct conn_bucket buckets[TABLE_BUCKETS];
	struct conn_list all, ready;
	unsigned int conn_count, dialing_count;
	uint32_t pool_bytes;		/* left of what all may hold */
	uint32_t next_host_port;

	struct reply replies[REPLIES];
	unsigned int reply_first, reply_count;

	struct service *services;
	unsigned int service_count;
};

/* connection.c */

/* Not hashed yet; NULL: too many, or no memory. fd is taken over, also then. */
struct conn *conn_create(struct vsock *v, enum conn_state state, int fd);
/* As if it had never been; the guest hears nothing. */
void conn_free(struct conn *c);
struct conn *conn_find(const struct vsock *v, uint32_t guest_port,
		       uint32_t host_port);
void conn_hash(struct conn *c, uint32_t guest_port, uint32_t host_port);
/* A window from the pool; false: nothing left. */
bool conn_reserve(struct conn *c);
void conn_seed_ports(struct vsock *v);
/* An unused port on the host's side for that of the guest. */
uint32_t conn_pick_port(struct vsock *v, uint32_t guest_port);
/* Queues c when it has a packet for the guest. */
void conn_schedule(struct conn *c);
/* Both ends hear of a failure. */
void conn_abort(struct conn *c);
/* The guest has ended it: the host gets what is buffered, then EOF. c may be
 * freed. */
void conn_detach(struct conn *c);
/* The host's program is gone: the guest gets what it sent, then EOF. */
void conn_host_shut(struct conn *c, uint32_t flags);
/* Nothing of the socket is needed any more. */
void conn_close_socket(struct conn *c);
/* c->message, if any, goes back to the pool. */
void conn_drop_message(struct conn *c);
/* The socket and the guest agree: streams flow. */
void conn_open(struct conn *c);

/* fill.c */

bool conn_has_packet(const struct conn *c);
unsigned int conn_fill(struct conn *c, struct vsock_slot *const *slots,
		       unsigned int count);

/* socket.c */

/* -errno; the events then come to conn_on_event. */
int conn_watch(struct conn *c);
/* Payload of the guest, within the window. c may be aborted. */
void conn_write(struct conn *c, const struct iovec *iov, unsigned int count,
		uint32_t len, bool end);
/* No more is to come from the guest. */
void conn_finish_writing(struct conn *c);
/* The guest reads no more. */
void conn_finish_reading(struct conn *c);
/* At most len bytes of the stream: as recv(), or -errno. */
ssize_t conn_read(struct conn *c, struct iovec *iov, unsigned int count,
		  size_t len);
/* The next message into c->message, out of the pool: 1, 0 end of file, or
 * -errno. */
int conn_read_message(struct conn *c);
/* Tells the transport when there is something for it. */
void vsock_notify(struct vsock *v);

/* host.c */

int host_listen(struct vsock *v, const char *path, struct error *e);
void host_unlisten(struct vsock *v);
/* A CONN_LINE has input. c may be freed. */
void host_read_line(struct conn *c);
/* The guest has accepted c: its program hears of it. */
void host_answer(struct conn *c);
/* The guest asks for host_port; c is in the table. */
void host_dial(struct conn *c);

/* service.c */

/* Where the guest gets to: malloc()ed; NULL: nowhere. */
char *service_path(struct vsock *v, uint32_t port);
bool service_allows(const struct vsock *v, uint32_t port, uid_t uid);
/* A connection of the guest has been made. */
void service_used(struct vsock *v, uint32_t port);
void services_free(struct vsock *v);

#endif
