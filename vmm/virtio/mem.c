/* SPDX-License-Identifier: MIT */
/*
 * The memory device (VIRTIO 1.2, 5.15). Create, destroy and what clients ask for
 * run on the main thread, the configuration space under the machine lock, the
 * rest on the device's loop.
 */
#include "virtio/mem.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mem.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

#define QUEUE_SIZE	128
#define IOV_MAX_COUNT	(QUEUE_SIZE + VIRTQ_IOV_SLACK)
/* For one turn of the loop, which has other devices too. */
#define TURN_REQUESTS	32u
#define BLOCK		VIRTIO_MEM_BLOCK_BYTES

struct virtio_mem {
	struct virtio_device dev;
	struct mem_host host;
	gpa_t base;
	uint64_t region_bytes;
	_Atomic uint64_t usable_bytes, requested_bytes, plugged_bytes;
	bool stopped;
	/* One for each block. The loop's, or the main thread's while the device
	 * is reset. */
	uint8_t *plugged;
	struct iovec iov[IOV_MAX_COUNT];
};

/* A request's blocks, checked. */
struct blocks {
	uint64_t first, count;
};

static struct virtio_mem *to_mem(struct virtio_device *d)
{
	return (struct virtio_mem *)d;
}

/* ---- blocks ---------------------------------------------------------------- */

/* 5.15.6.1: aligned, some, and all in the usable region. */
static bool blocks_valid(const struct virtio_mem *m, uint64_t addr,
			 uint16_t count, struct blocks *b)
{
	uint64_t usable = atomic_load(&m->usable_bytes), offset;

	if (addr < m->base || !count)
		return false;
	offset = addr - m->base;
	if (offset % BLOCK || offset >= usable ||
	    count * BLOCK > usable - offset)
		return false;
	b->first = offset / BLOCK;
	b->count = count;
	return true;
}

static uint64_t count_plugged(const struct virtio_mem *m, struct blocks b)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < b.count; i++)
		n += m->plugged[b.first + i];
	return n;
}

static void set_plugged(struct virtio_mem *m, struct blocks b, bool plugged)
{
	uint64_t len = b.count * BLOCK;

	memset(m->plugged + b.first, plugged, b.count);
	if (plugged) {
		atomic_fetch_add(&m->plugged_bytes, len);
	} else {
		atomic_fetch_sub(&m->plugged_bytes, len);
		m->host.clear(m->host.opaque, b.first * BLOCK, len);
	}
	m->host.changed(m->host.opaque);
}

static uint16_t plug(struct virtio_mem *m, struct blocks b)
{
	if (count_plugged(m, b))
		return VIRTIO_MEM_RESP_ERROR;
	if (atomic_load(&m->plugged_bytes) + b.count * BLOCK >
	    atomic_load(&m->requested_bytes))
		return VIRTIO_MEM_RESP_NACK;
	set_plugged(m, b, true);
	return VIRTIO_MEM_RESP_ACK;
}

static uint16_t unplug(struct virtio_mem *m, struct blocks b)
{
	if (count_plugged(m, b) != b.count)
		return VIRTIO_MEM_RESP_ERROR;
	set_plugged(m, b, false);
	return VIRTIO_MEM_RESP_ACK;
}

static void unplug_all(struct virtio_mem *m)
{
	uint64_t len = atomic_load(&m->usable_bytes);

	if (!atomic_load(&m->plugged_bytes))
		return;
	memset(m->plugged, 0, m->region_bytes / BLOCK);
	atomic_store(&m->plugged_bytes, 0);
	m->host.clear(m->host.opaque, 0, len);
	m->host.changed(m->host.opaque);
}

static uint16_t state_of(const struct virtio_mem *m, struct blocks b)
{
	uint64_t n = count_plugged(m, b);

	return n == b.count ? VIRTIO_MEM_STATE_PLUGGED :
	       n ? VIRTIO_MEM_STATE_MIXED : VIRTIO_MEM_STATE_UNPLUGGED;
}

