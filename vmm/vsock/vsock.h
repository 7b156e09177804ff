/* SPDX-License-Identifier: MIT */
/*
 * The host's end of a VM's vsock (VIRTIO 1.2, 5.10): packets of the guest become
 * Unix sockets and back. It knows neither rings nor guest addresses; a transport
 * hands packets in with vsock_receive() and fetches them with vsock_fill().
 *
 * A host program connects to PATH, writes "CONNECT <port>\n" and reads
 * "OK <host port>\n": a stream to the guest's port. A guest that connects to
 * CID 2, port P reaches the Unix socket PATH_P, stream or seqpacket, or what a
 * service says.
 *
 * Everything the guest sends is hostile: it can end its own streams only. What
 * is held for all streams together is bounded (VSOCK_POOL_BYTES), and so is
 * their number.
 *
 * Threads: create, destroy and the services are the main thread's; all else
 * runs on the loop.
 */
#ifndef MOTE_VSOCK_H
#define MOTE_VSOCK_H

#include <linux/virtio_vsock.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "error.h"
#include "loop.h"

#define VSOCK_HOST_CID		2u
#define VSOCK_MAX_CONNECTIONS	2048u
#define VSOCK_POOL_BYTES	(128u << 20)
#define VSOCK_MAX_SERVICES	1024u
#define VSOCK_MAX_UIDS		64u

struct vsock;

struct vsock_params {
	uint32_t guest_cid;
	const char *path;	/* NULL: only services reach the host */
	struct loop *loop;
	/* There is something for vsock_fill(); never from within a call. */
	void (*packets)(void *opaque);
	void *opaque;
};

/* Listens at the path; listener_open() has the errors. */
int vsock_create(struct vsock **out, const struct vsock_params *p,
		 struct error *e);
/* Host programs see the end of their streams. NULL is fine. */
void vsock_destroy(struct vsock *v);

/* A driver is there. Until then, and after a reset, all is refused. */
void vsock_start(struct vsock *v, bool seqpacket);
/* It is gone: host programs see the end of their streams. */
void vsock_reset(struct vsock *v);

/* False: answers to the guest have piled up; fetch some first (5.10.6.1). */
bool vsock_can_receive(const struct vsock *v);
/*
 * A packet of the guest; iov: the bytes behind the header, however many there
 * are, read here and not kept; the array may be changed. What is malformed is
 * answered with a reset.
 */
void vsock_receive(struct vsock *v, const struct virtio_vsock_hdr *h,
		   struct iovec *iov, unsigned int count);

/* Room for one packet to the guest. */
struct vsock_slot {
	struct virtio_vsock_hdr hdr;	/* filled in */
	uint32_t len_bytes;		/* filled in: payload */
	const struct iovec *iov;	/* where the payload goes */
	unsigned int count;		/* at most VSOCK_SLOT_IOVS */
	uint32_t room_bytes;		/* at least 1 */
};

#define VSOCK_SLOT_IOVS	512u

bool vsock_has_packets(const struct vsock *v);
/* Fills the first of count slots, which may be several; returns how many. */
unsigned int vsock_fill(struct vsock *v, struct vsock_slot *const *slots,
			unsigned int count);

/* What is known of a port besides that PATH_port may be listened on. */
struct vsock_service {
	uint32_t port;
	const char *path;	/* where the guest gets to; NULL: PATH_port */
	bool once;		/* for one connection of the guest */
	bool disabled;		/* nobody connects, neither way */
	const uid_t *uids;	/* host peers allowed, when uid_count */
	size_t uid_count;
};

/* AlreadySet: the port has a service, and it is not one used up (once). */
int vsock_listen(struct vsock *v, const struct vsock_service *s,
		 struct error *e);
/*
 * Creates the service or replaces it; one that exists is removed by a disabled
 * one without path, uids and once. Streams go on.
 */
int vsock_service_set(struct vsock *v, const struct vsock_service *s,
		      struct error *e);
/* Also when there is none: the port is then as at the start. */
void vsock_service_remove(struct vsock *v, uint32_t port);

#endif
