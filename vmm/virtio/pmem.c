/* SPDX-License-Identifier: MIT */
/*
 * The persistent memory device (VIRTIO 1.2, 5.19): it says where the memory is
 * and flushes it. Create and destroy run on the main thread, the configuration
 * space under the machine lock, the rest on the device's loop; the flush itself
 * on a thread of its own.
 *
 * One flush serves all requests that are there when it starts. Those that come
 * meanwhile wait for the next: what they are about may have been written since.
 */
#include "virtio/pmem.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_pmem.h>
#include <stdlib.h>
#include <string.h>

#include "pmem/flusher.h"
#include "state.h"

#define QUEUE_SIZE	64
#define IOV_MAX_COUNT	(QUEUE_SIZE + VIRTQ_IOV_SLACK)

/* VIRTIO 1.2, 5.19.6: the response. */
#define RESP_OK		0u
#define RESP_EIO	1u
#define RESP_BYTES	sizeof(struct virtio_pmem_resp)

struct request {
	uint16_t head;
	uint16_t iov_count;
	struct iovec iov[RESP_BYTES];	/* of the response, at worst by bytes */
};

struct virtio_pmem {
	struct virtio_device dev;
	struct pmem_region *region;
	struct pmem_flusher *flusher;
	struct virtio_pmem_config config;
	bool stopped;

	/* First those that the flush under way serves. A queue never gives out
	 * more chains than it holds. */
	struct request requests[QUEUE_SIZE];
	unsigned int flushing, count;
	struct iovec iov[IOV_MAX_COUNT];
};

static struct virtio_pmem *to_pmem(struct virtio_device *d)
{
	return (struct virtio_pmem *)d;
}

static void finish(struct virtio_pmem *p, const struct request *r, uint32_t ret)
{
	struct virtio_pmem_resp resp = { .ret = htole32(ret) };
	size_t n = iov_write(r->iov, r->iov_count, 0, &resp, sizeof(resp));

	virtqueue_push(virtio_vq(&p->dev, 0), r->head, (uint32_t)n);
}

/* Where the response goes: the first bytes that the device may write. */
static void note_response(struct request *r, const struct virtq_chain *c)
{
	size_t left = RESP_BYTES;

	r->head = c->head;
	r->iov_count = 0;
	for (uint32_t i = 0; i < c->writable && left; i++) {
		struct iovec v = c->iov[c->readable + i];

		if (!v.iov_len)
			continue;
		if (v.iov_len > left)
			v.iov_len = left;
		left -= v.iov_len;
		r->iov[r->iov_count++] = v;
	}
}

/* Takes one chain: 1, 0: none there, -EPROTO. */
static int take(struct virtio_device *d, unsigned int index)
{
	struct virtio_pmem *p = to_pmem(d);
	struct virtq_chain c = { .iov = p->iov, .iov_max = IOV_MAX_COUNT };
	struct virtio_pmem_req req;
	int ret = virtqueue_pop(virtio_vq(d, index), &c);
	struct request *r;

	if (ret <= 0)
		return ret;
	assert(p->count < QUEUE_SIZE);
	r = &p->requests[p->count];
	if (c.writable_bytes < RESP_BYTES)
		return -EPROTO;
	note_response(r, &c);
	if (iov_read(c.iov, c.readable, 0, &req, sizeof(req)) != sizeof(req) ||
	    le32toh(req.type) != VIRTIO_PMEM_REQ_TYPE_FLUSH)
		finish(p, r, RESP_EIO);
	else
		p->count++;
	return 1;
}

/* The first n requests are done. */
static void complete(struct virtio_pmem *p, unsigned int n, int result)
{
	for (unsigned int i = 0; i < n; i++)
		finish(p, &p->requests[i], result ? RESP_EIO : RESP_OK);
	p->count -= n;
	memmove(p->requests, p->requests + n,
		p->count * sizeof(p->requests[0]));
}

static void start_flush(struct virtio_pmem *p)
{
	int ret;

	if (p->flushing || !p->count)
		return;
	p->flushing = p->count;
	ret = pmem_flusher_start(p->flusher);
	if (ret) {
		complete(p, p->flushing, ret);
		p->flushing = 0;
	}
}

static void pmem_handle_queue(struct virtio_device *d, unsigned int index)
{
	struct virtio_pmem *p = to_pmem(d);

	if (p->stopped)
		return;
	virtio_queue_drain(d, index, QUEUE_SIZE, take);
	start_flush(p);
	virtio_queue_flush(d, index);
}

