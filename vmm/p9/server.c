/* SPDX-License-Identifier: MIT */
/* From a T-message to its operation and back. The server's thread. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "p9/internal.h"

/* A kind of message: what handles it, and the least that its reply takes. */
static const struct {
	p9_op *run;
	uint16_t reply_bytes;	/* without the header */
	bool mutates;		/* refused by a read-only export */
} ops[P9_TYPES] = {
	[P9_TSTATFS] = { p9_statfs, 60, false },
	[P9_TLOPEN] = { p9_lopen, 17, false },
	[P9_TLCREATE] = { p9_lcreate, 17, true },
	[P9_TSYMLINK] = { p9_symlink, 13, true },
	[P9_TMKNOD] = { p9_mknod, 13, true },
	[P9_TRENAME] = { p9_rename, 0, true },
	[P9_TREADLINK] = { p9_readlink, 2, false },
	[P9_TGETATTR] = { p9_getattr, 153, false },
	[P9_TSETATTR] = { p9_setattr, 0, true },
	[P9_TXATTRWALK] = { p9_xattrwalk, 8, false },
	[P9_TXATTRCREATE] = { p9_xattrcreate, 0, true },
	[P9_TREADDIR] = { p9_readdir, 4, false },
	[P9_TFSYNC] = { p9_fsync, 0, false },
	[P9_TLOCK] = { p9_lock, 1, false },
	[P9_TGETLOCK] = { p9_getlock, 23, false },
	[P9_TLINK] = { p9_link, 0, true },
	[P9_TMKDIR] = { p9_mkdir, 13, true },
	[P9_TRENAMEAT] = { p9_renameat, 0, true },
	[P9_TUNLINKAT] = { p9_unlinkat, 0, true },
	[P9_TVERSION] = { p9_version, 14, false },
	[P9_TAUTH] = { p9_auth, 13, false },
	[P9_TATTACH] = { p9_attach, 13, false },
	[P9_TFLUSH] = { p9_flush, 0, false },
	[P9_TWALK] = { p9_walk, 2, false },
	[P9_TREAD] = { p9_read, 4, false },
	[P9_TWRITE] = { p9_write, 4, false },
	[P9_TCLUNK] = { p9_clunk, 0, false },
	[P9_TREMOVE] = { p9_remove, 0, false },
};

/* A request leaves: its reply, then those of the Tflushes that waited. */
static void reply(struct p9_request *r, int result, struct p9_writer *body)
{
	uint8_t header[P9_ERROR_BYTES];
	struct p9_writer w = { .data = header, .size_bytes = sizeof(header) };
	size_t len = body ? body->len_bytes : 0;
	uint64_t total = P9_HEADER_BYTES + (uint64_t)len + r->payload_bytes;

	if (!result && body && body->error)
		result = body->error;
	if (!result && total > r->in_bytes)
		result = -EMSGSIZE;
	if (result)
		total = P9_ERROR_BYTES;
	p9_put_u32(&w, (uint32_t)total);
	p9_put_u8(&w, result ? P9_RLERROR : r->type + 1);
	p9_put_u16(&w, r->tag);
	if (result)
		p9_put_u32(&w, (uint32_t)-result);
	if (total > r->in_bytes)
		total = 0;
	if (total)
		p9_iov_write(r->in, r->in_count, 0, header, w.len_bytes);
	if (total && !result && len)
		p9_iov_write(r->in, r->in_count, P9_HEADER_BYTES, body->data,
			     len);
	r->done(r, (uint32_t)total);
}

static void finish(struct p9_request *r, int result, struct p9_writer *body)
{
	struct p9_request *flush = r->flushes, *next;

	reply(r, result, body);
	for (; flush; flush = next) {
		next = flush->next_flush;
		p9_request_end(flush, 0, NULL);
	}
}

static void track(struct p9_server *s, struct p9_request *r)
{
	r->next = s->in_flight;
	r->link = &s->in_flight;
	if (r->next)
		r->next->link = &r->next;
	s->in_flight = r;
}

static void untrack(struct p9_request *r)
{
	*r->link = r->next;
	if (r->next)
		r->next->link = r->link;
}

void p9_request_end(struct p9_request *r, int result, struct p9_writer *out)
{
	untrack(r);
	finish(r, result, out);
}

/* A cancelled request gets no reply, as if it had never come. */
static void cancel(struct p9_request *r)
{
	p9_slice_undo(&r->slice);
	p9_file_put(r->server, r->file);
	untrack(r);
	r->done(r, 0);
}

/*
 * flush(5): nothing happens for the old request after Rflush. What no worker has
 * begun is taken back; for what runs the Tflush waits.
 */
