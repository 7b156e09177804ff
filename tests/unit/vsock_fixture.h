/* SPDX-License-Identifier: MIT */
/*
 * A vsock with real Unix sockets on the host's side and the test as its guest.
 * One thread: the loop runs in vf_settle().
 */
#ifndef MOTE_VSOCK_FIXTURE_H
#define MOTE_VSOCK_FIXTURE_H

#include "unit.h"

#include "vsock/vsock.h"

#define GUEST_CID	42u
#define VF_SLOTS	4u
#define VF_ROOM		4096u

struct vf {
	struct loop *loop;
	struct vsock *v;
	char dir[32], path[64];
	unsigned int told;	/* calls of packets() */
	/* The last packet that the guest got, in the host's byte order. */
	uint16_t op, type;
	uint32_t guest_port, host_port, len, flags, buf_alloc, fwd_cnt;
	uint8_t data[VF_SLOTS * VF_ROOM];
	/* Said in every packet of the guest. */
	uint32_t my_buf_alloc, my_fwd_cnt;
	uint16_t my_type;
	/* Fetched, and not taken yet. */
	struct vsock_slot slots[VF_SLOTS];
	struct iovec iov[VF_SLOTS][2];
	uint8_t room[VF_SLOTS][VF_ROOM];
	unsigned int slot_next, slot_count;
};

int vf_setup(void **state);
int vf_teardown(void **state);
/* Lets the loop do all there is to do. */
void vf_settle(struct vf *f);

/* A packet of the guest with len bytes behind it. */
void vf_send(struct vf *f, unsigned int op, uint32_t guest_port,
	     uint32_t host_port, uint32_t flags, const void *data,
	     uint32_t len);
/* The next packet to the guest; false: there is none. */
bool vf_fetch(struct vf *f);
/* The next one must be this. */
void vf_expect(struct vf *f, unsigned int op);
void vf_expect_nothing(struct vf *f);

/* A host program connected to PATH, with this written; its socket. */
int vf_client(struct vf *f, const char *text);
/* The same, as far as "OK": a stream from the guest's port. */
int vf_stream(struct vf *f, uint32_t guest_port);
/* A listening socket at PATH_port. */
int vf_listen(struct vf *f, uint32_t port, int type);
/* What accept() gives; fails the test when nobody is there. */
int vf_accept(int listener);
/* Exactly this must be there to be read; "" is the end of file. */
void vf_expect_host(int fd, const char *text);
void vf_expect_host_quiet(int fd);

#endif