static void flush_done(void *opaque, int result)
{
	struct virtio_pmem *p = opaque;
	unsigned int n = p->flushing;

	p->flushing = 0;
	complete(p, n, result);
	start_flush(p);
	virtio_queue_flush(&p->dev, 0);
}

static int flush_region(void *region)
{
	return pmem_region_flush(region);
}

static void pmem_config_read(struct virtio_device *d, uint32_t offset,
			     uint8_t *data, uint32_t len)
{
	memcpy(data, (const uint8_t *)&to_pmem(d)->config + offset, len);
}

static int pmem_activate(struct virtio_device *d)
{
	to_pmem(d)->stopped = d->quiesced;
	return 0;
}

static void pmem_quiesce(struct virtio_device *d)
{
	struct virtio_pmem *p = to_pmem(d);

	p->stopped = true;
	while (pmem_flusher_busy(p->flusher))
		pmem_flusher_wait(p->flusher);
}

static void pmem_resume(struct virtio_device *d)
{
	to_pmem(d)->stopped = false;
}

/* A flush goes on without its requests: no guest waits for a slow disk in a
 * reset, nor holds up the machine with it. */
static void pmem_reset(struct virtio_device *d)
{
	struct virtio_pmem *p = to_pmem(d);

	p->stopped = true;
	pmem_flusher_forget(p->flusher);
	p->flushing = p->count = 0;
}

static void pmem_save(struct virtio_device *d, struct state_writer *w)
{
	struct virtio_pmem *p = to_pmem(d);

	state_put_u64(w, pmem_region_base(p->region));
	state_put_u64(w, pmem_region_bytes(p->region));
}

/* The guest has mapped it: it must be where it was. */
static int pmem_load(struct virtio_device *d, struct state_reader *r,
		     struct error *e)
{
	struct virtio_pmem *p = to_pmem(d);
	uint64_t base = state_get_u64(r), bytes = state_get_u64(r);

	if (state_reader_error(r))
		return error_errno(e, state_reader_error(r),
				   "virtio-pmem: bad state");
	if (base != pmem_region_base(p->region) ||
	    bytes != pmem_region_bytes(p->region))
		return error_set(e, -EINVAL, "virtio-pmem: slot %u has %llu "
				 "MiB at 0x%llx, in the state it had %llu at "
				 "0x%llx", pmem_region_slot(p->region),
				 (unsigned long long)
				 pmem_region_bytes(p->region) >> 20,
				 (unsigned long long)
				 pmem_region_base(p->region),
				 (unsigned long long)bytes >> 20,
				 (unsigned long long)base);
	return 0;
}

static void pmem_destroy(struct virtio_device *d)
{
	struct virtio_pmem *p = to_pmem(d);

	virtio_device_deinit(d);
	pmem_flusher_destroy(p->flusher);
	pmem_region_destroy(p->region);
	free(p);
}

static const struct virtio_device_ops pmem_ops = {
	.config_read = pmem_config_read,
	.activate = pmem_activate,
	.handle_queue = pmem_handle_queue,
	.quiesce = pmem_quiesce,
	.resume = pmem_resume,
	.reset = pmem_reset,
	.save = pmem_save,
	.load = pmem_load,
	.destroy = pmem_destroy,
};

static const struct virtio_device_info pmem_info = {
	.name = "virtio-pmem",
	.type_id = VIRTIO_ID_PMEM,
	.pci_class = 0x058000,		/* memory controller, other */
	.ops = &pmem_ops,
};

int virtio_pmem_create(struct virtio_device **out, struct pmem_region *region,
		       struct guest_mem *mem, struct loop *loop,
		       struct error *e)
{
	static const uint16_t sizes[] = { QUEUE_SIZE };
	struct virtio_pmem *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return error_errno(e, -ENOMEM, "virtio-pmem");
	p->region = region;
	p->config.start = htole64(pmem_region_base(region));
	p->config.size = htole64(pmem_region_bytes(region));
	ret = pmem_flusher_create(&p->flusher, loop, flush_region, region,
				  flush_done, p);
	if (ret) {
		error_errno(e, ret, "virtio-pmem");
		goto err_free;
	}
	ret = virtio_device_init(&p->dev, &pmem_info, mem, loop, 0,
				 sizeof(p->config), sizes, 1, e);
	if (ret)
		goto err_flusher;
	*out = &p->dev;
	return 0;

err_flusher:
	pmem_flusher_destroy(p->flusher);
err_free:
	free(p);
	return ret;
}

const struct pmem_region *virtio_pmem_region(struct virtio_device *d)
{
	return ((struct virtio_pmem *)d)->region;
}
