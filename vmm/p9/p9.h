/* SPDX-License-Identifier: MIT */
/*
 * A 9P2000.L server for one host directory. It knows neither virtio nor guest
 * memory: a request comes as two iovec arrays, the T-message's bytes and the
 * room for the reply, and is completed by a callback.
 *
 * An export is made by the main thread and outlives its servers. A server is
 * one session with one client; all its functions are called on its loop's
 * thread, which is no other device's: calls that are quick on a local file
 * system are made there, the others on worker threads (p9/pool.h). Fids and
 * everything else of a server belong to that one thread and need no lock.
 *
 * Confinement: a path is taken one component at a time, with openat2() and
 * RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS, from a descriptor of the directory; a
 * symlink is never followed, and nothing but regular files and directories is
 * opened. What a fid names it holds by descriptor, so it survives any rename.
 *
 * Errors of requests go to the client as Rlerror; set-up fills struct error.
 */
#ifndef MOTE_P9_H
#define MOTE_P9_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "error.h"
#include "loop.h"
#include "p9/codec.h"
#include "p9/pool.h"
#include "p9/proto.h"

struct p9_export;
struct p9_server;
struct p9_file;
struct state_reader;
struct state_writer;

/*
 * Descriptors that fids may hold, of all exports together and each its equal part
 * of them, but 32 in any case; beyond, those of fids that are not open are closed
 * and found again by path. The members are p9/'s own.
 */
struct p9_files {
	unsigned int max;
	atomic_uint held, exports;
};

static inline void p9_files_init(struct p9_files *f, unsigned int max)
{
	*f = (struct p9_files){ .max = max };
}

struct p9_params {
	const char *path;
	bool readonly;		/* every mutation fails with EROFS */
	/*
	 * Owner, mode and device number are kept in a user xattr and symlinks and
	 * special files are regular files: for those who may not chown() or
	 * mknod(). Else they are the host's, for root.
	 */
	bool mapped;
	/* The only names there are in path itself; count 0: all. Copied. */
	char *const *allowed;
	size_t allowed_count;
	uint32_t msize;		/* the largest offered; 0: P9_MAX_MSIZE */
	struct p9_files *files;	/* outlives the export */
};

/*
 * Opens the directory. ERROR_INVALID_CONFIG: it is not there, is none, may not
 * be read; ERROR_GENERIC: the host has no openat2() or no /proc.
 */
int p9_export_open(struct p9_export **out, const struct p9_params *p,
		   struct error *e);
void p9_export_close(struct p9_export *x);

/*
 * A request. The caller fills the first part, which stays its own, and leaves
 * everything alone until done; the iovecs are changed meanwhile.
 */
struct p9_request {
	struct iovec *out;	/* the T-message */
	size_t out_count, out_bytes;
	struct iovec *in;	/* for the R-message */
	size_t in_count, in_bytes;
	/*
	 * Called once, inside p9_server_submit() or later. 0 bytes: no reply: the
	 * request was cancelled by a Tflush, or nothing fits.
	 */
	void (*done)(struct p9_request *r, uint32_t reply_bytes);

	/* The server's. */
	struct p9_server *server;
	struct p9_job job;
	struct p9_request *next, **link;	/* in flight */
	struct p9_request *flushes, *next_flush; /* Tflushes that wait for it */
	struct p9_file *file;
	struct p9_slice slice;
	uint64_t offset;
	uint32_t count;			/* bytes wanted; Tfsync: data only */
	uint32_t payload_bytes;		/* of the reply, in place already */
	int result;
	uint16_t tag;
	uint8_t type;
};

/* batch_done: after the done()s of requests that ended later. -ENOMEM, -EMFILE,
 * -errno of the loop. The thread's umask becomes its own. */
int p9_server_create(struct p9_server **out, struct p9_export *x,
		     struct loop *loop, void (*batch_done)(void *opaque),
		     void *opaque);
/* Finishes what is in flight. NULL is fine. */
void p9_server_destroy(struct p9_server *s);

void p9_server_submit(struct p9_server *s, struct p9_request *r);
/* Waits for all that is in flight and calls every done(). */
void p9_server_drain(struct p9_server *s);

/* The session: fids by path, open mode and position; locks. Drained. */
void p9_server_save(struct p9_server *s, struct state_writer *w);
/*
 * Into a new server. A file that is not there any more makes its fid answer
 * ESTALE, and its locks are gone. -EBUSY: somebody else has locked what the guest
 * had. -EPROTO, -EINVAL, -ENODATA, -ENOMEM, -ENOLCK.
 */
int p9_server_load(struct p9_server *s, struct state_reader *r,
		   struct error *e);

#endif