/* ---- requests -------------------------------------------------------------- */

/* 5.15.6: each kind has the address and the count at the same place. */
static void answer(struct virtio_mem *m, const struct virtio_mem_req *req,
		   struct virtio_mem_resp *resp)
{
	uint16_t type = le16toh(req->type), result = VIRTIO_MEM_RESP_ERROR;
	struct blocks b;
	bool valid = blocks_valid(m, le64toh(req->u.plug.addr),
				  le16toh(req->u.plug.nb_blocks), &b);

	if (type == VIRTIO_MEM_REQ_UNPLUG_ALL) {
		unplug_all(m);
		result = VIRTIO_MEM_RESP_ACK;
	} else if (type == VIRTIO_MEM_REQ_PLUG && valid) {
		result = plug(m, b);
	} else if (type == VIRTIO_MEM_REQ_UNPLUG && valid) {
		result = unplug(m, b);
	} else if (type == VIRTIO_MEM_REQ_STATE && valid) {
		result = VIRTIO_MEM_RESP_ACK;
		resp->u.state.state = htole16(state_of(m, b));
	}
	resp->type = htole16(result);
}

/* One chain: 1, 0 when there is none, -EPROTO. */
static int serve(struct virtio_device *d, unsigned int index)
{
	struct virtio_mem *m = to_mem(d);
	struct virtqueue *vq = virtio_vq(d, index);
	struct virtq_chain c = { .iov = m->iov, .iov_max = IOV_MAX_COUNT };
	struct virtio_mem_req req;
	struct virtio_mem_resp resp = { 0 };
	int ret = virtqueue_pop(vq, &c);
	size_t n;

	if (ret <= 0)
		return ret;
	if (iov_read(c.iov, c.readable, 0, &req, sizeof(req)) != sizeof(req) ||
	    c.writable_bytes < sizeof(resp))
		return -EPROTO;
	answer(m, &req, &resp);
	n = iov_write(c.iov + c.readable, c.writable, 0, &resp, sizeof(resp));
	virtqueue_push(vq, c.head, (uint32_t)n);
	return 1;
}

static void mem_handle_queue(struct virtio_device *d, unsigned int index)
{
	if (!to_mem(d)->stopped)
		virtio_queue_drain(d, index, TURN_REQUESTS, serve);
}

/* ---- configuration and life ------------------------------------------------ */

static void mem_config_read(struct virtio_device *d, uint32_t offset,
			    uint8_t *data, uint32_t len)
{
	struct virtio_mem *m = to_mem(d);
	const struct virtio_mem_config c = {
		.block_size = htole64(BLOCK),
		.addr = htole64(m->base),
		.region_size = htole64(m->region_bytes),
		.usable_region_size = htole64(atomic_load(&m->usable_bytes)),
		.plugged_size = htole64(atomic_load(&m->plugged_bytes)),
		.requested_size = htole64(atomic_load(&m->requested_bytes)),
	};

	memcpy(data, (const uint8_t *)&c + offset, len);
}

static int mem_activate(struct virtio_device *d)
{
	to_mem(d)->stopped = d->quiesced;
	return 0;
}

static void mem_stop(struct virtio_device *d)
{
	to_mem(d)->stopped = true;
}

static void mem_resume(struct virtio_device *d)
{
	to_mem(d)->stopped = false;
}

static void mem_save(struct virtio_device *d, struct state_writer *w)
{
	struct virtio_mem *m = to_mem(d);

	state_put_u64(w, m->base);
	state_put_u64(w, m->region_bytes);
	state_put_u64(w, atomic_load(&m->usable_bytes));
	state_put_u64(w, atomic_load(&m->requested_bytes));
	state_put_bytes(w, m->plugged, m->region_bytes / BLOCK);
}

