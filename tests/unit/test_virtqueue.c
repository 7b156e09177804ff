/* SPDX-License-Identifier: MIT */
/* LINK: error loop guest_mem virtio/virtqueue */
/* LINK: virtio/device virtio/device_loop virtio/device_reg */
/* WITH: fake_driver */
#include <errno.h>
#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_driver.h"

#define RING	FAKE_RAM_BASE
#define DATA	(FAKE_RAM_BASE + 0x100000)
#define TABLE	(FAKE_RAM_BASE + 0x180000)

#define N	VRING_DESC_F_NEXT
#define W	VRING_DESC_F_WRITE
#define I	VRING_DESC_F_INDIRECT

struct fixture {
	struct fake_ram ram;
	struct fake_queue fake;
	struct virtqueue *q;
	struct iovec iov[VIRTQUEUE_MAX_SIZE + VIRTQ_IOV_SLACK];
	struct virtq_chain chain;
};

static void start(struct fixture *f, uint16_t size, bool event_idx)
{
	fake_queue_init(&f->fake, &f->ram, RING, size);
	f->fake.config.event_idx = event_idx;
	f->fake.config.indirect = true;
	assert_int_equal(virtqueue_enable(f->q, &f->fake.config), 0);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_ram_init(&f->ram);
	assert_int_equal(virtqueue_create(&f->q, f->ram.mem,
					  VIRTQUEUE_MAX_SIZE), 0);
	f->chain.iov = f->iov;
	f->chain.iov_max = sizeof(f->iov) / sizeof(f->iov[0]);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	virtqueue_destroy(f->q);
	fake_ram_deinit(&f->ram);
	free(f);
	return 0;
}

static void test_virtqueue_enable_bad_layout_refused(void **state)
{
	struct fixture *f = *state;
	static const struct {
		struct virtqueue_config c;
		int ret;
	} rows[] = {
		{ { .size = 0, .desc = RING, .avail = RING + 0x4000,
		    .used = RING + 0x8000 }, -EINVAL },
		{ { .size = 3, .desc = RING, .avail = RING + 0x4000,
		    .used = RING + 0x8000 }, -EINVAL },
		{ { .size = 2048, .desc = RING, .avail = RING + 0x10000,
		    .used = RING + 0x20000 }, -EINVAL },
		{ { .size = 8, .desc = RING + 8, .avail = RING + 0x4000,
		    .used = RING + 0x8000 }, -EINVAL },
		{ { .size = 8, .desc = RING, .avail = RING + 0x4001,
		    .used = RING + 0x8000 }, -EINVAL },
		{ { .size = 8, .desc = RING, .avail = RING + 0x4000,
		    .used = RING + 0x8002 }, -EINVAL },
		{ { .size = 8, .desc = 0, .avail = RING + 0x4000,
		    .used = RING + 0x8000 }, -EFAULT },
		/* Straddles the border between two regions. */
		{ { .size = 8, .desc = FAKE_RAM2_BASE - 64, .avail = RING,
		    .used = RING + 0x8000 }, -EFAULT },
		/* One byte of used_event, of avail_event is missing. */
		{ { .size = 8, .desc = RING, .avail = FAKE_RAM_END - 20,
		    .used = RING + 0x8000 }, -EFAULT },
		{ { .size = 8, .desc = RING, .avail = RING + 0x4000,
		    .used = FAKE_RAM_END - 68 }, -EFAULT },
		{ { .size = 8, .desc = UINT64_MAX - 15, .avail = RING,
		    .used = RING + 0x8000 }, -EFAULT },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(virtqueue_enable(f->q, &rows[i].c),
				 rows[i].ret);
		assert_false(virtqueue_enabled(f->q));
	}
}

static void test_virtqueue_enable_rings_at_end_of_ram_accepted(void **state)
{
	struct fixture *f = *state;
	struct virtqueue_config c = {
		.size = 8, .desc = RING, .avail = RING + 0x4000,
		.used = FAKE_RAM_END - 72,
	};

	assert_int_equal(virtqueue_enable(f->q, &c), 0);
	assert_int_equal(virtqueue_size(f->q), 8);
	c.avail = FAKE_RAM_END - 22;
	c.used = RING + 0x8000;
	assert_int_equal(virtqueue_enable(f->q, &c), 0);
}

