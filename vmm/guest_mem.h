/* SPDX-License-Identifier: MIT */
/*
 * The only translator from guest-physical to host addresses.
 *
 * A table of sorted, non-overlapping regions. guest_mem_add() and _remove() are
 * called by the main thread with the vCPUs created or not; every other function
 * may run on any thread at any time and takes no lock: a change publishes a new
 * table atomically, and old tables live until guest_mem_forget(). The memory
 * of a removed region must stay mapped until every device that could hold an
 * address into it is quiesced.
 *
 * Every access checks address and length overflow-safely and returns -EFAULT
 * when any byte is outside guest memory; nothing is then copied. An access may
 * span regions that touch. Addresses are guest-physical, lengths in bytes.
 */
#ifndef MOTE_GUEST_MEM_H
#define MOTE_GUEST_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

typedef uint64_t gpa_t;

struct guest_mem;

struct guest_mem_region {
	gpa_t base;
	uint64_t len_bytes;
	uint8_t *host;		/* not owned */
	bool readonly;
};

/* -ENOMEM */
int guest_mem_create(struct guest_mem **out);
void guest_mem_destroy(struct guest_mem *m);

/* -EEXIST: overlaps another region; -EINVAL: empty or wraps; -ENOMEM */
int guest_mem_add(struct guest_mem *m, gpa_t base, uint64_t len_bytes,
		  void *host);
/* The same, for memory that nothing may be written to: to guest_mem_write(),
 * _zero(), _iov() and _ring() it is not there. */
int guest_mem_add_readonly(struct guest_mem *m, gpa_t base, uint64_t len_bytes,
			   void *host);
/* -ENOENT: no region starts there; -ENOMEM */
int guest_mem_remove(struct guest_mem *m, gpa_t base);

/* Frees old tables. Main thread, while no other is in any function here. */
void guest_mem_forget(struct guest_mem *m);

int guest_mem_read(const struct guest_mem *m, gpa_t gpa, void *buf,
		   size_t len_bytes);
int guest_mem_write(struct guest_mem *m, gpa_t gpa, const void *buf,
		    size_t len_bytes);
int guest_mem_zero(struct guest_mem *m, gpa_t gpa, size_t len_bytes);

/*
 * For payloads: describes [gpa, gpa+len) by at most max iovecs. Returns the
 * number used (0 for len 0), -EFAULT, or -E2BIG when max is too small.
 */
int guest_mem_iov(const struct guest_mem *m, gpa_t gpa, size_t len_bytes,
		  struct iovec *iov, size_t max);
/* For payloads that are only read. */
int guest_mem_iov_read(const struct guest_mem *m, gpa_t gpa, size_t len_bytes,
		       struct iovec *iov, size_t max);

/*
 * For rings and page tables, which must sit in one region: the host address
 * of gpa, valid for len bytes, or NULL. The guest may change the bytes at any
 * time: use atomics or copy.
 */
void *guest_mem_ring(const struct guest_mem *m, gpa_t gpa, size_t len_bytes);

/* True when every byte of the range is guest memory. */
bool guest_mem_valid(const struct guest_mem *m, gpa_t gpa, uint64_t len_bytes);

/*
 * Which pages mote writes to: set while nobody is in any function here, NULL for
 * none. What guest_mem_iov() describes counts as written. Rings do not: that is
 * up to who writes there.
 */
struct guest_mem_log {
	uint64_t pages;			/* from address 0 on */
	_Atomic uint64_t bits[];	/* by any thread */
};

#define GUEST_MEM_LOG_PAGE 4096u

/* Pages up to the log's end. Any thread. */
void guest_mem_log_note(struct guest_mem_log *log, gpa_t gpa,
			uint64_t len_bytes);
void guest_mem_set_log(struct guest_mem *m, struct guest_mem_log *log);
struct guest_mem_log *guest_mem_get_log(const struct guest_mem *m);
/* What somebody has written, or will before the devices are quiet. Any thread;
 * bytes that are no guest memory do not matter. */
void guest_mem_written(const struct guest_mem *m, gpa_t gpa,
		       uint64_t len_bytes);

/* From now on somebody writes who does not tell. Any thread. */
void guest_mem_note_silent(struct guest_mem *m);
bool guest_mem_has_silent(const struct guest_mem *m);

/* Region i in address order, or NULL past the last. */
const struct guest_mem_region *guest_mem_region(const struct guest_mem *m,
						 size_t i);

#endif
