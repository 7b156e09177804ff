/* SPDX-License-Identifier: MIT */
/*
 * A connection's socket on the host. It is watched edge-triggered, so that data
 * that the guest has no room for costs nothing while it waits. Loop's thread.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "vsock/internal.h"

#define EVENTS		(EPOLLIN | EPOLLRDHUP | EPOLLET)
/* A guest that has no room for one gets no message at all. */
#define MESSAGE_MAX	(1u << 20)

void vsock_notify(struct vsock *v)
{
	if (vsock_has_packets(v))
		v->packets(v->opaque);
}

/* Asks for the end of a wait for room, or not any more. */
static void watch_output(struct conn *c, bool on)
{
	if (on == c->watching_output || !c->watch.loop)
		return;
	c->watching_output = on;
	loop_modify(&c->watch, EVENTS | (on ? EPOLLOUT : 0));
}

/*
 * The guest gets to know of room once a good part of it is new and it has, as far
 * as it knows, no more than a quarter: each of these packets interrupts it.
 */
static void note_credit(struct conn *c)
{
	uint32_t news = c->fwd_cnt - c->told_fwd_cnt;
	uint32_t used = c->rx_cnt - c->told_fwd_cnt;

	/* The rest of a message may need all of the room. */
	if (news && (c->seqpacket || (news >= c->window / 4 &&
				      used >= c->window / 4 * 3)))
		c->due |= DUE_CREDIT;
	conn_schedule(c);
}