static void test_virtqueue_pop_disabled_or_empty_gives_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(virtqueue_pop(f->q, &f->chain), 0);
	start(f, 8, false);
	assert_int_equal(virtqueue_pop(f->q, &f->chain), 0);
	assert_false(virtqueue_arm(f->q));
	virtqueue_disable(f->q);
	virtqueue_push(f->q, 0, 1);
	virtqueue_publish(f->q);
	assert_false(virtqueue_should_notify(f->q));
	assert_int_equal(fake_used_idx(&f->fake), 0);
}

static void test_virtqueue_pop_chain_splits_readable_and_writable(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b[] = {
		{ DATA, 16, false }, { DATA + 0x1000, 100, false },
		{ DATA + 0x2000, 0, false }, { DATA + 0x3000, 512, true },
		{ FAKE_RAM2_BASE - 8, 24, true },
	};
	uint16_t head;

	start(f, 8, false);
	f->fake.next_desc = 6;	/* the table wraps around */
	head = fake_add(&f->fake, b, 5);
	assert_int_equal(virtqueue_pop(f->q, &f->chain), 1);
	assert_int_equal(f->chain.head, head);
	assert_int_equal(f->chain.readable, 2);
	assert_int_equal(f->chain.readable_bytes, 116);
	assert_int_equal(f->chain.writable, 3);	/* the last one in two parts */
	assert_int_equal(f->chain.writable_bytes, 536);
	assert_ptr_equal(f->iov[0].iov_base, fake_ptr(&f->ram, DATA));
	assert_ptr_equal(f->iov[2].iov_base, fake_ptr(&f->ram, DATA + 0x3000));
	assert_int_equal(f->iov[3].iov_len, 8);
	assert_ptr_equal(f->iov[4].iov_base, fake_ptr(&f->ram, FAKE_RAM2_BASE));
	assert_int_equal(f->iov[4].iov_len, 16);
	assert_int_equal(virtqueue_pop(f->q, &f->chain), 0);
}

static void test_virtqueue_pop_indirect_after_direct_followed(void **state)
{
	struct fixture *f = *state;
	gpa_t tables[] = { TABLE, FAKE_RAM2_BASE - 24 };

	/* The second table straddles two regions, at an odd alignment too. */
	for (size_t i = 0; i < 2; i++) {
		start(f, 4, false);
		fake_desc(&f->fake, 0, DATA, 10, N, 2);
		/* 2.7.5.3.2: W means nothing on the table's descriptor. */
		fake_desc(&f->fake, 2, tables[i], 48, I | W, 0);
		fake_indirect(&f->ram, tables[i], 0, DATA + 64, 20, N, 2);
		fake_indirect(&f->ram, tables[i], 2, DATA + 128, 30, W, 0);
		fake_offer(&f->fake, 0);
		assert_int_equal(virtqueue_pop(f->q, &f->chain), 1);
		assert_int_equal(f->chain.readable, 2);
		assert_int_equal(f->chain.readable_bytes, 30);
		assert_int_equal(f->chain.writable_bytes, 30);
	}
}

static void test_virtqueue_pop_chain_as_long_as_queue_accepted(void **state)
{
	struct fixture *f = *state;

	start(f, 1024, false);
	for (uint16_t i = 0; i < 1024; i++)
		fake_desc(&f->fake, i, DATA + i, 1, i < 1023 ? N : 0,
			  (uint16_t)(i + 1));
	fake_offer(&f->fake, 0);
	assert_int_equal(virtqueue_pop(f->q, &f->chain), 1);
	assert_int_equal(f->chain.readable, 1024);

	start(f, 1, false);
	fake_desc(&f->fake, 0, DATA, 1, 0, 0);
	fake_offer(&f->fake, 0);
	assert_int_equal(virtqueue_pop(f->q, &f->chain), 1);
}

struct bad_chain {
	const char *name;
	uint16_t head;
	struct { gpa_t addr; uint32_t len; int flags, next; } d[2], t[2];
};

