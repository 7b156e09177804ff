/* SPDX-License-Identifier: MIT */
/* LINK: error loop iothread guest_mem virtio/virtqueue state */
/* LINK: virtio/device% virtio/mem */
/* WITH: fake_driver */
/* The memory device: which blocks may be plugged, and hostile requests. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <linux/virtio_mem.h>

#include "fake_driver.h"
#include "state.h"
#include "virtio/mem.h"

#define RING	FAKE_RAM_BASE
#define DATA	(FAKE_RAM_BASE + 0x100000)
#define BASE	(1ull << 32)
#define BLOCK	VIRTIO_MEM_BLOCK_BYTES
#define REGION	(64 * BLOCK)
#define NEEDS_RESET 0x40

struct fixture {
	struct fake_ram ram;
	struct iothread *thread;
	struct virtio_device *d;
	struct fake_irq irq;
	struct fake_queue q;
	uint64_t cleared_at, cleared_len;
	unsigned int clears, changes;
};

static void on_clear(void *opaque, uint64_t offset, uint64_t len_bytes)
{
	struct fixture *f = opaque;

	f->cleared_at = offset;
	f->cleared_len = len_bytes;
	f->clears++;
}

static void on_changed(void *opaque)
{
	((struct fixture *)opaque)->changes++;
}

static struct virtio_device *make(struct fixture *f)
{
	const struct mem_host host = { on_clear, on_changed, f };
	struct virtio_device *d;
	struct error e;

	assert_int_equal(virtio_mem_create(&d, BASE, REGION, &host, f->ram.mem,
					   iothread_loop(f->thread), &e), 0);
	return d;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_ram_init(&f->ram);
	assert_int_equal(iothread_create(&f->thread, "io"), 0);
	f->d = make(f);
	fake_irq_init(&f->irq, f->d);
	fake_queue_init(&f->q, &f->ram, RING, 64);
	assert_int_equal(fake_start(f->d, UINT64_MAX, &f->q, 1), 15);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	virtio_device_destroy(f->d);
	iothread_destroy(f->thread);
	fake_ram_deinit(&f->ram);
	free(f);
	return 0;
}

/* The response's type; of a state request, 16 + the state. */
static unsigned int ask(struct fixture *f, uint16_t type, uint64_t addr,
			uint16_t count)
{
	const struct virtio_mem_req req = {
		.type = type, .u.plug = { .addr = addr, .nb_blocks = count },
	};
	const struct fake_buffer b[] = {
		{ DATA, sizeof(req), false },
		{ DATA + 64, sizeof(struct virtio_mem_resp), true },
	};
	struct virtio_mem_resp resp;
	uint32_t id, len;

	memcpy(fake_ptr(&f->ram, DATA), &req, sizeof(req));
	fake_add(&f->q, b, 2);
	fake_kick(f->d, 0);
	assert_true(fake_used_wait(&f->q, &f->irq, 0, &id, &len));
	assert_int_equal(len, sizeof(resp));
	memcpy(&resp, fake_ptr(&f->ram, DATA + 64), sizeof(resp));
	if (type == VIRTIO_MEM_REQ_STATE && resp.type == VIRTIO_MEM_RESP_ACK)
		return 16u + resp.u.state.state;
	return resp.type;
}

static unsigned int plug(struct fixture *f, uint64_t block, uint16_t count)
{
	return ask(f, VIRTIO_MEM_REQ_PLUG, BASE + block * BLOCK, count);
}

static unsigned int unplug(struct fixture *f, uint64_t block, uint16_t count)
{
	return ask(f, VIRTIO_MEM_REQ_UNPLUG, BASE + block * BLOCK, count);
}

static unsigned int state_of(struct fixture *f, uint64_t block, uint16_t count)
{
	return ask(f, VIRTIO_MEM_REQ_STATE, BASE + block * BLOCK, count);
}

static void expect_plugged(struct fixture *f, uint64_t blocks)
{
	struct virtio_mem_config c;

	assert_true(virtio_mem_plugged_bytes(f->d) == blocks * BLOCK);
	virtio_reg_config_read(f->d, 0, (uint8_t *)&c, sizeof(c));
	assert_true(c.plugged_size == blocks * BLOCK);
}

