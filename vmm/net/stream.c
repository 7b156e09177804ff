/* SPDX-License-Identifier: MIT */
/*
 * Frames on a stream socket, each behind its length as a big-endian 32-bit
 * number: what passt, gvproxy and QEMU's stream netdev speak. There are no
 * offload headers on the wire. Set-up on the main thread, packets on the thread
 * that owns the queues.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/net.h"

#define LENGTH_BYTES	4u
/* Several frames a recv() when they are small, always one whole. */
#define IN_BYTES	(2 * (LENGTH_BYTES + NET_FRAME_MAX))

struct stream {
	struct net_backend base;
	/* Received: in[in_start … in_end). */
	size_t in_start, in_end;
	/* What send() accepted but the socket has not taken. */
	size_t out_start, out_end;
	struct iovec iov[IOV_MAX];
	uint8_t in[IN_BYTES];
	uint8_t out[LENGTH_BYTES + NET_FRAME_MAX];
};

static struct stream *to_stream(struct net_backend *b)
{
	return (struct stream *)b;
}

/* The length of the next frame, whole in the buffer; -EAGAIN, -EPROTO. */
static ssize_t next_frame(const struct stream *s)
{
	size_t have = s->in_end - s->in_start;
	uint32_t len;

	if (have < LENGTH_BYTES)
		return -EAGAIN;
	memcpy(&len, s->in + s->in_start, LENGTH_BYTES);
	len = be32toh(len);
	/* A peer that has lost count cannot be followed. */
	if (!len || len > NET_FRAME_MAX)
		return -EPROTO;
	return have - LENGTH_BYTES < len ? -EAGAIN : (ssize_t)len;
}

static int fill(struct stream *s)
{
	ssize_t n;

	if (s->in_start) {
		memmove(s->in, s->in + s->in_start, s->in_end - s->in_start);
		s->in_end -= s->in_start;
		s->in_start = 0;
	}
	n = recv(s->base.fds[0], s->in + s->in_end, sizeof(s->in) - s->in_end,
		 0);
	if (n < 0)
		return -errno;
	if (!n)
		return -ECONNRESET;
	s->in_end += (size_t)n;
	return 0;
}

static void scatter(const struct iovec *iov, unsigned int count, size_t offset,
		    const uint8_t *from, size_t len)
{
	for (unsigned int i = 0; i < count && len; i++) {
		size_t n = iov[i].iov_len;

		if (offset >= n) {
			offset -= n;
			continue;
		}
		n = n - offset < len ? n - offset : len;
		memcpy((uint8_t *)iov[i].iov_base + offset, from, n);
		from += n;
		len -= n;
		offset = 0;
	}
}

static ssize_t stream_receive(struct net_backend *b, unsigned int pair,
			      const struct iovec *iov, unsigned int count)
{
	static const uint8_t header[NET_HDR_BYTES];
	struct stream *s = to_stream(b);
	ssize_t len = next_frame(s);
	int ret;

	(void)pair;
	if (len == -EAGAIN) {
		ret = fill(s);
		if (ret)
			return ret;
		len = next_frame(s);
	}
	if (len < 0)
		return len;
	scatter(iov, count, 0, header, NET_HDR_BYTES);
	scatter(iov, count, NET_HDR_BYTES, s->in + s->in_start + LENGTH_BYTES,
		(size_t)len);
	s->in_start += LENGTH_BYTES + (size_t)len;
	return len + (ssize_t)NET_HDR_BYTES;
}

static int stream_flush(struct net_backend *b)
{
	struct stream *s = to_stream(b);

	while (s->out_start < s->out_end) {
		ssize_t n = send(b->fds[0], s->out + s->out_start,
				 s->out_end - s->out_start, MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		s->out_start += (size_t)n;
	}
	return 0;
}

/* The part of a frame that did not fit the socket: the stream needs it. */
static void keep_rest(struct stream *s, unsigned int count, size_t sent)
{
	s->out_start = s->out_end = 0;
	for (unsigned int i = 0; i < count; i++) {
		size_t len = s->iov[i].iov_len;

		if (sent >= len) {
			sent -= len;
			continue;
		}
		memcpy(s->out + s->out_end,
		       (uint8_t *)s->iov[i].iov_base + sent, len - sent);
		s->out_end += len - sent;
		sent = 0;
	}
}

static int stream_send(struct net_backend *b, unsigned int pair,
		       const struct iovec *iov, unsigned int count)
{
	struct stream *s = to_stream(b);
	struct msghdr m = { .msg_iov = s->iov };
	size_t total = 0;
	uint32_t length;
	ssize_t n;

	(void)pair;
	if (s->out_start < s->out_end)
		return -EAGAIN;
	count = 1 + net_iov_skip(s->iov + 1, IOV_MAX - 1, iov, count,
				 NET_HDR_BYTES);
	for (unsigned int i = 1; i < count; i++)
		total += s->iov[i].iov_len;
	if (!total || total > NET_FRAME_MAX)
		return -EMSGSIZE;
	length = htobe32((uint32_t)total);
	s->iov[0] = (struct iovec){ &length, LENGTH_BYTES };
	m.msg_iovlen = count;
	n = sendmsg(b->fds[0], &m, MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	if ((size_t)n == LENGTH_BYTES + total)
		return 0;
	keep_rest(s, count, (size_t)n);
	return 1;
}

static void stream_destroy(struct net_backend *b)
{
	close(b->fds[0]);
	free(b);
}

static const struct net_backend_ops stream_ops = {
	.receive = stream_receive,
	.send = stream_send,
	.flush = stream_flush,
	.destroy = stream_destroy,
};

int net_stream_create(struct net_backend **out, int fd, struct error *e)
{
	struct stream *s = malloc(sizeof(*s));
	int flags = fcntl(fd, F_GETFL);

	if (!s)
		return error_set(e, -ENOMEM, "out of memory");
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC)) {
		free(s);
		return error_errno(e, -errno, "descriptor %d", fd);
	}
	/* The buffers stay untouched, and so take no memory, until used. */
	s->base = (struct net_backend){
		.ops = &stream_ops, .pairs = 1, .fds = { fd },
	};
	s->in_start = s->in_end = s->out_start = s->out_end = 0;
	*out = &s->base;
	return 0;
}

int net_stream_connect(struct net_backend **out, const char *path,
		       struct error *e)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, ret;

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(e, -ENAMETOOLONG, "%s: longer than %zu bytes",
				 path, sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	/* Else it waits for as long as a peer does not accept. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_errno(e, -errno, "socket");
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		ret = error_errno(e, -errno, "%s", path);
	else
		ret = net_stream_create(out, fd, e);
	if (ret)
		close(fd);
	return ret;
}
