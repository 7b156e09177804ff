/* SPDX-License-Identifier: MIT */
/*
 * The virtio device of a 9P share: descriptor chains to and from requests
 * (p9/p9.h). Creation and destruction on the main thread, the configuration space
 * under the machine lock, the rest on the device's loop.
 */
#include "virtio/9p.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_9p.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "p9/p9.h"
#include "state.h"

#define QUEUE_SIZE	256
#define IOV_MAX_CHAIN	(QUEUE_SIZE + VIRTQ_IOV_SLACK)
/* Requests in flight; more than Linux's client ever has. */
#define SLOTS		128
#define MAX_ALLOWED	1024
#define SLOTS_BYTES	(SLOTS * sizeof(struct slot))

struct slot {
	struct p9_request request;
	struct virtio_9p *owner;
	struct slot *next_free;
	uint16_t head;
	struct iovec iov[IOV_MAX_CHAIN];
};

struct virtio_9p {
	struct virtio_device dev;
	struct iothread *thread;
	struct p9_export *export;
	struct p9_server *server;	/* while active */
	struct slot *slots;		/* mapped while active, as is what follows */
	struct slot *free;
	unsigned int fresh;		/* slots never used yet start here */
	bool stalled;			/* the queue waits for a slot */
	bool stopped;
	uint8_t config[2 + CONFIG_TAG_MAX];
};

static struct virtio_9p *to_9p(struct virtio_device *d)
{
	return (struct virtio_9p *)d;
}

static struct slot *slot_get(struct virtio_9p *v)
{
	struct slot *slot = v->free;

	if (slot)
		v->free = slot->next_free;
	else if (v->fresh < SLOTS)
		slot = &v->slots[v->fresh++];
	return slot;
}

static void slot_put(struct virtio_9p *v, struct slot *slot)
{
	slot->next_free = v->free;
	v->free = slot;
}

static void request_done(struct p9_request *r, uint32_t reply_bytes)
{
	struct slot *slot = (struct slot *)r;

	virtqueue_push(virtio_vq(&slot->owner->dev, 0), slot->head,
		       reply_bytes);
	slot_put(slot->owner, slot);
}

/* Takes one chain: 1, 0: none there, -ENOSPC: no slot, -EPROTO. */
static int take(struct virtio_9p *v)
{
	struct slot *slot = slot_get(v);
	struct virtq_chain c;
	int ret;

	if (!slot)
		return -ENOSPC;
	c.iov = slot->iov;
	c.iov_max = IOV_MAX_CHAIN;
	ret = virtqueue_pop(virtio_vq(&v->dev, 0), &c);
	if (ret <= 0) {
		slot_put(v, slot);
		return ret;
	}
	slot->owner = v;
	slot->head = c.head;
	slot->request = (struct p9_request){
		.out = slot->iov,
		.out_count = c.readable,
		.out_bytes = c.readable_bytes,
		.in = slot->iov + c.readable,
		.in_count = c.writable,
		.in_bytes = c.writable_bytes,
		.done = request_done,
	};
	p9_server_submit(v->server, &slot->request);
	return 1;
}

static void p9_handle_queue(struct virtio_device *d, unsigned int index)
{
	struct virtio_9p *v = to_9p(d);
	struct virtqueue *vq = virtio_vq(d, index);
	unsigned int budget = virtqueue_size(vq);
	int ret = 0;

	if (v->stopped || !budget)
		return;
	virtqueue_disarm(vq);
	while (budget) {
		ret = take(v);
		if (ret == 1) {
			budget--;
			/* The client may go on while the next one is served. */
			virtio_queue_flush(d, index);
		} else if (ret || !virtqueue_arm(vq)) {
			break;
		}
	}
	if (!budget)
		virtio_queue_again(d, index);
	else if (ret == -EPROTO)
		virtio_device_broken(d);
	v->stalled = ret == -ENOSPC;
	virtio_queue_flush(d, index);
}

static void batch_done(void *opaque)
{
	struct virtio_9p *v = opaque;

	virtio_queue_flush(&v->dev, 0);
	if (v->stalled)
		p9_handle_queue(&v->dev, 0);
}

static void release(struct virtio_9p *v)
{
	p9_server_destroy(v->server);
	v->server = NULL;
	if (v->slots)
		munmap(v->slots, SLOTS_BYTES);
	v->slots = v->free = NULL;
	v->fresh = 0;
	v->stalled = false;
}

