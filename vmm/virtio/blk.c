/* SPDX-License-Identifier: MIT */
/*
 * The virtio-blk device (VIRTIO 1.2, 5.2). virtio_blk_create() and destroy run
 * on the main thread, the configuration space under the machine lock, the rest
 * on the device's loop.
 */
#include "virtio/blk.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "state.h"
#include "virtio/blk_request.h"

/* Requests in flight, over all queues: so also the size of the ring that the
 * engine asks the kernel for. */
#define SLOTS		128
#define SLOTS_BYTES	(SLOTS * sizeof(struct blk_request))

/*
 * Their data, together; a larger request is alone. A reset waits for all of
 * it, and with it whoever needs the machine: many requests for the same few
 * pages of RAM could make that minutes. More than systems have in flight.
 */
#define IN_FLIGHT_BYTES	(UINT64_C(256) << 20)

#define CONFIG_BYTES	(offsetof(struct virtio_blk_config, unused1) + 3)

struct virtio_blk {
	struct virtio_device dev;
	struct block_file *file;
	struct block_engine *engine;	/* while active */
	enum block_engine_kind kind;
	struct virtio_blk_config config;
	struct blk_limits limits;
	bool no_flush;

	/* Mapped while active; a slot costs memory once it has been used, and
	 * the one used last is used next. */
	struct blk_request *slots;
	struct blk_request *free;
	unsigned int fresh;		/* slots never used yet start here */
	uint64_t in_flight_bytes;

	uint64_t stalled;		/* queues that wait for others' end */
	unsigned int next_stalled;
	bool stopped;
};

static struct virtio_blk *to_blk(struct virtio_device *d)
{
	return (struct virtio_blk *)d;
}

static struct blk_request *slot_get(struct virtio_blk *b)
{
	struct blk_request *r = b->free;

	if (r)
		b->free = r->next_free;
	else if (b->fresh < SLOTS)
		r = &b->slots[b->fresh++];
	return r;
}

static void slot_put(struct virtio_blk *b, struct blk_request *r)
{
	r->next_free = b->free;
	b->free = r;
}

static void finish(struct virtio_blk *b, struct blk_request *r, uint8_t status)
{
	virtqueue_push(virtio_vq(&b->dev, r->queue), r->head,
		       blk_request_finish(r, status));
	slot_put(b, r);
}

static void request_done(struct block_request *io)
{
	struct blk_request *r = (struct blk_request *)io;

	struct virtio_blk *b = r->owner;

	b->in_flight_bytes -= r->submitted_bytes;
	finish(b, r, blk_request_status(io->result));
}

/* False: too much at once, others have to end first. */
static bool submit(struct virtio_blk *b, struct blk_request *r)
{
	uint64_t bytes = r->io.len_bytes;

	if (b->in_flight_bytes && b->in_flight_bytes + bytes > IN_FLIGHT_BYTES)
		return false;
	b->in_flight_bytes += bytes;
	r->submitted_bytes = bytes;
	block_engine_submit(b->engine, &r->io);
	return true;
}

/* Takes one chain: 1, 0: none there, -ENOSPC: no slot or room, -EPROTO. */
static int take(struct virtio_blk *b, unsigned int index)
{
	struct blk_request *r = slot_get(b);
	struct virtq_chain c;
	int ret;

	if (!r)
		return -ENOSPC;
	c.iov = r->iov;
	c.iov_max = BLK_IOV_MAX;
	ret = virtqueue_pop(virtio_vq(&b->dev, index), &c);
	if (ret <= 0) {
		slot_put(b, r);
		return ret;
	}
	r->owner = b;
	r->queue = (uint16_t)index;
	r->io.done = request_done;
	ret = blk_request_parse(r, &c, &b->limits);
	if (ret < 0) {
		slot_put(b, r);
		return ret;
	}
	if (ret != BLK_SUBMIT) {
		finish(b, r, (uint8_t)ret);
	} else if (!submit(b, r)) {
		virtqueue_unpop(virtio_vq(&b->dev, index));
		slot_put(b, r);
		return -ENOSPC;
	}
	return 1;
}

static void blk_handle_queue(struct virtio_device *d, unsigned int index)
{
	struct virtio_blk *b = to_blk(d);
	struct virtqueue *vq = virtio_vq(d, index);
	unsigned int budget = virtqueue_size(vq);
	int ret = 0;

	if (b->stopped || !budget)
		return;
	virtqueue_disarm(vq);
	while (budget) {
		ret = take(b, index);
		if (ret == 1)
			budget--;
		else if (ret || !virtqueue_arm(vq))
			break;
	}
	if (!budget)
		virtio_queue_again(d, index);
	else if (ret == -EPROTO)
		virtio_device_broken(d);
	else if (ret == -ENOSPC)
		b->stalled |= UINT64_C(1) << index;
	block_engine_kick(b->engine);
	virtio_queue_flush(d, index);
}

