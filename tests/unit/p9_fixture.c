/* SPDX-License-Identifier: MIT */
/* See p9_fixture.h. */
#include "p9_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#define MAX_PIECES 8192

static void batch_done(void *opaque)
{
	(void)opaque;
}

void p9_client_init(struct p9_client *c, struct p9_params *p)
{
	*c = (struct p9_client){ .reply_room = P9_TEST_BYTES };
	snprintf(c->dir, sizeof(c->dir), "%s/test-p9-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(c->dir));
	c->request = malloc(P9_TEST_BYTES);
	c->reply = malloc(P9_TEST_BYTES);
	assert_non_null(c->request);
	assert_non_null(c->reply);
	assert_int_equal(loop_create(&c->loop), 0);
	p9_files_init(&c->files, 512);
	*p = (struct p9_params){ .path = c->dir, .files = &c->files };
}

void p9_client_start(struct p9_client *c, const struct p9_params *p)
{
	struct error e;

	if (p9_export_open(&c->export, p, &e))
		fail_msg("%s", e.text);
	assert_int_equal(p9_server_create(&c->server, c->export, c->loop,
					  batch_done, c), 0);
}

void p9_client_restart(struct p9_client *c)
{
	p9_server_destroy(c->server);
	assert_int_equal(p9_server_create(&c->server, c->export, c->loop,
					  batch_done, c), 0);
}

static int remove_one(const char *path, const struct stat *st, int flag,
		      struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void p9_client_deinit(struct p9_client *c)
{
	p9_server_destroy(c->server);
	p9_export_close(c->export);
	loop_destroy(c->loop);
	nftw(c->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(c->request);
	free(c->reply);
}

void p9_start(struct p9_client *c, uint8_t type)
{
	c->t = (struct p9_writer){ .data = c->request,
				   .size_bytes = P9_TEST_BYTES };
	p9_put_u32(&c->t, 0);
	p9_put_u8(&c->t, type);
	p9_put_u16(&c->t, 1);
}

struct call {
	struct p9_request request;
	struct p9_client *client;
	bool done;
};

static void call_done(struct p9_request *r, uint32_t bytes)
{
	struct call *call = (struct call *)r;

	assert_false(call->done);
	call->done = true;
	call->client->reply_bytes = bytes;
	call->client->ended++;
}

static size_t cut(struct iovec *iov, uint8_t *data, size_t len, size_t piece)
{
	size_t n = 0;

	if (!piece || len / piece >= MAX_PIECES)
		piece = len ? len : 1;
	for (size_t at = 0; at < len; at += piece)
		iov[n++] = (struct iovec){
			data + at, len - at < piece ? len - at : piece };
	return n;
}

int p9_call_raw(struct p9_client *c, size_t len)
{
	static struct iovec out[MAX_PIECES], in[MAX_PIECES];
	struct call call = { .client = c };
	uint32_t size;

	call.request.out = out;
	call.request.out_count = cut(out, c->request, len, c->piece);
	call.request.out_bytes = len;
	call.request.in = in;
	call.request.in_count = cut(in, c->reply, c->reply_room, c->piece);
	call.request.in_bytes = c->reply_room;
	call.request.done = call_done;
	p9_server_submit(c->server, &call.request);
	assert_true(call.done || !c->never_waits);
	if (!call.done)
		p9_server_drain(c->server);
	assert_true(call.done);
	c->r = (struct p9_reader){ .data = c->reply,
				   .len_bytes = c->reply_bytes };
	if (!c->reply_bytes)
		return 1;
	size = p9_get_u32(&c->r);
	c->reply_type = p9_get_u8(&c->r);
	c->reply_tag = p9_get_u16(&c->r);
	assert_int_equal(size, c->reply_bytes);
	assert_true(size <= c->reply_room);
	return c->reply_type == P9_RLERROR ? -(int)p9_get_u32(&c->r) : 0;
}

int p9_call(struct p9_client *c)
{
	struct p9_writer size = { .data = c->request, .size_bytes = 4 };
	int ret;

	assert_int_equal(c->t.error, 0);
	p9_put_u32(&size, (uint32_t)c->t.len_bytes);
	ret = p9_call_raw(c, c->t.len_bytes);
	if (!ret)
		assert_int_equal(c->reply_type, c->request[4] + 1);
	return ret;
}

int p9_do_version(struct p9_client *c, uint32_t msize, const char *version)
{
	p9_start(c, P9_TVERSION);
	p9_put_u32(&c->t, msize);
	p9_put_string(&c->t, version);
	return p9_call(c);
}

int p9_do_attach(struct p9_client *c, uint32_t fid, uint32_t uid)
{
	p9_start(c, P9_TATTACH);
	p9_put_u32(&c->t, fid);
	p9_put_u32(&c->t, P9_NOFID);
	p9_put_string(&c->t, "");
	p9_put_string(&c->t, "");
	p9_put_u32(&c->t, uid);
	return p9_call(c);
}

int p9_do_walk(struct p9_client *c, uint32_t fid, uint32_t newfid,
	       const char *path)
{
	char names[4096], *next = names, *name;
	struct p9_writer count;
	uint16_t n = 0;

	snprintf(names, sizeof(names), "%s", path);
	p9_start(c, P9_TWALK);
	p9_put_u32(&c->t, fid);
	p9_put_u32(&c->t, newfid);
	count = (struct p9_writer){ .data = c->t.data + c->t.len_bytes,
				    .size_bytes = 2 };
	p9_put_u16(&c->t, 0);
	while (*path && (name = strsep(&next, "/"))) {
		p9_put_string(&c->t, name);
		n++;
	}
	p9_put_u16(&count, n);
	return p9_call(c);
}

int p9_do_lopen(struct p9_client *c, uint32_t fid, uint32_t flags)
{
	p9_start(c, P9_TLOPEN);
	p9_put_u32(&c->t, fid);
	p9_put_u32(&c->t, flags);
	return p9_call(c);
}

int p9_do_lcreate(struct p9_client *c, uint32_t fid, const char *name,
		  uint32_t flags, uint32_t mode)
{
	p9_start(c, P9_TLCREATE);
	p9_put_u32(&c->t, fid);
	p9_put_string(&c->t, name);
	p9_put_u32(&c->t, flags);
	p9_put_u32(&c->t, mode);
	p9_put_u32(&c->t, getegid());
	return p9_call(c);
}

int p9_do_mkdir(struct p9_client *c, uint32_t fid, const char *name,
		uint32_t mode)
{
	p9_start(c, P9_TMKDIR);
	p9_put_u32(&c->t, fid);
	p9_put_string(&c->t, name);
	p9_put_u32(&c->t, mode);
	p9_put_u32(&c->t, getegid());
	return p9_call(c);
}

int p9_do_symlink(struct p9_client *c, uint32_t fid, const char *name,
		  const char *target)
{
	p9_start(c, P9_TSYMLINK);
	p9_put_u32(&c->t, fid);
	p9_put_string(&c->t, name);
	p9_put_string(&c->t, target);
	p9_put_u32(&c->t, getegid());
	return p9_call(c);
}

int p9_do_mknod(struct p9_client *c, uint32_t fid, const char *name,
		uint32_t mode, uint32_t major, uint32_t minor)
{
	p9_start(c, P9_TMKNOD);
	p9_put_u32(&c->t, fid);
	p9_put_string(&c->t, name);
	p9_put_u32(&c->t, mode);
	p9_put_u32(&c->t, major);
	p9_put_u32(&c->t, minor);
	p9_put_u32(&c->t, getegid());
	return p9_call(c);
}

int p9_do_link(struct p9_client *c, uint32_t dir, uint32_t fid,
	       const char *name)
{
	p9_start(c, P9_TLINK);
	p9_put_u32(&c->t, dir);
	p9_put_u32(&c->t, fid);
	p9_put_string(&c->t, name);
	return p9_call(c);
}

int p9_do_renameat(struct p9_client *c, uint32_t from, const char *old,
		   uint32_t to, const char *name)
{
	p9_start(c, P9_TRENAMEAT);
	p9_put_u32(&c->t, from);
	p9_put_string(&c->t, old);
	p9_put_u32(&c->t, to);
	p9_put_string(&c->t, name);
	return p9_call(c);
}

int p9_do_rename(struct p9_client *c, uint32_t fid, uint32_t dir,
		 const char *name)
{
	p9_start(c, P9_TRENAME);
	p9_put_u32(&c->t, fid);
	p9_put_u32(&c->t, dir);
	p9_put_string(&c->t, name);
	return p9_call(c);
}

int p9_do_unlinkat(struct p9_client *c, uint32_t dir, const char *name,
		   uint32_t flags)
{
	p9_start(c, P9_TUNLINKAT);
	p9_put_u32(&c->t, dir);
	p9_put_string(&c->t, name);
	p9_put_u32(&c->t, flags);
	return p9_call(c);
}

int p9_do_fid(struct p9_client *c, uint8_t type, uint32_t fid)
{
	p9_start(c, type);
	p9_put_u32(&c->t, fid);
	return p9_call(c);
}

static int count_call(struct p9_client *c)
{
	int ret = p9_call(c);

	return ret ? ret : (int)p9_get_u32(&c->r);
}

int p9_do_read(struct p9_client *c, uint32_t fid, uint64_t offset,
	       uint32_t count)
{
	p9_start(c, P9_TREAD);
	p9_put_u32(&c->t, fid);
	p9_put_u64(&c->t, offset);
	p9_put_u32(&c->t, count);
	return count_call(c);
}

int p9_do_write(struct p9_client *c, uint32_t fid, uint64_t offset,
		const void *data, uint32_t count)
{
	p9_start(c, P9_TWRITE);
	p9_put_u32(&c->t, fid);
	p9_put_u64(&c->t, offset);
	p9_put_u32(&c->t, count);
	p9_put_bytes(&c->t, data, count);
	return count_call(c);
}

int p9_do_readdir(struct p9_client *c, uint32_t fid, uint64_t offset,
		  uint32_t count)
{
	p9_start(c, P9_TREADDIR);
	p9_put_u32(&c->t, fid);
	p9_put_u64(&c->t, offset);
	p9_put_u32(&c->t, count);
	return count_call(c);
}

int p9_do_fsync(struct p9_client *c, uint32_t fid)
{
	p9_start(c, P9_TFSYNC);
	p9_put_u32(&c->t, fid);
	p9_put_u32(&c->t, 0);
	return p9_call(c);
}

int p9_do_setattr(struct p9_client *c, uint32_t fid, uint32_t valid,
		  uint32_t mode, uint32_t uid, uint32_t gid, uint64_t size)
{
	p9_start(c, P9_TSETATTR);
	p9_put_u32(&c->t, fid);
	p9_put_u32(&c->t, valid);
	p9_put_u32(&c->t, mode);
	p9_put_u32(&c->t, uid);
	p9_put_u32(&c->t, gid);
	p9_put_u64(&c->t, size);
	for (int i = 0; i < 4; i++)
		p9_put_u64(&c->t, 1000);
	return p9_call(c);
}

int p9_do_xattrwalk(struct p9_client *c, uint32_t fid, uint32_t newfid,
		    const char *name)
{
	int ret;

	p9_start(c, P9_TXATTRWALK);
	p9_put_u32(&c->t, fid);
	p9_put_u32(&c->t, newfid);
	p9_put_string(&c->t, name);
	ret = p9_call(c);
	return ret ? ret : (int)p9_get_u64(&c->r);
}

int p9_do_xattrcreate(struct p9_client *c, uint32_t fid, const char *name,
		      uint64_t size, uint32_t flags)
{
	p9_start(c, P9_TXATTRCREATE);
	p9_put_u32(&c->t, fid);
	p9_put_string(&c->t, name);
	p9_put_u64(&c->t, size);
	p9_put_u32(&c->t, flags);
	return p9_call(c);
}

int p9_do_lock(struct p9_client *c, uint32_t fid, uint8_t type,
	       uint64_t start, uint64_t length, uint32_t process)
{
	int ret;

	p9_start(c, P9_TLOCK);
	p9_put_u32(&c->t, fid);
	p9_put_u8(&c->t, type);
	p9_put_u32(&c->t, 0);
	p9_put_u64(&c->t, start);
	p9_put_u64(&c->t, length);
	p9_put_u32(&c->t, process);
	p9_put_string(&c->t, "client");
	ret = p9_call(c);
	return ret ? ret : p9_get_u8(&c->r);
}

int p9_do_getattr(struct p9_client *c, uint32_t fid, struct p9_test_attr *a)
{
	int ret;

	p9_start(c, P9_TGETATTR);
	p9_put_u32(&c->t, fid);
	p9_put_u64(&c->t, P9_ATTR_BASIC);
	ret = p9_call(c);
	if (ret)
		return ret;
	p9_get_u64(&c->r);
	a->qid.type = p9_get_u8(&c->r);
	a->qid.version = p9_get_u32(&c->r);
	a->qid.path = p9_get_u64(&c->r);
	a->mode = p9_get_u32(&c->r);
	a->uid = p9_get_u32(&c->r);
	a->gid = p9_get_u32(&c->r);
	a->nlink = p9_get_u64(&c->r);
	a->rdev = p9_get_u64(&c->r);
	a->size = p9_get_u64(&c->r);
	return 0;
}

const char *p9_host_path(struct p9_client *c, const char *name)
{
	static char paths[4][512];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", c->dir, name);
	return path;
}

void p9_host_write(struct p9_client *c, const char *name, const char *text)
{
	int fd = open(p9_host_path(c, name), O_CREAT | O_WRONLY | O_TRUNC,
		      0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}
