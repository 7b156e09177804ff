/* SPDX-License-Identifier: MIT */
/* Between engine.c and the engines. Everything runs on the engine's loop, but
 * for what is said to run anywhere. */
#ifndef MOTE_BLOCK_ENGINE_H
#define MOTE_BLOCK_ENGINE_H

#include <sys/types.h>

#include "block/block.h"
#include "block/file.h"

struct block_engine_ops {
	enum block_engine_kind kind;
	void (*submit)(struct block_engine *e, struct block_request *r);
	void (*kick)(struct block_engine *e);
	/* Waits for at least one completion. */
	void (*wait)(struct block_engine *e);
	/* e->file has changed; may be NULL. */
	void (*file_changed)(struct block_engine *e);
	void (*destroy)(struct block_engine *e);
};

/* Embedded as the first member of an engine. */
struct block_engine {
	const struct block_engine_ops *ops;
	struct block_file *file;
	struct loop *loop;
	unsigned int depth;
	unsigned int in_flight;
	void (*batch_done)(void *opaque);
	void *opaque;
};

int block_uring_create(struct block_engine **out, struct block_file *f,
		       struct loop *loop, unsigned int depth);
int block_threads_create(struct block_engine **out, struct loop *loop);

/*
 * These three on any thread, for a request that only that thread touches. The
 * fallocate() mode of a discard's or write-zeroes' present step;
 */
int block_request_mode(const struct block_request *r);
/* whether what is left of it goes to the file's direct_fd; */
bool block_request_is_direct(const struct block_file *f,
			     const struct block_request *r);
/*
 * and, after a system call that returned res (or -errno): true when the request
 * is finished and ->result set, else it is to be issued again.
 */
bool block_request_advance(struct block_request *r, ssize_t res);

/* Hands a finished request back. */
void block_request_done(struct block_engine *e, struct block_request *r);

#endif