static int p9_activate(struct virtio_device *d)
{
	struct virtio_9p *v = to_9p(d);
	void *slots = mmap(NULL, SLOTS_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int ret;

	if (slots == MAP_FAILED)
		return -ENOMEM;
	v->slots = slots;
	ret = p9_server_create(&v->server, v->export, d->loop, batch_done, v);
	if (ret) {
		release(v);
		return ret;
	}
	v->stopped = d->quiesced;
	return 0;
}

static void p9_quiesce(struct virtio_device *d)
{
	struct virtio_9p *v = to_9p(d);

	v->stopped = true;
	if (v->server)
		p9_server_drain(v->server);
	v->stalled = false;
}

static void p9_resume(struct virtio_device *d)
{
	to_9p(d)->stopped = false;
}

static void p9_reset(struct virtio_device *d)
{
	p9_quiesce(d);
	release(to_9p(d));
}

static void p9_config_read(struct virtio_device *d, uint32_t offset,
			   uint8_t *data, uint32_t len)
{
	memcpy(data, to_9p(d)->config + offset, len);
}

static void save_on_loop(struct virtio_9p *v, struct state_writer *w)
{
	state_put_bool(w, v->server != NULL);
	if (v->server)
		p9_server_save(v->server, w);
}

struct transfer {
	struct virtio_9p *v;
	struct state_writer *w;
	struct state_reader *r;
	struct error *e;
	int ret;
};

static void do_save(void *opaque)
{
	struct transfer *t = opaque;

	save_on_loop(t->v, t->w);
}

static void p9_save(struct virtio_device *d, struct state_writer *w)
{
	struct transfer t = { .v = to_9p(d), .w = w };

	loop_call(d->loop, do_save, &t);
}

static void do_load(void *opaque)
{
	struct transfer *t = opaque;
	bool running = state_get_bool(t->r);

	if (state_reader_error(t->r))
		t->ret = error_errno(t->e, state_reader_error(t->r),
				     "virtio-9p: bad state");
	else if (running != (t->v->server != NULL))
		t->ret = error_set(t->e, -EINVAL, "virtio-9p: bad state: a "
				   "session where there is none");
	else if (running)
		t->ret = p9_server_load(t->v->server, t->r, t->e);
}

static int p9_load(struct virtio_device *d, struct state_reader *r,
		   struct error *e)
{
	struct transfer t = { .v = to_9p(d), .r = r, .e = e };

	loop_call(d->loop, do_load, &t);
	return t.ret;
}

static void p9_destroy(struct virtio_device *d)
{
	struct virtio_9p *v = to_9p(d);

	virtio_device_deinit(d);
	iothread_destroy(v->thread);
	p9_export_close(v->export);
	free(v);
}

static const struct virtio_device_ops p9_ops = {
	.config_read = p9_config_read,
	.activate = p9_activate,
	.handle_queue = p9_handle_queue,
	.quiesce = p9_quiesce,
	.resume = p9_resume,
	.reset = p9_reset,
	.save = p9_save,
	.load = p9_load,
	.destroy = p9_destroy,
};

static const struct virtio_device_info p9_info = {
	.name = "virtio-9p",
	.type_id = VIRTIO_ID_9P,
	.pci_class = 0x018000,		/* mass storage, other */
	.ops = &p9_ops,
};

static int open_export(struct virtio_9p *v, const struct config_9p *c,
		       struct p9_files *files, struct error *e)
{
	char *names = c->allowed ? strdup(c->allowed) : NULL, *next = names;
	char *list[MAX_ALLOWED], *name;
	size_t count = 0;
	int ret;

	if (c->allowed && !names)
		return error_errno(e, -ENOMEM, "9p %s", c->path);
	while ((name = strsep(&next, ":")) && count < MAX_ALLOWED)
		list[count++] = name;
	if (name) {
		free(names);
		return error_config(e, -E2BIG, "9p %s: allowed: more than %u "
				    "names", c->path, MAX_ALLOWED);
	}
	const struct p9_params p = {
		.path = c->path,
		.readonly = c->readonly,
		/* Only root can give files away. */
		.mapped = geteuid() != 0,
		.allowed = list,
		.allowed_count = count,
		.msize = (uint32_t)c->msize_bytes,
		.files = files,
	};

	ret = p9_export_open(&v->export, &p, e);
	free(names);
	return ret;
}

int virtio_9p_create(struct virtio_device **out, const struct config_9p *c,
		     struct p9_files *files, struct guest_mem *mem,
		     struct error *e)
{
	static const uint16_t sizes[] = { QUEUE_SIZE };
	struct virtio_9p *v = calloc(1, sizeof(*v));
	size_t tag_bytes = strlen(c->tag);
	uint16_t le;
	int ret;

	if (!v)
		return error_errno(e, -ENOMEM, "9p %s", c->path);
	if (tag_bytes > CONFIG_TAG_MAX)
		tag_bytes = CONFIG_TAG_MAX;
	le = htole16((uint16_t)tag_bytes);
	memcpy(v->config, &le, sizeof(le));
	memcpy(v->config + sizeof(le), c->tag, tag_bytes);
	ret = open_export(v, c, files, e);
	if (ret)
		goto err_free;
	ret = iothread_create(&v->thread, "mote-9p");
	if (ret) {
		error_errno(e, ret, "9p %s: its thread", c->path);
		goto err_export;
	}
	ret = virtio_device_init(&v->dev, &p9_info, mem,
				 iothread_loop(v->thread),
				 UINT64_C(1) << VIRTIO_9P_MOUNT_TAG,
				 (uint32_t)(sizeof(le) + tag_bytes), sizes, 1,
				 e);
	if (ret)
		goto err_thread;
	*out = &v->dev;
	return 0;

err_thread:
	iothread_destroy(v->thread);
err_export:
	p9_export_close(v->export);
err_free:
	free(v);
	return ret;
}
