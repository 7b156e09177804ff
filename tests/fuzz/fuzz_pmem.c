/* SPDX-License-Identifier: MIT */
/* LINK: error loop guest_mem state virtio/virtqueue virtio/device% */
/* LINK: virtio/pmem pmem/flusher */
/* WITH: rings */
/*
 * Persistent memory against a driver that puts anything into its ring, across
 * pauses and resets, with flushes that fail now and then.
 */
#include <errno.h>
#include <linux/virtio_pmem.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <string.h>

#include "rings.h"
#include "virtio/pmem.h"

#define STEP	8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static atomic_int result;	/* of the flushes to come */

gpa_t pmem_region_base(const struct pmem_region *r)
{
	(void)r;
	return UINT64_C(0x4000000000);
}

uint64_t pmem_region_bytes(const struct pmem_region *r)
{
	(void)r;
	return UINT64_C(4) << 20;
}

unsigned int pmem_region_slot(const struct pmem_region *r)
{
	(void)r;
	return 0;
}

int pmem_region_flush(struct pmem_region *r)
{
	(void)r;
	return atomic_load(&result);
}

void pmem_region_destroy(struct pmem_region *r)
{
	(void)r;
}

/* A chain of up to four descriptors, mostly a request and its response. */
static void offer(struct rings *r, const uint8_t *b)
{
	struct vring_desc *desc = rings_at(r, 0, 0);
	struct vring_avail *avail = rings_at(r, 0, 1);
	unsigned int count = 1 + b[1] % 4;
	uint16_t head = (uint16_t)(r->avail[0] * 4u % SIZE);
	uint32_t request = BUFFERS + b[2] * 8u;

	r->ram[request] = b[3] & 7 ? VIRTIO_PMEM_REQ_TYPE_FLUSH : b[3];
	for (unsigned int i = 0; i < count; i++) {
		bool last = i + 1 == count;

		desc[(head + i) % SIZE] = (struct vring_desc){
			.addr = i ? RAM_BASE + b[4 + i % 2] * 0x410u :
				    RAM_BASE + request,
			.len = b[3] & 8 << i ? b[6] : 4,
			.flags = (i ? VRING_DESC_F_WRITE : 0) ^
				 (last ? b[7] & 7 : VRING_DESC_F_NEXT),
			.next = (uint16_t)(b[1] & 0x20 ? b[6] :
					   (head + i + 1) % SIZE),
		};
	}
	avail->ring[r->avail[0]++ % SIZE] = b[1] & 0x80 ? b[6] : head;
	avail->idx = b[1] & 0x40 && b[2] == 255 ? b[3] : r->avail[0];
}

static void step(struct rings *r, const uint8_t *b)
{
	if (b[0] % 8 < 7) {
		offer(r, b);
		if (b[0] & 0x40)
			rings_kick(r, 0);
	} else {
		atomic_store(&result, b[1] & 8 ? -EIO : 0);
		if (b[1] & 1)
			virtio_device_quiesce(r->d);
		if (b[1] & 2)
			virtio_device_resume(r->d);
		if (b[1] > 0xf0)
			rings_bring_up(r, UINT64_MAX);
	}
	if (b[0] & 0x80)
		rings_settle(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rings r = { 0 };
	struct error e;
	uint64_t wanted;

	if (size < sizeof(wanted))
		return 0;
	memcpy(&wanted, data, sizeof(wanted));
	rings_init(&r, 1);
	if (virtio_pmem_create(&r.d, NULL, r.mem, r.loop, &e))
		return -1;
	rings_bring_up(&r, wanted);
	for (data += 8, size -= 8; size >= STEP; data += STEP, size -= STEP)
		step(&r, data);
	rings_deinit(&r);
	return 0;
}