/* Bytes taken: 0 when the host is slow, -errno when it is gone. */
static ssize_t host_send(struct conn *c, const struct iovec *iov,
			 unsigned int count)
{
	struct msghdr m = {
		.msg_iov = (struct iovec *)iov, .msg_iovlen = count,
	};
	ssize_t n;

	do
		n = sendmsg(c->watch.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return 0;
	return n < 0 ? -errno : n;
}

/* A failed write: EPIPE is an orderly end, the rest is not. */
static void write_failed(struct conn *c, ssize_t error)
{
	if (c->state == CONN_DRAINING)
		conn_free(c);
	else if (error == -EPIPE)
		conn_host_shut(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
	else
		conn_abort(c);
}

/* Writes what is buffered. c may be freed. */
static void flush(struct conn *c)
{
	struct iovec iov[2];

	while (c->buffer.used) {
		uint32_t len = c->seqpacket ? vsock_buffer_message(&c->buffer) :
					      c->buffer.used;
		ssize_t n;

		/* A message without its end: more is to come. */
		if (!len)
			break;
		n = host_send(c, iov, vsock_buffer_peek(&c->buffer, len, iov));
		if (n < 0) {
			write_failed(c, n);
			return;
		}
		if (!n) {
			watch_output(c, true);
			note_credit(c);
			return;
		}
		vsock_buffer_drop(&c->buffer, (uint32_t)n);
		c->fwd_cnt += (uint32_t)n;
	}
	watch_output(c, false);
	if (c->state == CONN_DRAINING) {
		conn_free(c);
		return;
	}
	if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND && c->watch.fd >= 0)
		shutdown(c->watch.fd, SHUT_WR);
	note_credit(c);
}

void conn_write(struct conn *c, const struct iovec *iov, unsigned int count,
		uint32_t len, bool end)
{
	ssize_t n = 0;

	c->rx_cnt += len;
	if (c->deaf) {
		c->fwd_cnt = c->rx_cnt;
		note_credit(c);
		return;
	}
	if (!c->buffer.used && (!c->seqpacket || end)) {
		n = host_send(c, iov, count);
		if (n < 0) {
			write_failed(c, n);
			return;
		}
		c->fwd_cnt += (uint32_t)n;
	}
	if ((size_t)n < len) {
		if (vsock_buffer_put(&c->buffer, iov, count, (size_t)n,
				     len - (uint32_t)n, c->seqpacket && end)) {
			conn_abort(c);
			return;
		}
		if (!c->seqpacket) {
			watch_output(c, true);
		} else if (end && !c->watching_output) {
			flush(c);
			return;
		}
	}
	note_credit(c);
}

void conn_finish_writing(struct conn *c)
{
	/* Otherwise flush() does it at its end. */
	if (!c->buffer.used || (c->seqpacket && !c->watching_output))
		shutdown(c->watch.fd, SHUT_WR);
}

/* The host's program has closed its side altogether. */
static void hung_up(struct conn *c)
{
	c->hangup = true;
	switch (c->state) {
	case CONN_REQUESTED:
		if (c->due & DUE_REQUEST)
			conn_free(c);
		else
			conn_abort(c);
		break;
	case CONN_OPEN:
		/* What it sent before is read first, where the guest reads. */
		if (c->eof || c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV)
			conn_host_shut(c, SHUTDOWN_BOTH);
		break;
	case CONN_DRAINING:
		conn_free(c);
		break;
	default:
		break;
	}
}

static bool is_hung_up(const struct conn *c)
{
	struct pollfd p = { .fd = c->watch.fd };

	return poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

void conn_finish_reading(struct conn *c)
{
	shutdown(c->watch.fd, SHUT_RD);
	if (is_hung_up(c))
		hung_up(c);
}

/* Nothing more comes: does the other side still listen? */
static void end_of_input(struct conn *c)
{
	c->readable = false;
	conn_host_shut(c, is_hung_up(c) ? SHUTDOWN_BOTH :
					  VIRTIO_VSOCK_SHUTDOWN_SEND);
}

ssize_t conn_read(struct conn *c, struct iovec *iov, unsigned int count,
		  size_t len)
{
	struct msghdr m = { .msg_iov = iov };
	size_t left = len;
	ssize_t n;

	for (; left && m.msg_iovlen < count; m.msg_iovlen++) {
		struct iovec *one = &iov[m.msg_iovlen];

		if (one->iov_len > left)
			one->iov_len = left;
		left -= one->iov_len;
	}
	do
		n = recvmsg(c->watch.fd, &m, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		c->readable = false;
	if (n < 0)
		return -errno;
	if (!n)
		end_of_input(c);
	/* Less than asked for is all there is, unless descriptors came with it
	 * (they are closed), which end a read. */
	else if ((size_t)n < len && !c->hangup && !(m.msg_flags & MSG_CTRUNC))
		c->readable = false;
	return n;
}

int conn_read_message(struct conn *c)
{
	ssize_t n = recv(c->watch.fd, NULL, 0,
			 MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC);

	if (n < 0 && errno == EAGAIN)
		c->readable = false;
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if (!n) {
		end_of_input(c);
		return 0;
	}
	if (n > MESSAGE_MAX)
		return -EMSGSIZE;
	if (n > (ssize_t)c->vsock->pool_bytes)
		return -ENOBUFS;
	c->message = malloc((size_t)n);
	if (!c->message)
		return -ENOMEM;
	n = recv(c->watch.fd, c->message, (size_t)n, MSG_DONTWAIT);
	if (n <= 0) {
		free(c->message);
		c->message = NULL;
		return n ? -errno : 0;
	}
	c->message_len = (uint32_t)n;
	c->message_pos = 0;
	c->vsock->pool_bytes -= c->message_len;
	return 1;
}

static void on_event(struct loop_watch *w, uint32_t events)
{
	struct conn *c = w->opaque;
	struct vsock *v = c->vsock;

	if (events & EPOLLRDHUP)
		c->hangup = true;
	if (c->state == CONN_LINE) {
		host_read_line(c);
		vsock_notify(v);
		return;
	}
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->readable = true;
	conn_schedule(c);
	if (events & (EPOLLHUP | EPOLLERR))
		hung_up(c);
	else if (events & EPOLLOUT)
		flush(c);
	vsock_notify(v);
}

int conn_watch(struct conn *c)
{
	int fd = c->watch.fd;
	int ret = loop_add(c->vsock->loop, &c->watch, fd, EVENTS, on_event, c);

	if (ret)
		c->watch = (struct loop_watch){ .fd = fd };
	return ret;
}