/* The guest uses it: it must be where it was. */
static int mem_load(struct virtio_device *d, struct state_reader *r,
		    struct error *e)
{
	struct virtio_mem *m = to_mem(d);
	uint64_t base = state_get_u64(r), region = state_get_u64(r);
	uint64_t usable = state_get_u64(r), requested = state_get_u64(r);
	uint64_t count = m->region_bytes / BLOCK, plugged = 0;

	if (state_reader_error(r) || base != m->base ||
	    region != m->region_bytes || usable > region || requested > usable)
		return error_set(e, -EINVAL, "virtio-mem: bad state");
	state_get_bytes(r, m->plugged, count);
	if (state_reader_error(r))
		return error_errno(e, state_reader_error(r),
				   "virtio-mem: bad state");
	for (uint64_t i = 0; i < count; i++) {
		if (m->plugged[i] > 1 || (m->plugged[i] && i * BLOCK >= usable))
			return error_set(e, -EINVAL, "virtio-mem: bad state");
		plugged += m->plugged[i];
	}
	atomic_store(&m->usable_bytes, usable);
	atomic_store(&m->requested_bytes, requested);
	atomic_store(&m->plugged_bytes, plugged * BLOCK);
	return 0;
}

static void mem_destroy(struct virtio_device *d)
{
	struct virtio_mem *m = to_mem(d);

	virtio_device_deinit(d);
	free(m->plugged);
	free(m);
}

/* 5.15.6: a reset of the device leaves its blocks as they are. */
static const struct virtio_device_ops mem_ops = {
	.config_read = mem_config_read,
	.activate = mem_activate,
	.handle_queue = mem_handle_queue,
	.quiesce = mem_stop,
	.resume = mem_resume,
	.reset = mem_stop,
	.save = mem_save,
	.load = mem_load,
	.destroy = mem_destroy,
};

static const struct virtio_device_info mem_info = {
	.name = "virtio-mem",
	.type_id = VIRTIO_ID_MEM,
	.pci_class = 0x00ff00,		/* unclassified */
	.ops = &mem_ops,
};

int virtio_mem_create(struct virtio_device **out, gpa_t base,
		      uint64_t region_bytes, const struct mem_host *host,
		      struct guest_mem *mem, struct loop *loop,
		      struct error *e)
{
	static const uint16_t sizes[] = { QUEUE_SIZE };
	struct virtio_mem *m = calloc(1, sizeof(*m));
	int ret;

	if (m)
		m->plugged = calloc(region_bytes / BLOCK, 1);
	if (!m || !m->plugged) {
		free(m);
		return error_errno(e, -ENOMEM, "virtio-mem");
	}
	m->host = *host;
	m->base = base;
	m->region_bytes = region_bytes;
	ret = virtio_device_init(&m->dev, &mem_info, mem, loop, 0,
				 sizeof(struct virtio_mem_config), sizes, 1, e);
	if (ret) {
		free(m->plugged);
		free(m);
		return ret;
	}
	*out = &m->dev;
	return 0;
}

/* ---- the host's side ------------------------------------------------------- */

void virtio_mem_request(struct virtio_device *d, uint64_t requested_bytes,
			uint64_t usable_bytes)
{
	struct virtio_mem *m = to_mem(d);

	/* What is beyond has no block in plugged[]. */
	if (usable_bytes > m->region_bytes)
		usable_bytes = m->region_bytes;
	virtio_device_config_begin(d);
	if (usable_bytes > atomic_load(&m->usable_bytes))
		atomic_store(&m->usable_bytes, usable_bytes);
	atomic_store(&m->requested_bytes, requested_bytes);
	virtio_device_config_changed(d);
}

void virtio_mem_unplug_all(struct virtio_device *d)
{
	unplug_all(to_mem(d));
}

uint64_t virtio_mem_requested_bytes(struct virtio_device *d)
{
	return atomic_load(&to_mem(d)->requested_bytes);
}

uint64_t virtio_mem_plugged_bytes(struct virtio_device *d)
{
	return atomic_load(&to_mem(d)->plugged_bytes);
}
