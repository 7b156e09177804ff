/* SPDX-License-Identifier: MIT */
/*
 * A 9P client for unit tests: writes T-messages field by field, or as they
 * like, and reads replies. The server runs on the test's thread; a request that
 * needs a worker is waited for.
 */
#ifndef MOTE_P9_FIXTURE_H
#define MOTE_P9_FIXTURE_H

#include "p9/p9.h"

#define P9_TEST_BYTES	((1u << 20) + 4096)

struct p9_client {
	char dir[128];			/* exported; gone after deinit */
	struct p9_files files;
	struct loop *loop;
	struct p9_export *export;
	struct p9_server *server;
	struct p9_writer t;		/* the message being written */
	struct p9_reader r;		/* behind the header of the last reply */
	uint8_t *request, *reply;	/* P9_TEST_BYTES each */
	size_t reply_room;		/* offered for a reply */
	size_t piece;			/* bytes of an iovec; 0: one for all */
	uint32_t reply_bytes;		/* of the last one */
	uint8_t reply_type;
	uint16_t reply_tag;
	unsigned int ended;		/* done() calls so far */
	bool never_waits;		/* a call that needs a worker fails */
};

/* Makes the directory, then starts (params may be changed in between). */
void p9_client_init(struct p9_client *c, struct p9_params *p);
void p9_client_start(struct p9_client *c, const struct p9_params *p);
/* The server alone, and a new one: as after a reset. */
void p9_client_restart(struct p9_client *c);
void p9_client_deinit(struct p9_client *c);

/* A message: start, p9_put_*() into &c->t, call. */
void p9_start(struct p9_client *c, uint8_t type);
/* 0 and c->r, or -errno out of Rlerror; 1 when there was no reply. */
int p9_call(struct p9_client *c);
/* The bytes of c->request as they are. */
int p9_call_raw(struct p9_client *c, size_t len);

int p9_do_version(struct p9_client *c, uint32_t msize, const char *version);
int p9_do_attach(struct p9_client *c, uint32_t fid, uint32_t uid);
/* Names separated by slashes; "" clones. */
int p9_do_walk(struct p9_client *c, uint32_t fid, uint32_t newfid,
	       const char *path);
int p9_do_lopen(struct p9_client *c, uint32_t fid, uint32_t flags);
int p9_do_lcreate(struct p9_client *c, uint32_t fid, const char *name,
		  uint32_t flags, uint32_t mode);
int p9_do_mkdir(struct p9_client *c, uint32_t fid, const char *name,
		uint32_t mode);
int p9_do_symlink(struct p9_client *c, uint32_t fid, const char *name,
		  const char *target);
int p9_do_mknod(struct p9_client *c, uint32_t fid, const char *name,
		uint32_t mode, uint32_t major, uint32_t minor);
int p9_do_link(struct p9_client *c, uint32_t dir, uint32_t fid,
	       const char *name);
int p9_do_renameat(struct p9_client *c, uint32_t from, const char *old,
		   uint32_t to, const char *name);
int p9_do_rename(struct p9_client *c, uint32_t fid, uint32_t dir,
		 const char *name);
int p9_do_unlinkat(struct p9_client *c, uint32_t dir, const char *name,
		   uint32_t flags);
/* A type and a fid: clunk, remove, readlink, statfs. */
int p9_do_fid(struct p9_client *c, uint8_t type, uint32_t fid);
/* The bytes read, c->r at them; or written. */
int p9_do_read(struct p9_client *c, uint32_t fid, uint64_t offset,
	       uint32_t count);
int p9_do_write(struct p9_client *c, uint32_t fid, uint64_t offset,
		const void *data, uint32_t count);
int p9_do_readdir(struct p9_client *c, uint32_t fid, uint64_t offset,
		  uint32_t count);
int p9_do_fsync(struct p9_client *c, uint32_t fid);
int p9_do_setattr(struct p9_client *c, uint32_t fid, uint32_t valid,
		  uint32_t mode, uint32_t uid, uint32_t gid, uint64_t size);
int p9_do_xattrwalk(struct p9_client *c, uint32_t fid, uint32_t newfid,
		    const char *name);
int p9_do_xattrcreate(struct p9_client *c, uint32_t fid, const char *name,
		      uint64_t size, uint32_t flags);
int p9_do_lock(struct p9_client *c, uint32_t fid, uint8_t type,
	       uint64_t start, uint64_t length, uint32_t process);

struct p9_test_attr {
	struct p9_qid qid;
	uint32_t mode, uid, gid;
	uint64_t nlink, rdev, size;
};
int p9_do_getattr(struct p9_client *c, uint32_t fid, struct p9_test_attr *a);
/* dir/name on the host, in one of a few static buffers. */
const char *p9_host_path(struct p9_client *c, const char *name);
void p9_host_write(struct p9_client *c, const char *name, const char *text);

#endif
