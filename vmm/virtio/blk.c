/* SPDX-License-Identifier: MIT */
/*
 * The virtio-blk device (VIRTIO 1.2, 5.2): what it is and what it offers. Its
 * requests are blk_queue.c's. virtio_blk_create() and destroy run on the main
 * thread, the configuration space and what changes the image under the machine
 * lock.
 */
#include "virtio/blk.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"
#include "virtio/blk_internal.h"

#define CONFIG_BYTES	(offsetof(struct virtio_blk_config, unused1) + 3)

_Static_assert(CONFIG_MAX_DISK_QUEUES <= VIRTIO_MAX_QUEUES, "queues");

static int blk_activate(struct virtio_device *d)
{
	struct virtio_blk *b = to_blk(d);

	b->limits.discard = virtio_has(d, VIRTIO_BLK_F_DISCARD);
	b->limits.write_zeroes = virtio_has(d, VIRTIO_BLK_F_WRITE_ZEROES);
	/* 5.2.6.2: who cannot flush relies on completed writes. */
	b->limits.write_through = !b->no_flush &&
				  !virtio_has(d, VIRTIO_BLK_F_FLUSH);
	return 0;
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
	free(b->queues);
	free(b);
}

static const struct virtio_device_ops blk_ops = {
	.config_read = blk_config_read,
	.activate = blk_activate,
	.handle_queue = blk_handle_queue,
	.activate_queue = blk_activate_queue,
	.quiesce_queue = blk_quiesce_queue,
	.reset_queue = blk_reset_queue,
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
		     UINT64_C(1) << VIRTIO_BLK_F_BLK_SIZE |
		     UINT64_C(1) << VIRTIO_BLK_F_TOPOLOGY;

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

/* 5.2.4: in logical blocks, but for the physical block's exponent. */
static void fill_topology(struct virtio_blk_config *c,
			  const struct block_topology *t)
{
	uint32_t min_io = t->min_io / t->granule;

	c->blk_size = htole32(t->granule);
	c->physical_block_exp =
		(uint8_t)__builtin_ctz(t->physical / t->granule);
	c->alignment_offset = (uint8_t)(t->alignment / t->granule);
	c->min_io_size = htole16((uint16_t)(min_io > UINT16_MAX ? 0 : min_io));
	c->opt_io_size = htole32(t->best_io / t->granule);
}

static void fill_config(struct virtio_blk *b, unsigned int queues)
{
	const struct block_topology *t = block_topology(b->file);
	struct virtio_blk_config *c = &b->config;

	c->capacity = htole64(b->limits.sectors);
	c->seg_max = htole32(BLK_SEG_MAX);
	c->num_queues = htole16((uint16_t)queues);
	fill_topology(c, t);
	if (block_can_discard(b->file)) {
		c->max_discard_sectors = htole32(BLK_MAX_RANGE);
		c->max_discard_seg = htole32(1);
		c->discard_sector_alignment =
			htole32(t->granule / BLOCK_SECTOR_BYTES);
	}
	if (block_can_write_zeroes(b->file)) {
		c->max_write_zeroes_sectors = htole32(BLK_MAX_RANGE);
		c->max_write_zeroes_seg = htole32(1);
		c->write_zeroes_may_unmap = 1;
	}
}

static int check_config(const struct config_disk *c, struct error *e)
{
	if (!c->queues || c->queues > CONFIG_MAX_DISK_QUEUES)
		return error_config(e, -EINVAL, "disk %s: queues=%u is not "
				    "1..%u", c->path, c->queues,
				    CONFIG_MAX_DISK_QUEUES);
	if (c->serial && strlen(c->serial) > BLK_ID_BYTES)
		return error_config(e, -EINVAL, "disk %s: serial=%s is longer "
				    "than %u bytes", c->path, c->serial,
				    BLK_ID_BYTES);
	return 0;
}

static int open_file(struct block_file **out, const struct config_disk *c,
		     struct error *e)
{
	const struct block_open_params p = {
		.path = c->path,
		.readonly = c->readonly,
		.direct = c->direct,
		.vhd = c->format == DISK_VHD,
	};

	return block_open(out, &p, e);
}

static int init_device(struct virtio_blk *b, unsigned int queues,
		       struct guest_mem *mem, struct loop *const *loops,
		       struct error *e)
{
	uint16_t sizes[VIRTIO_MAX_QUEUES];
	int ret;

	b->queues = calloc(queues, sizeof(*b->queues));
	if (!b->queues)
		return error_errno(e, -ENOMEM, "virtio-blk");
	for (unsigned int i = 0; i < queues; i++) {
		b->queues[i].blk = b;
		b->queues[i].index = i;
		sizes[i] = BLK_QUEUE_SIZE;
	}
	ret = virtio_device_init(&b->dev, &blk_info, mem, loops[0],
				 features(b, queues), CONFIG_BYTES, sizes,
				 queues, e);
	for (unsigned int i = 0; !ret && i < queues; i++)
		virtio_queue_set_loop(&b->dev, i, loops[i]);
	return ret;
}

int virtio_blk_create(struct virtio_device **out, const struct config_disk *c,
		      struct guest_mem *mem, struct loop *const *loops,
		      struct error *e)
{
	const char *id = c->serial ? c->serial : c->id;
	struct virtio_blk *b;
	int ret = check_config(c, e);

	if (ret)
		return ret;
	b = calloc(1, sizeof(*b));
	if (!b)
		return error_errno(e, -ENOMEM, "disk %s", c->path);
	ret = open_file(&b->file, c, e);
	if (ret)
		goto err;
	b->kind = BLOCK_ENGINE_AUTO;
	b->no_flush = c->no_flush;
	b->limits.sectors = block_size_bytes(b->file) / BLOCK_SECTOR_BYTES;
	b->limits.readonly = c->readonly;
	b->limits.ignore_flush = c->no_flush;
	if (id)
		memcpy(b->limits.id, id, strnlen(id, BLK_ID_BYTES));
	fill_config(b, c->queues);
	ret = init_device(b, c->queues, mem, loops, e);
	if (ret)
		goto err;
	*out = &b->dev;
	return 0;

err:
	block_close(b->file);
	free(b->queues);
	free(b);
	return ret;
}

/* ---- another size, another image; machine lock ---------------------------- */

/* 5.2.5.2: the driver reads the new capacity when it hears of it. */
static void set_capacity(struct virtio_blk *b)
{
	virtio_device_config_begin(&b->dev);
	b->limits.sectors = block_size_bytes(b->file) / BLOCK_SECTOR_BYTES;
	b->config.capacity = htole64(b->limits.sectors);
	virtio_device_config_changed(&b->dev);
}

int virtio_blk_resize(struct virtio_device *d, uint64_t size_bytes,
		      struct error *e)
{
	struct virtio_blk *b = to_blk(d);
	bool quiesced = d->quiesced;
	int ret;

	virtio_device_quiesce(d);
	ret = block_resize(b->file, size_bytes, e);
	if (!ret)
		set_capacity(b);
	if (!quiesced)
		virtio_device_resume(d);
	return ret;
}

int virtio_blk_replace(struct virtio_device *d, const struct config_disk *c,
		       struct error *e)
{
	struct virtio_blk *b = to_blk(d);
	struct block_file *file, *old = b->file;
	bool quiesced = d->quiesced;
	int ret;

	if (c->readonly != b->limits.readonly)
		return error_set(e, -EINVAL, "disk %s: the guest knows the "
				 "disk as %s", c->path, b->limits.readonly ?
				 "read-only" : "writable");
	ret = open_file(&file, c, e);
	if (ret)
		return ret;
	if (block_topology(file)->granule > block_topology(old)->granule) {
		block_close(file);
		return error_set(e, -EINVAL, "disk %s: its sectors are larger "
				 "than those that the guest knows", c->path);
	}
	virtio_device_quiesce(d);
	b->file = file;
	virtio_queues_call(d, blk_queue_file_changed);
	set_capacity(b);
	if (!quiesced)
		virtio_device_resume(d);
	block_close(old);
	return 0;
}

void virtio_blk_count(const struct virtio_device *d,
		      struct virtio_blk_counters *out)
{
	const struct virtio_blk *b = (const struct virtio_blk *)d;

	*out = (struct virtio_blk_counters){ 0 };
	for (unsigned int i = 0; i < d->queue_count; i++)
		blk_count_sum(out, &b->queues[i].counters);
}

void virtio_blk_set_engine(struct virtio_device *d,
			   enum block_engine_kind kind)
{
	to_blk(d)->kind = kind;
}