static const struct bad_chain bad_chains[] = {
	{ "head = size", 8, { { DATA, 1, 0, 0 } }, { { 0, 0, 0, 0 } } },
	{ "head 65535", 65535, { { DATA, 1, 0, 0 } }, { { 0, 0, 0, 0 } } },
	{ "next = size", 0, { { DATA, 1, N, 8 } }, { { 0, 0, 0, 0 } } },
	{ "loop of one", 0, { { DATA, 1, N, 0 } }, { { 0, 0, 0, 0 } } },
	{ "loop of one, no bytes", 0, { { DATA, 0, N, 0 } },
	  { { 0, 0, 0, 0 } } },
	{ "loop of two", 0, { { DATA, 1, N, 1 }, { DATA, 1, N, 0 } },
	  { { 0, 0, 0, 0 } } },
	{ "readable after writable", 0,
	  { { DATA, 1, W | N, 1 }, { DATA, 1, 0, 0 } },
	  { { 0, 0, 0, 0 } } },
	{ "below RAM", 0, { { FAKE_RAM_BASE - 1, 2, 0, 0 } },
	  { { 0, 0, 0, 0 } } },
	{ "one past the end of RAM", 0, { { FAKE_RAM_END - 511, 512, W, 0 } },
	  { { 0, 0, 0, 0 } } },
	{ "address wraps", 0, { { UINT64_MAX - 3, 8, W, 0 } },
	  { { 0, 0, 0, 0 } } },
	{ "length 2^32 - 1", 0, { { FAKE_RAM_BASE, UINT32_MAX, 0, 0 } },
	  { { 0, 0, 0, 0 } } },
	{ "indirect: empty", 0, { { TABLE, 0, I, 0 } }, { { 0, 0, 0, 0 } } },
	{ "indirect: odd length", 0, { { TABLE, 40, I, 0 } },
	  { { DATA, 1, 0, 0 } } },
	{ "indirect: shorter than one", 0, { { TABLE, 8, I, 0 } },
	  { { DATA, 1, 0, 0 } } },
	{ "indirect: with NEXT", 0,
	  { { TABLE, 16, I | N, 1 }, { DATA, 1, 0, 0 } },
	  { { DATA, 1, 0, 0 } } },
	{ "indirect: nested", 0, { { TABLE, 32, I, 0 } },
	  { { DATA, 1, N, 1 }, { TABLE, 16, I, 0 } } },
	{ "indirect: next outside", 0, { { TABLE, 32, I, 0 } },
	  { { DATA, 1, N, 2 } } },
	{ "indirect: loop", 0, { { TABLE, 32, I, 0 } },
	  { { DATA, 1, N, 1 }, { DATA, 1, N, 0 } } },
	{ "indirect: outside RAM", 0, { { FAKE_RAM_END - 16, 32, I, 0 } },
	  { { 0, 0, 0, 0 } } },
	{ "indirect: wraps", 0, { { UINT64_MAX - 15, 32, I, 0 } },
	  { { 0, 0, 0, 0 } } },
	{ "indirect: 4 GiB long", 0, { { TABLE, 0xfffffff0, I, 0 } },
	  { { DATA, 1, 0, 0 } } },
	{ "indirect: writable then readable", 0,
	  { { DATA, 1, W | N, 1 }, { TABLE, 16, I, 0 } },
	  { { DATA, 1, 0, 0 } } },
};

static void test_virtqueue_pop_malformed_chain_refused(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(bad_chains) / sizeof(*bad_chains); i++) {
		const struct bad_chain *b = &bad_chains[i];

		start(f, 8, false);
		for (uint16_t j = 0; j < 2; j++)
			fake_desc(&f->fake, j, b->d[j].addr, b->d[j].len,
				  (uint16_t)b->d[j].flags,
				  (uint16_t)b->d[j].next);
		for (uint16_t j = 0; j < 2; j++)
			fake_indirect(&f->ram, TABLE, j, b->t[j].addr,
				      b->t[j].len, (uint16_t)b->t[j].flags,
				      (uint16_t)b->t[j].next);
		fake_offer(&f->fake, b->head);
		if (virtqueue_pop(f->q, &f->chain) != -EPROTO)
			fail_msg("%s: not refused", b->name);
	}
}

static void test_virtqueue_pop_total_over_32_bits_refused(void **state)
{
	struct fixture *f = *state;
	struct guest_mem *mem;
	struct virtqueue *q;
	static uint8_t low[4096];

	/* A region of 3 GiB that nobody touches. */
	assert_int_equal(guest_mem_create(&mem), 0);
	fake_queue_init(&f->fake, &f->ram, RING, 8);
	assert_int_equal(guest_mem_add(mem, FAKE_RAM_BASE, FAKE_RAM_BYTES,
				       f->ram.first), 0);
	assert_int_equal(guest_mem_add(mem, UINT64_C(1) << 32,
				       UINT64_C(3) << 30, low), 0);
	assert_int_equal(virtqueue_create(&q, mem, 8), 0);
	assert_int_equal(virtqueue_enable(q, &f->fake.config), 0);
	fake_desc(&f->fake, 0, UINT64_C(1) << 32, 0x80000000, N, 1);
	fake_desc(&f->fake, 1, UINT64_C(1) << 32, 0x7fffffff, W, 0);
	fake_offer(&f->fake, 0);
	assert_int_equal(virtqueue_pop(q, &f->chain), 1);
	fake_desc(&f->fake, 1, UINT64_C(1) << 32, 0x80000000, W, 0);
	fake_offer(&f->fake, 0);
	assert_int_equal(virtqueue_pop(q, &f->chain), -EPROTO);
	virtqueue_destroy(q);
	guest_mem_destroy(mem);
}