/* There is room again: queues that wait for it take turns in being first. */
static void restart_stalled(struct virtio_blk *b)
{
	unsigned int count = b->dev.queue_count;
	uint64_t stalled = b->stalled;

	if (!stalled || b->stopped)
		return;
	b->stalled = 0;
	b->next_stalled++;
	for (unsigned int i = 0; i < count; i++) {
		unsigned int index = (b->next_stalled + i) % count;

		if (stalled >> index & 1)
			blk_handle_queue(&b->dev, index);
	}
}

static void batch_done(void *opaque)
{
	struct virtio_blk *b = opaque;

	for (unsigned int i = 0; i < b->dev.queue_count; i++)
		virtio_queue_flush(&b->dev, i);
	restart_stalled(b);
}

static void release(struct virtio_blk *b)
{
	block_engine_destroy(b->engine);
	b->engine = NULL;
	if (b->slots)
		munmap(b->slots, SLOTS_BYTES);
	b->slots = b->free = NULL;
	b->fresh = 0;
	b->in_flight_bytes = 0;
	b->stalled = 0;
}

static int blk_activate(struct virtio_device *d)
{
	struct virtio_blk *b = to_blk(d);
	void *slots = mmap(NULL, SLOTS_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int ret;

	if (slots == MAP_FAILED)
		return -ENOMEM;
	b->slots = slots;
	ret = block_engine_create(&b->engine, b->file, d->loop, SLOTS, b->kind,
				  batch_done, b);
	if (ret) {
		release(b);
		return ret;
	}
	b->limits.discard = virtio_has(d, VIRTIO_BLK_F_DISCARD);
	b->limits.write_zeroes = virtio_has(d, VIRTIO_BLK_F_WRITE_ZEROES);
	/* 5.2.6.2: who cannot flush relies on completed writes. */
	b->limits.write_through = !b->no_flush &&
				  !virtio_has(d, VIRTIO_BLK_F_FLUSH);
	b->stopped = d->quiesced;
	return 0;
}

static void blk_quiesce(struct virtio_device *d)
{
	struct virtio_blk *b = to_blk(d);

	b->stopped = true;
	if (b->engine)
		block_engine_drain(b->engine);
	b->stalled = 0;
}

static void blk_resume(struct virtio_device *d)
{
	to_blk(d)->stopped = false;
}

static void blk_reset(struct virtio_device *d)
{
	blk_quiesce(d);
	release(to_blk(d));
}

static void blk_config_read(struct virtio_device *d, uint32_t offset,
			    uint8_t *data, uint32_t len)
{
	memcpy(data, (const uint8_t *)&to_blk(d)->config + offset, len);
}

static void blk_save(struct virtio_device *d, struct state_writer *w)
{
	state_put_u64(w, to_blk(d)->limits.sectors);
}

/* Nothing is in flight in a saved disk; but it must be the same one. */
static int blk_load(struct virtio_device *d, struct state_reader *r,
		    struct error *e)
{
	uint64_t sectors = state_get_u64(r);

	if (state_reader_error(r))
		return error_errno(e, state_reader_error(r),
				   "virtio-blk: bad state");
	if (sectors != to_blk(d)->limits.sectors)
		return error_set(e, -EINVAL, "virtio-blk: the image has %llu "
				 "sectors, in the state it had %llu",
				 (unsigned long long)to_blk(d)->limits.sectors,
				 (unsigned long long)sectors);
	return 0;
}

static void blk_destroy(struct virtio_device *d)
{
	struct virtio_blk *b = to_blk(d);

	virtio_device_deinit(d);
	block_close(b->file);
	free(b);
}

static const struct virtio_device_ops blk_ops = {
	.config_read = blk_config_read,
	.activate = blk_activate,
	.handle_queue = blk_handle_queue,
	.quiesce = blk_quiesce,
	.resume = blk_resume,
	.reset = blk_reset,
	.save = blk_save,
	.load = blk_load,
	.destroy = blk_destroy,
};

static const struct virtio_device_info blk_info = {
	.name = "virtio-blk",
	.type_id = VIRTIO_ID_BLOCK,
	.pci_class = 0x018000,		/* mass storage, other */
	.ops = &blk_ops,
};

static uint64_t features(const struct virtio_blk *b, unsigned int queues)
{
	uint64_t f = UINT64_C(1) << VIRTIO_BLK_F_SEG_MAX |
		     UINT64_C(1) << VIRTIO_BLK_F_BLK_SIZE;

	if (!b->no_flush)
		f |= UINT64_C(1) << VIRTIO_BLK_F_FLUSH;
	if (block_readonly(b->file))
		f |= UINT64_C(1) << VIRTIO_BLK_F_RO;
	if (queues > 1)
		f |= UINT64_C(1) << VIRTIO_BLK_F_MQ;
	if (block_can_discard(b->file))
		f |= UINT64_C(1) << VIRTIO_BLK_F_DISCARD;
	if (block_can_write_zeroes(b->file))
		f |= UINT64_C(1) << VIRTIO_BLK_F_WRITE_ZEROES;
	return f;
}

static void fill_config(struct virtio_blk *b, unsigned int queues)
{
	struct virtio_blk_config *c = &b->config;
	uint32_t granule = block_granule_bytes(b->file);

	c->capacity = htole64(b->limits.sectors);
	c->seg_max = htole32(BLK_SEG_MAX);
	c->blk_size = htole32(granule);
	c->num_queues = htole16((uint16_t)queues);
	if (block_can_discard(b->file)) {
		c->max_discard_sectors = htole32(BLK_MAX_RANGE);
		c->max_discard_seg = htole32(1);
		c->discard_sector_alignment =
			htole32(granule / BLOCK_SECTOR_BYTES);
	}
	if (block_can_write_zeroes(b->file)) {
		c->max_write_zeroes_sectors = htole32(BLK_MAX_RANGE);
		c->max_write_zeroes_seg = htole32(1);
		c->write_zeroes_may_unmap = 1;
	}
}

static int check_config(const struct config_disk *c, struct error *e)
{
	if (c->format != DISK_RAW)
		return error_class_set(e, ERROR_NOT_SUPPORTED, -EOPNOTSUPP,
				       "disk %s: only raw images", c->path);
	if (c->direct)
		return error_class_set(e, ERROR_NOT_SUPPORTED, -EOPNOTSUPP,
				       "disk %s: no direct=on", c->path);
	if (!c->queues || c->queues > VIRTIO_MAX_QUEUES)
		return error_config(e, -EINVAL, "disk %s: queues=%u is not "
				    "1..%u", c->path, c->queues,
				    VIRTIO_MAX_QUEUES);
	if (c->serial && strlen(c->serial) > BLK_ID_BYTES)
		return error_config(e, -EINVAL, "disk %s: serial=%s is longer "
				    "than %u bytes", c->path, c->serial,
				    BLK_ID_BYTES);
	return 0;
}

int virtio_blk_create(struct virtio_device **out, const struct config_disk *c,
		      struct guest_mem *mem, struct loop *loop,
		      struct error *e)
{
	const char *id = c->serial ? c->serial : c->id;
	uint16_t sizes[VIRTIO_MAX_QUEUES];
	struct virtio_blk *b;
	int ret = check_config(c, e);

	if (ret)
		return ret;
	b = calloc(1, sizeof(*b));
	if (!b)
		return error_errno(e, -ENOMEM, "disk %s", c->path);
	ret = block_open(&b->file, c->path, c->readonly, e);
	if (ret)
		goto err_free;
	b->kind = BLOCK_ENGINE_AUTO;
	b->no_flush = c->no_flush;
	b->limits.sectors = block_size_bytes(b->file) / BLOCK_SECTOR_BYTES;
	b->limits.readonly = c->readonly;
	b->limits.ignore_flush = c->no_flush;
	if (id)
		memcpy(b->limits.id, id, strnlen(id, BLK_ID_BYTES));
	fill_config(b, c->queues);
	for (unsigned int i = 0; i < c->queues; i++)
		sizes[i] = BLK_QUEUE_SIZE;
	ret = virtio_device_init(&b->dev, &blk_info, mem, loop,
				 features(b, c->queues), CONFIG_BYTES, sizes,
				 c->queues, e);
	if (ret)
		goto err_file;
	*out = &b->dev;
	return 0;

err_file:
	block_close(b->file);
err_free:
	free(b);
	return ret;
}

void virtio_blk_set_engine(struct virtio_device *d,
			   enum block_engine_kind kind)
{
	to_blk(d)->kind = kind;
}
