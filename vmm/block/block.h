/* SPDX-License-Identifier: MIT */
/*
 * Disk images: files and host block devices, and the engines that read and
 * write them without blocking a loop. Knows neither virtio nor the guest.
 *
 * A struct block_file is made, resized and closed by the main thread, the last
 * two while nothing is in flight, and may be used by several engines. An engine
 * belongs to one loop: everything about it runs on that loop's thread.
 */
#ifndef MOTE_BLOCK_H
#define MOTE_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "error.h"
#include "loop.h"

#define BLOCK_SECTOR_BYTES 512

struct block_file;

struct block_open_params {
	const char *path;
	bool readonly;		/* never opened for writing */
	bool direct;		/* past the host's page cache */
	bool vhd;		/* a fixed VHD: without its footer */
};

/*
 * Opens and locks an image for one writer or many readers. Its size is rounded
 * down to whole sectors. -EBUSY: locked by someone else; -EINVAL: neither a
 * file nor a block device, smaller than a sector, not a fixed VHD, no direct
 * I/O there; -errno of open().
 */
int block_open(struct block_file **out, const struct block_open_params *p,
	       struct error *e);
void block_close(struct block_file *f);

uint64_t block_size_bytes(const struct block_file *f);
bool block_readonly(const struct block_file *f);
bool block_can_discard(const struct block_file *f);
bool block_can_write_zeroes(const struct block_file *f);

/* What requests should look like, in bytes; 0: unknown. */
struct block_topology {
	uint32_t granule;	/* logical block: 512, or a host device's */
	uint32_t physical;	/* a power of two times granule */
	uint32_t alignment;	/* where the first physical block begins */
	uint32_t min_io, best_io;	/* multiples of granule */
};
const struct block_topology *block_topology(const struct block_file *f);

/*
 * Makes a raw file, or what is used of a block device, that large. -EINVAL: not
 * whole sectors, or more than the device has; -EROFS; -EOPNOTSUPP: a VHD;
 * -errno of ftruncate().
 */
int block_resize(struct block_file *f, uint64_t size_bytes, struct error *e);

enum block_op {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_FLUSH,		/* what has completed before is durable */
	BLOCK_DISCARD,		/* the content becomes undefined */
	BLOCK_WRITE_ZEROES,
};

/* Caller's; stays valid and untouched from submit to done. */
struct block_request {
	enum block_op op;
	bool durable;		/* a write that is durable when it completes */
	bool may_unmap;		/* zeroes may become a hole */
	/* In bytes and inside the image; len is what iov adds up to. Not 0,
	 * except in a flush. */
	uint64_t offset, len_bytes;
	struct iovec *iov;	/* the engine changes it; at most IOV_MAX */
	uint32_t iov_count;
	/* May submit other requests. The request is the caller's again. */
	void (*done)(struct block_request *r);
	int result;		/* 0 or -errno, once done */

	unsigned int step;	/* the engine's, from here on */
	struct block_request *next;
	/* When iov is bounce: the memory behind it, the caller's buffers. */
	struct iovec bounce;
	void *memory;
	size_t memory_bytes;
	struct iovec *bounced;
};

enum block_engine_kind {
	BLOCK_ENGINE_AUTO,	/* io_uring, or threads where it is not allowed */
	BLOCK_ENGINE_URING,
	BLOCK_ENGINE_THREADS,
};

struct block_engine;

/*
 * On the thread that will use it. At most depth requests are in flight at a
 * time. batch_done(opaque) follows one or more done() calls, so that a device
 * notifies once a batch.
 */
int block_engine_create(struct block_engine **out, struct block_file *f,
			struct loop *loop, unsigned int depth,
			enum block_engine_kind kind,
			void (*batch_done)(void *opaque), void *opaque);
/* Nothing may be in flight. */
void block_engine_destroy(struct block_engine *e);
enum block_engine_kind block_engine_kind(const struct block_engine *e);
/* Another image from now on; nothing may be in flight. */
void block_engine_set_file(struct block_engine *e, struct block_file *f);

/* Queues a request; it starts at the next block_engine_kick(). */
void block_engine_submit(struct block_engine *e, struct block_request *r);
/* Starts what is queued; some of it may be done on return. */
void block_engine_kick(struct block_engine *e);
/* Kicks, and waits until nothing is in flight. */
void block_engine_drain(struct block_engine *e);

#endif