static void test_virtqueue_pop_readonly_memory_is_only_read(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { 0x10000000, 64, false };
	static uint8_t rom[4096];

	assert_int_equal(guest_mem_add_readonly(f->ram.mem, b.addr, sizeof(rom),
						rom), 0);
	start(f, 8, false);
	fake_add(&f->fake, &b, 1);
	assert_int_equal(virtqueue_pop(f->q, &f->chain), 1);
	assert_ptr_equal(f->chain.iov[0].iov_base, rom);
	b.writable = true;
	fake_add(&f->fake, &b, 1);
	assert_int_equal(virtqueue_pop(f->q, &f->chain), -EPROTO);
	f->fake.config.used = b.addr;
	assert_int_equal(virtqueue_enable(f->q, &f->fake.config), -EFAULT);
}

static void test_virtqueue_pop_indirect_not_negotiated_refused(void **state)
{
	struct fixture *f = *state;

	start(f, 8, false);
	f->fake.config.indirect = false;
	assert_int_equal(virtqueue_enable(f->q, &f->fake.config), 0);
	fake_desc(&f->fake, 0, TABLE, 16, I, 0);
	fake_indirect(&f->ram, TABLE, 0, DATA, 1, 0, 0);
	fake_offer(&f->fake, 0);
	assert_int_equal(virtqueue_pop(f->q, &f->chain), -EPROTO);
}

static void test_virtqueue_pop_no_room_for_iov_refused(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b[] = { { DATA, 1, false }, { DATA, 1, false } };

	start(f, 8, false);
	f->chain.iov_max = 1;
	fake_add(&f->fake, b, 2);
	assert_int_equal(virtqueue_pop(f->q, &f->chain), -EPROTO);
}

static void test_virtqueue_pop_index_jump_refused(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint16_t idx;
		int ret;
	} rows[] = {
		{ 8, 1 }, { 9, -EPROTO }, { 0x8000, -EPROTO },
		{ 65535, -EPROTO },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		start(f, 8, false);
		fake_set_avail_idx(&f->fake, rows[i].idx);
		assert_int_equal(virtqueue_pop(f->q, &f->chain), rows[i].ret);
	}
}

static void test_virtqueue_pop_more_than_size_in_flight_refused(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { DATA, 1, false };

	start(f, 2, false);
	for (int i = 0; i < 2; i++) {
		fake_add(&f->fake, &b, 1);
		assert_int_equal(virtqueue_pop(f->q, &f->chain), 1);
	}
	fake_add(&f->fake, &b, 1);
	assert_int_equal(virtqueue_pop(f->q, &f->chain), -EPROTO);
	virtqueue_push(f->q, 0, 0);
	assert_int_equal(virtqueue_pop(f->q, &f->chain), 1);
}

static void test_virtqueue_indices_wrap_at_65536(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { DATA, 4, true };
	uint32_t id, len;

	start(f, 4, true);
	for (uint32_t i = 0; i < 3 * 65536; i++) {
		uint16_t head = fake_add(&f->fake, &b, 1);

		assert_int_equal(virtqueue_pop(f->q, &f->chain), 1);
		assert_int_equal(f->chain.head, head);
		virtqueue_push(f->q, head, i);
		assert_int_equal(fake_used_idx(&f->fake), (uint16_t)i);
		virtqueue_publish(f->q);
		fake_set_used_event(&f->fake, (uint16_t)i);
		assert_true(virtqueue_should_notify(f->q));
		assert_true(fake_used(&f->fake, &id, &len));
		assert_int_equal(id, head);
		assert_int_equal(len, i);
		assert_false(virtqueue_arm(f->q));
		assert_int_equal(fake_avail_event(&f->fake), (uint16_t)(i + 1));
	}
}