int p9_flush(struct p9_request *r, struct p9_reader *in, struct p9_writer *out)
{
	struct p9_server *s = r->server;
	uint16_t tag = p9_get_u16(in);
	struct p9_request *old = s->in_flight;

	(void)out;
	if (in->error)
		return in->error;
	while (old && old->tag != tag)
		old = old->next;
	if (!old)
		return 0;
	if (!old->flushes && p9_pool_cancel(s->pool, &old->job)) {
		cancel(old);
		return 0;
	}
	/* In the order they came: the last one waits longest. */
	for (struct p9_request **at = &old->flushes;;
	     at = &(*at)->next_flush) {
		if (*at)
			continue;
		*at = r;
		break;
	}
	return P9_PENDING;
}

/* Reads the header: 0, or why the message is none. */
static int parse_header(struct p9_request *r, struct p9_reader *in)
{
	struct p9_server *s = r->server;
	uint32_t size, limit = s->msize ? s->msize : P9_HEAD_BYTES;

	in->data = s->head;
	in->len_bytes = p9_iov_read(r->out, r->out_count, 0, s->head,
				    P9_HEAD_BYTES);
	size = p9_get_u32(in);
	r->type = p9_get_u8(in);
	r->tag = p9_get_u16(in);
	if (in->error)
		return in->error;
	if (size < P9_HEADER_BYTES || size > r->out_bytes)
		return -EBADMSG;
	if (size > limit)
		return -EMSGSIZE;
	if (in->len_bytes > size)
		in->len_bytes = size;
	r->out_bytes = size;
	return 0;
}

static int check(struct p9_request *r)
{
	const struct p9_server *s = r->server;

	if (r->type >= P9_TYPES || !ops[r->type].run)
		return -EOPNOTSUPP;
	if (!s->msize && r->type != P9_TVERSION)
		return -EPROTO;
	/* Before anything is done that could not be answered. */
	if (r->in_bytes < P9_HEADER_BYTES + (size_t)ops[r->type].reply_bytes)
		return -EMSGSIZE;
	if (s->x->readonly && ops[r->type].mutates)
		return -EROFS;
	return 0;
}

void p9_server_submit(struct p9_server *s, struct p9_request *r)
{
	struct p9_reader in = { 0 };
	struct p9_writer out = { .data = s->reply,
				 .size_bytes = P9_BUFFER_BYTES };
	int ret;

	r->server = s;
	r->flushes = r->next_flush = NULL;
	r->file = NULL;
	r->slice.count = 0;
	r->payload_bytes = 0;
	r->tag = UINT16_MAX;
	ret = parse_header(r, &in);
	if (!ret)
		ret = check(r);
	if (!ret)
		ret = ops[r->type].run(r, &in, &out);
	if (ret == P9_PENDING) {
		track(s, r);
		/* A Tflush hangs on the request that it waits for. */
		if (r->type != P9_TFLUSH)
			p9_pool_submit(s->pool, &r->job);
		return;
	}
	finish(r, ret, &out);
}

void p9_server_drain(struct p9_server *s)
{
	p9_pool_drain(s->pool);
}

/*
 * The mode of what the guest makes is the guest's to say. The umask is of all
 * threads that share it, so this one gets its own; where that is forbidden, what
 * it takes away is given back (p9_set_created()).
 */
static mode_t take_umask(void)
{
	mode_t mask;

	if (!unshare(CLONE_FS)) {
		umask(0);
		return 0;
	}
	mask = umask(077);
	umask(mask);
	return mask;
}

int p9_server_create(struct p9_server **out, struct p9_export *x,
		     struct loop *loop, void (*batch_done)(void *opaque),
		     void *opaque)
{
	struct p9_server *s = calloc(1, sizeof(*s));
	int ret = -ENOMEM;

	if (!s)
		return ret;
	s->x = x;
	s->head = malloc(P9_HEAD_BYTES);
	/* Large enough that pages which no reply has used are not there. */
	s->reply = malloc(P9_BUFFER_BYTES);
	s->dents = malloc(P9_BUFFER_BYTES);
	if (s->head && s->reply && s->dents)
		ret = p9_pool_create(&s->pool, loop, batch_done, opaque);
	if (ret) {
		p9_server_destroy(s);
		return ret;
	}
	s->umask = take_umask();
	*out = s;
	return 0;
}

void p9_server_destroy(struct p9_server *s)
{
	if (!s)
		return;
	p9_pool_destroy(s->pool);
	p9_fids_clear(s);
	p9_file_put(s, s->root);
	free(s->prefixes);
	free(s->dents);
	free(s->reply);
	free(s->head);
	free(s);
}
