/* SPDX-License-Identifier: MIT */
/* Connections: their table, their beginning and their ends. Loop's thread. */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vsock/internal.h"

/* Ports of connections to the guest: these and above. */
#define FIRST_HOST_PORT	(1u << 30)

/* Ports of the guest are its own choice: all of both go into the index. */
static unsigned int bucket_of(uint32_t guest_port, uint32_t host_port)
{
	uint64_t key = (uint64_t)guest_port << 32 | host_port;

	return (unsigned int)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 54) &
	       (TABLE_BUCKETS - 1);
}

/* Makes room by forgetting a stream that only waits for the guest's RST. */
static bool evict(struct vsock *v)
{
	struct conn *c;

	TAILQ_FOREACH(c, &v->all, all)
		if (c->state == CONN_CLOSED && !conn_has_packet(c)) {
			conn_free(c);
			return true;
		}
	return false;
}

struct conn *conn_create(struct vsock *v, enum conn_state state, int fd)
{
	struct conn *c = NULL;

	if (v->conn_count < VSOCK_MAX_CONNECTIONS || evict(v))
		c = calloc(1, sizeof(*c));
	if (!c) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	c->vsock = v;
	c->state = state;
	c->watch.fd = fd;
	TAILQ_INSERT_TAIL(&v->all, c, all);
	v->conn_count++;
	return c;
}

static void unqueue(struct conn *c)
{
	if (c->queued)
		TAILQ_REMOVE(&c->vsock->ready, c, ready);
	c->queued = false;
}

static void unhash(struct conn *c)
{
	if (c->hashed)
		LIST_REMOVE(c, bucket);
	c->hashed = false;
	unqueue(c);
}

void conn_drop_message(struct conn *c)
{
	if (c->message)
		c->vsock->pool_bytes += c->message_len;
	free(c->message);
	c->message = NULL;
}

void conn_close_socket(struct conn *c)
{
	int fd = c->watch.fd;

	if (c->state == CONN_DIALING)
		c->vsock->dialing_count--;
	if (fd >= 0) {
		if (c->watch.loop)
			loop_remove(&c->watch);
		close(fd);
	}
	c->watch = (struct loop_watch)LOOP_WATCH_INIT;
	c->readable = false;
	conn_drop_message(c);
	vsock_buffer_deinit(&c->buffer);
	c->vsock->pool_bytes += c->window;
	c->window = 0;
}

void conn_free(struct conn *c)
{
	conn_close_socket(c);
	unhash(c);
	TAILQ_REMOVE(&c->vsock->all, c, all);
	c->vsock->conn_count--;
	free(c);
}

struct conn *conn_find(const struct vsock *v, uint32_t guest_port,
		       uint32_t host_port)
{
	struct conn *c;

	LIST_FOREACH(c, &v->buckets[bucket_of(guest_port, host_port)], bucket)
		if (c->guest_port == guest_port && c->host_port == host_port)
			return c;
	return NULL;
}

void conn_hash(struct conn *c, uint32_t guest_port, uint32_t host_port)
{
	c->guest_port = guest_port;
	c->host_port = host_port;
	c->hashed = true;
	LIST_INSERT_HEAD(&c->vsock->buckets[bucket_of(guest_port, host_port)],
			 c, bucket);
}

/*
 * Each takes 1/512 of what is left: the first ones have large windows, a
 * thousand still have enough, and the sum is bounded.
 */
bool conn_reserve(struct conn *c)
{
	uint32_t *left = &c->vsock->pool_bytes, window = *left / 512;

	window &= ~UINT32_C(4095);
	if (window < WINDOW_MIN)
		window = WINDOW_MIN;
	if (window > WINDOW_MAX)
		window = WINDOW_MAX;
	if (window > *left)
		return false;
	*left -= window;
	c->window = window;
	vsock_buffer_init(&c->buffer, window);
	return true;
}

/*
 * Where they begin is left to chance: a guest that was restored may still have
 * sockets, dead ones, that had ports of the process before.
 */
void conn_seed_ports(struct vsock *v)
{
	uint32_t random = 0;

	(void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
	v->next_host_port = FIRST_HOST_PORT + (random & (FIRST_HOST_PORT - 1));
}

uint32_t conn_pick_port(struct vsock *v, uint32_t guest_port)
{
	uint32_t port;

	do {
		port = v->next_host_port++;
		if (v->next_host_port < FIRST_HOST_PORT)
			v->next_host_port = FIRST_HOST_PORT;
	} while (port < FIRST_HOST_PORT || port == UINT32_MAX ||
		 conn_find(v, guest_port, port));
	return port;
}

void conn_schedule(struct conn *c)
{
	if (c->queued || !c->hashed || !conn_has_packet(c))
		return;
	c->queued = true;
	TAILQ_INSERT_TAIL(&c->vsock->ready, c, ready);
}

void conn_abort(struct conn *c)
{
	conn_close_socket(c);
	c->state = CONN_CLOSED;
	c->shut_wanted = c->shut_sent = 0;
	c->due = DUE_RST;
	conn_schedule(c);
}

void conn_detach(struct conn *c)
{
	bool open = c->state == CONN_OPEN;

	unhash(c);
	/* A message without its end is none. */
	if (!open || c->deaf || !c->buffer.used ||
	    (c->seqpacket && !vsock_buffer_message(&c->buffer))) {
		conn_free(c);
		return;
	}
	c->state = CONN_DRAINING;
	c->readable = false;
	/* What the host still sends has no reader any more. */
	shutdown(c->watch.fd, SHUT_RD);
}

void conn_host_shut(struct conn *c, uint32_t flags)
{
	if (flags & VIRTIO_VSOCK_SHUTDOWN_SEND)
		c->eof = true;
	if (flags & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		c->deaf = true;
		c->fwd_cnt = c->rx_cnt;
		vsock_buffer_deinit(&c->buffer);
	}
	c->shut_wanted |= flags;
	if (c->shut_wanted == SHUTDOWN_BOTH) {
		conn_close_socket(c);
		c->state = CONN_CLOSED;
	}
	conn_schedule(c);
}

void conn_open(struct conn *c)
{
	c->state = CONN_OPEN;
	conn_schedule(c);
}