static void test_mem_plugs_up_to_what_is_requested(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(plug(f, 0, 1), VIRTIO_MEM_RESP_ERROR);
	virtio_mem_request(f->d, 4 * BLOCK, 8 * BLOCK);
	assert_true(fake_irq_take(&f->irq.config));
	assert_int_equal(plug(f, 2, 3), VIRTIO_MEM_RESP_ACK);
	expect_plugged(f, 3);
	assert_int_equal(plug(f, 0, 2), VIRTIO_MEM_RESP_NACK);
	assert_int_equal(plug(f, 1, 1), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(plug(f, 7, 1), VIRTIO_MEM_RESP_NACK);
	assert_int_equal(f->changes, 2);
	assert_int_equal(state_of(f, 1, 4), 16 + VIRTIO_MEM_STATE_PLUGGED);
	assert_int_equal(state_of(f, 0, 2), 16 + VIRTIO_MEM_STATE_MIXED);
	assert_int_equal(state_of(f, 5, 3), 16 + VIRTIO_MEM_STATE_UNPLUGGED);
	/* Blocks that are plugged already, and some that are not. */
	virtio_mem_request(f->d, 8 * BLOCK, 8 * BLOCK);
	assert_int_equal(plug(f, 4, 2), VIRTIO_MEM_RESP_ERROR);
	expect_plugged(f, 4);
}

static void test_mem_unplugged_blocks_are_empty(void **state)
{
	struct fixture *f = *state;

	virtio_mem_request(f->d, 8 * BLOCK, 8 * BLOCK);
	assert_int_equal(plug(f, 0, 8), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(unplug(f, 5, 2), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(f->clears, 1);
	assert_true(f->cleared_at == 5 * BLOCK && f->cleared_len == 2 * BLOCK);
	assert_int_equal(unplug(f, 6, 2), VIRTIO_MEM_RESP_ERROR);
	assert_int_equal(f->clears, 1);
	expect_plugged(f, 6);
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0),
			 VIRTIO_MEM_RESP_ACK);
	assert_true(!f->cleared_at && f->cleared_len == 8 * BLOCK);
	expect_plugged(f, 0);
	assert_int_equal(plug(f, 0, 8), VIRTIO_MEM_RESP_ACK);
}

static void test_mem_requests_outside_are_errors(void **state)
{
	static const struct {
		uint64_t addr;
		uint16_t count;
	} bad[] = {
		{ BASE, 0 }, { BASE + 1, 1 }, { BASE - BLOCK, 1 },
		{ BASE - BLOCK, 2 }, { 0, 1 }, { UINT64_MAX - BLOCK + 1, 1 },
		{ BASE + 8 * BLOCK, 1 }, { BASE + 7 * BLOCK, 2 },
		{ BASE, UINT16_MAX }, { BASE + REGION, 1 },
	};
	struct fixture *f = *state;

	virtio_mem_request(f->d, REGION, 8 * BLOCK);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (uint16_t type = 0; type < 8; type++)
			if (type != VIRTIO_MEM_REQ_UNPLUG_ALL)
				assert_int_equal(ask(f, type, bad[i].addr,
						     bad[i].count),
						 VIRTIO_MEM_RESP_ERROR);
	assert_int_equal(ask(f, 77, BASE, 1), VIRTIO_MEM_RESP_ERROR);
	expect_plugged(f, 0);
	assert_int_equal(f->clears, 0);
}

static void test_mem_short_request_breaks_device(void **state)
{
	struct fixture *f = *state;
	const struct fake_buffer b[] = {
		{ DATA, 8, false }, { DATA + 64, 10, true },
	};

	fake_add(&f->q, b, 2);
	fake_kick(f->d, 0);
	assert_true(fake_irq_wait(&f->irq.config));
	assert_int_equal(virtio_reg_status(f->d), 15 | NEEDS_RESET);
}

/* The driver's reset keeps the blocks, the system's does not. */
static void test_mem_blocks_outlive_the_driver(void **state)
{
	struct fixture *f = *state;

	virtio_mem_request(f->d, 8 * BLOCK, 8 * BLOCK);
	assert_int_equal(plug(f, 0, 2), VIRTIO_MEM_RESP_ACK);
	virtio_reg_status_write(f->d, 0);
	expect_plugged(f, 2);
	virtio_mem_unplug_all(f->d);
	expect_plugged(f, 0);
	assert_true(virtio_mem_requested_bytes(f->d) == 8 * BLOCK);
}

static void test_mem_state_survives(void **state)
{
	struct fixture *f = *state;
	struct state_writer w = STATE_WRITER_INIT;
	struct virtio_device *d = make(f);
	struct state_reader r;
	struct error e;

	virtio_mem_request(f->d, 8 * BLOCK, 9 * BLOCK);
	assert_int_equal(plug(f, 3, 2), VIRTIO_MEM_RESP_ACK);
	virtio_device_quiesce(f->d);
	virtio_device_save(f->d, &w);
	fake_irq_init(&f->irq, d);
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(virtio_device_load(d, &r, &e), 0);
	assert_int_equal(state_reader_finish(&r), 0);
	assert_true(virtio_mem_plugged_bytes(d) == 2 * BLOCK);
	assert_true(virtio_mem_requested_bytes(d) == 8 * BLOCK);
	virtio_device_destroy(d);
	/* A plugged block that could not be: the last. */
	d = make(f);
	fake_irq_init(&f->irq, d);
	w.data[w.len_bytes - 1] = 1;
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(virtio_device_load(d, &r, &e), -EINVAL);
	virtio_device_destroy(d);
	state_writer_deinit(&w);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* Whoever says how much the guest may use cannot make it more than there is. */
static void test_mem_usable_is_never_more_than_the_region(void **state)
{
	struct fixture *f = *state;

	virtio_mem_request(f->d, REGION + 4 * BLOCK, REGION + 4 * BLOCK);
	assert_int_equal(plug(f, 64, 1), VIRTIO_MEM_RESP_ERROR);
	assert_int_equal(plug(f, 63, 2), VIRTIO_MEM_RESP_ERROR);
	assert_int_equal(plug(f, 63, 1), VIRTIO_MEM_RESP_ACK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_mem_plugs_up_to_what_is_requested),
		T(test_mem_unplugged_blocks_are_empty),
		T(test_mem_requests_outside_are_errors),
		T(test_mem_short_request_breaks_device),
		T(test_mem_blocks_outlive_the_driver),
		T(test_mem_state_survives),
		T(test_mem_usable_is_never_more_than_the_region),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