static void test_virtqueue_unpop_chain_comes_again(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { DATA, 4, true };
	uint16_t head;

	start(f, 4, false);
	head = fake_add(&f->fake, &b, 1);
	assert_int_equal(virtqueue_pop(f->q, &f->chain), 1);
	virtqueue_unpop(f->q);
	assert_true(virtqueue_arm(f->q));
	f->chain.head = 99;
	assert_int_equal(virtqueue_pop(f->q, &f->chain), 1);
	assert_int_equal(f->chain.head, head);
}

static void test_virtqueue_flags_suppress_both_ways(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { DATA, 4, true };

	start(f, 4, false);
	virtqueue_disarm(f->q);
	assert_int_equal(fake_used_flags(&f->fake), VRING_USED_F_NO_NOTIFY);
	fake_add(&f->fake, &b, 1);
	fake_add(&f->fake, &b, 1);
	assert_true(virtqueue_arm(f->q));
	assert_int_equal(fake_used_flags(&f->fake), 0);

	assert_int_equal(virtqueue_pop(f->q, &f->chain), 1);
	virtqueue_push(f->q, 0, 0);
	assert_false(virtqueue_should_notify(f->q));	/* not published */
	virtqueue_publish(f->q);
	assert_true(virtqueue_should_notify(f->q));
	assert_false(virtqueue_should_notify(f->q));	/* nothing new */

	fake_set_avail_flags(&f->fake, VRING_AVAIL_F_NO_INTERRUPT);
	assert_int_equal(virtqueue_pop(f->q, &f->chain), 1);
	virtqueue_push(f->q, 1, 0);
	virtqueue_publish(f->q);
	assert_false(virtqueue_should_notify(f->q));
}

