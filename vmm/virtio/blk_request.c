/* SPDX-License-Identifier: MIT */
/* Parsing and finishing virtio-blk requests. The device's loop. */
#include "virtio/blk_request.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdatomic.h>

/* A part of the chain: readable after the header, or writable before the
 * status byte. */
struct part {
	struct iovec *iov;
	uint32_t count;
	uint64_t bytes;
};

static void skip(struct part *p, size_t n)
{
	p->bytes -= n;
	while (n && n >= p->iov->iov_len) {
		n -= p->iov->iov_len;
		p->iov++;
		p->count--;
	}
	if (n) {
		p->iov->iov_base = (uint8_t *)p->iov->iov_base + n;
		p->iov->iov_len -= n;
	}
}

/* The last writable byte is the status, however the chain is cut (2.7.4). */
static uint8_t *cut_status(struct part *p)
{
	struct iovec *last = &p->iov[p->count - 1];

	p->bytes--;
	if (!--last->iov_len)
		p->count--;
	return (uint8_t *)last->iov_base + last->iov_len;
}

static bool in_range(const struct blk_limits *l, uint64_t sector,
		     uint64_t count)
{
	return sector <= l->sectors && count <= l->sectors - sector;
}

/* 5.2.6.1: whole sectors; 5.2.6.2: inside the capacity. */
static int parse_transfer(struct blk_request *r, const struct part *p,
			  uint64_t sector, const struct blk_limits *l)
{
	if (p->bytes % BLOCK_SECTOR_BYTES ||
	    !in_range(l, sector, p->bytes / BLOCK_SECTOR_BYTES))
		return VIRTIO_BLK_S_IOERR;
	if (!p->bytes)
		return VIRTIO_BLK_S_OK;
	r->io.offset = sector * BLOCK_SECTOR_BYTES;
	r->io.len_bytes = p->bytes;
	r->io.iov = p->iov;
	r->io.iov_count = p->count;
	return BLK_SUBMIT;
}

static int parse_out(struct blk_request *r, const struct part *p,
		     uint64_t sector, const struct blk_limits *l)
{
	/* 5.2.6.2: read-only devices fail writes. */
	if (l->readonly)
		return VIRTIO_BLK_S_IOERR;
	r->io.op = BLOCK_WRITE;
	r->io.durable = l->write_through;
	return parse_transfer(r, p, sector, l);
}

/* One segment: max_discard_seg and max_write_zeroes_seg are 1. */
static int parse_range(struct blk_request *r, const struct part *p,
		       uint32_t type, const struct blk_limits *l)
{
	struct virtio_blk_discard_write_zeroes seg;
	uint32_t flags, count;
	uint64_t sector;

	if (l->readonly || p->bytes != sizeof(seg))
		return VIRTIO_BLK_S_IOERR;
	iov_read(p->iov, p->count, 0, &seg, sizeof(seg));
	sector = le64toh(seg.sector);
	count = le32toh(seg.num_sectors);
	flags = le32toh(seg.flags);
	r->io.op = type == VIRTIO_BLK_T_DISCARD ? BLOCK_DISCARD :
						  BLOCK_WRITE_ZEROES;
	r->io.may_unmap = flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	/* 5.2.6.2: unknown flags, and unmap in a discard. */
	if (flags & ~VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP ||
	    (type == VIRTIO_BLK_T_DISCARD && flags))
		return VIRTIO_BLK_S_UNSUPP;
	if (count > BLK_MAX_RANGE || !in_range(l, sector, count))
		return VIRTIO_BLK_S_IOERR;
	if (!count)
		return VIRTIO_BLK_S_OK;
	r->io.offset = sector * BLOCK_SECTOR_BYTES;
	r->io.len_bytes = (uint64_t)count * BLOCK_SECTOR_BYTES;
	return BLK_SUBMIT;
}

static enum blk_kind kind_of(uint32_t type)
{
	switch (type) {
	case VIRTIO_BLK_T_IN:
		return BLK_READS;
	case VIRTIO_BLK_T_OUT:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return BLK_WRITES;
	case VIRTIO_BLK_T_FLUSH:
		return BLK_FLUSHES;
	case VIRTIO_BLK_T_DISCARD:
		return BLK_DISCARDS;
	default:
		return BLK_OTHERS;
	}
}

static int parse_type(struct blk_request *r, const struct part *out,
		      const struct part *in, uint32_t type, uint64_t sector,
		      const struct blk_limits *l)
{
	int ret;

	r->kind = kind_of(type);
	switch (type) {
	case VIRTIO_BLK_T_IN:
		r->io.op = BLOCK_READ;
		ret = parse_transfer(r, in, sector, l);
		if (ret == BLK_SUBMIT)
			r->data_bytes = (uint32_t)in->bytes;
		return ret;
	case VIRTIO_BLK_T_OUT:
		return parse_out(r, out, sector, l);
	case VIRTIO_BLK_T_FLUSH:
		r->io.op = BLOCK_FLUSH;
		return l->ignore_flush ? VIRTIO_BLK_S_OK : BLK_SUBMIT;
	case VIRTIO_BLK_T_GET_ID:
		r->data_bytes = (uint32_t)iov_write(in->iov, in->count, 0,
						    l->id, sizeof(l->id));
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_DISCARD:
		return l->discard ? parse_range(r, out, type, l) :
				    VIRTIO_BLK_S_UNSUPP;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return l->write_zeroes ? parse_range(r, out, type, l) :
					 VIRTIO_BLK_S_UNSUPP;
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

int blk_request_parse(struct blk_request *r, const struct virtq_chain *c,
		      const struct blk_limits *l)
{
	struct part out = { r->iov, c->readable, c->readable_bytes };
	struct part in = { r->iov + c->readable, c->writable,
			   c->writable_bytes };
	struct virtio_blk_outhdr header;

	if (!in.bytes)
		return -EPROTO;
	r->head = c->head;
	r->data_bytes = 0;
	r->kind = BLK_OTHERS;
	r->submitted_ns = 0;
	r->status = cut_status(&in);
	r->io = (struct block_request){ .done = r->io.done };
	if (out.bytes < sizeof(header))
		return VIRTIO_BLK_S_IOERR;
	iov_read(out.iov, out.count, 0, &header, sizeof(header));
	skip(&out, sizeof(header));
	return parse_type(r, &out, &in, le32toh(header.type),
			  le64toh(header.sector), l);
}

uint32_t blk_request_finish(struct blk_request *r, uint8_t status)
{
	/* The driver may poll the byte: the data comes first. */
	atomic_store_explicit((_Atomic uint8_t *)r->status, status,
			      memory_order_release);
	return (status == VIRTIO_BLK_S_OK ? r->data_bytes : 0) + 1;
}

uint8_t blk_request_status(int result)
{
	if (!result)
		return VIRTIO_BLK_S_OK;
	return result == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP :
				       VIRTIO_BLK_S_IOERR;
}