static void test_virtqueue_event_index_decides(void **state)
{
	struct fixture *f = *state;
	/* Used index before, after, the driver's used_event: notify? */
	static const struct {
		uint16_t old, new, event;
		bool notify;
	} rows[] = {
		{ 0, 1, 0, true },	{ 0, 1, 1, false },
		{ 0, 1, 65535, false },	{ 5, 8, 4, false },
		{ 5, 8, 5, true },	{ 5, 8, 7, true },
		{ 5, 8, 8, false },	{ 65534, 2, 65533, false },
		{ 65534, 2, 65534, true }, { 65534, 2, 0, true },
		{ 65534, 2, 1, true },	{ 65534, 2, 2, false },
		{ 5, 8, 40000, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct virtqueue_state s = { rows[i].old, rows[i].old };

		start(f, 8, true);
		assert_int_equal(virtqueue_load(f->q, &s), 0);
		/* What went before a load is not known: always. */
		assert_true(virtqueue_should_notify(f->q));
		for (uint16_t n = rows[i].old; n != rows[i].new; n++)
			virtqueue_push(f->q, 0, 0);
		virtqueue_publish(f->q);
		fake_set_used_event(&f->fake, rows[i].event);
		if (virtqueue_should_notify(f->q) != rows[i].notify)
			fail_msg("%u → %u, event %u", rows[i].old, rows[i].new,
				 rows[i].event);
	}
}

static void test_virtqueue_event_index_kicks_follow_arm(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { DATA, 4, true };

	start(f, 8, true);
	assert_int_equal(fake_avail_event(&f->fake), 0);
	fake_add(&f->fake, &b, 1);
	virtqueue_disarm(f->q);
	assert_int_equal(virtqueue_pop(f->q, &f->chain), 1);
	assert_int_equal(fake_avail_event(&f->fake), 0);
	assert_int_equal(fake_used_flags(&f->fake), 0);
	assert_false(virtqueue_arm(f->q));
	assert_int_equal(fake_avail_event(&f->fake), 1);
	fake_add(&f->fake, &b, 1);
	assert_true(virtqueue_arm(f->q));
}

static void test_virtqueue_late_arm_waits_for_several(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { DATA, 4, true };

	start(f, 8, true);
	fake_add(&f->fake, &b, 1);
	assert_int_equal(virtqueue_pop(f->q, &f->chain), 1);
	assert_false(virtqueue_arm_late(f->q, 3));
	assert_int_equal(fake_avail_event(&f->fake), 3);
	fake_add(&f->fake, &b, 1);
	fake_add(&f->fake, &b, 1);
	assert_false(virtqueue_arm_late(f->q, 3));
	fake_add(&f->fake, &b, 1);
	assert_true(virtqueue_arm_late(f->q, 3));

	/* Nothing to say it with: no kicks at all. */
	virtqueue_disable(f->q);
	start(f, 8, false);
	virtqueue_disarm(f->q);
	assert_false(virtqueue_arm_late(f->q, 1));
	assert_int_equal(fake_used_flags(&f->fake), VRING_USED_F_NO_NOTIFY);
	fake_add(&f->fake, &b, 1);
	assert_true(virtqueue_arm_late(f->q, 1));
	virtqueue_disable(f->q);
	assert_false(virtqueue_arm_late(f->q, 1));
}

static void test_virtqueue_load_resumes_where_saved(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { DATA, 4, true };
	struct virtqueue_state s;
	uint32_t id, len;

	start(f, 4, false);
	for (int i = 0; i < 3; i++)
		fake_add(&f->fake, &b, 1);
	assert_int_equal(virtqueue_pop(f->q, &f->chain), 1);
	virtqueue_push(f->q, f->chain.head, 7);
	virtqueue_publish(f->q);
	virtqueue_save(f->q, &s);
	assert_int_equal(s.next_avail, 1);
	assert_int_equal(s.next_used, 1);

	assert_int_equal(virtqueue_enable(f->q, &f->fake.config), 0);
	assert_int_equal(virtqueue_load(f->q, &s), 0);
	assert_int_equal(virtqueue_pop(f->q, &f->chain), 1);
	assert_int_equal(f->chain.head, 1);
	virtqueue_push(f->q, 1, 8);
	virtqueue_publish(f->q);
	assert_true(fake_used(&f->fake, &id, &len));
	assert_true(fake_used(&f->fake, &id, &len));
	assert_int_equal(len, 8);
	assert_false(fake_used(&f->fake, &id, &len));
}

static void test_virtqueue_load_bad_indices_refused(void **state)
{
	struct fixture *f = *state;
	struct virtqueue_state s = { .next_avail = 5, .next_used = 0 };

	assert_int_equal(virtqueue_load(f->q, &s), -EINVAL);
	start(f, 4, false);
	assert_int_equal(virtqueue_load(f->q, &s), -EINVAL);
	s = (struct virtqueue_state){ .next_avail = 0, .next_used = 1 };
	assert_int_equal(virtqueue_load(f->q, &s), -EINVAL);
	s = (struct virtqueue_state){ .next_avail = 2, .next_used = 65534 };
	assert_int_equal(virtqueue_load(f->q, &s), 0);
}

static void test_iov_copies_across_elements(void **state)
{
	char a[4] = "abcd", b[3] = "efg", out[8] = "";
	struct iovec iov[] = { { a, 4 }, { NULL, 0 }, { b, 3 } };

	(void)state;
	assert_int_equal(iov_read(iov, 3, 2, out, 4), 4);
	assert_memory_equal(out, "cdef", 4);
	assert_int_equal(iov_read(iov, 3, 6, out, 8), 1);
	assert_int_equal(iov_read(iov, 3, 7, out, 8), 0);
	assert_int_equal(iov_write(iov, 3, 3, "XYZ", 3), 3);
	assert_memory_equal(a, "abcX", 4);
	assert_memory_equal(b, "YZg", 3);
	assert_int_equal(iov_write(iov, 3, 6, "12345", 5), 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_virtqueue_enable_bad_layout_refused),
		T(test_virtqueue_enable_rings_at_end_of_ram_accepted),
		T(test_virtqueue_pop_disabled_or_empty_gives_nothing),
		T(test_virtqueue_pop_chain_splits_readable_and_writable),
		T(test_virtqueue_pop_indirect_after_direct_followed),
		T(test_virtqueue_pop_chain_as_long_as_queue_accepted),
		T(test_virtqueue_pop_malformed_chain_refused),
		T(test_virtqueue_pop_total_over_32_bits_refused),
		T(test_virtqueue_pop_readonly_memory_is_only_read),
		T(test_virtqueue_pop_indirect_not_negotiated_refused),
		T(test_virtqueue_pop_no_room_for_iov_refused),
		T(test_virtqueue_pop_index_jump_refused),
		T(test_virtqueue_pop_more_than_size_in_flight_refused),
		T(test_virtqueue_indices_wrap_at_65536),
		T(test_virtqueue_unpop_chain_comes_again),
		T(test_virtqueue_flags_suppress_both_ways),
		T(test_virtqueue_event_index_decides),
		T(test_virtqueue_event_index_kicks_follow_arm),
		T(test_virtqueue_late_arm_waits_for_several),
		T(test_virtqueue_load_resumes_where_saved),
		T(test_virtqueue_load_bad_indices_refused),
		T(test_iov_copies_across_elements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
