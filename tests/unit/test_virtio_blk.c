/* SPDX-License-Identifier: MIT */
/* LINK: error loop iothread guest_mem state virtio/virtqueue */
/* LINK: virtio/device% */
/* LINK: virtio/blk virtio/blk_count virtio/blk_queue virtio/blk_request */
/* LINK: block/file block/probe block/vhd */
/* LINK: block/engine block/bounce block/uring block/threads */
/* WITH: fake_driver */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_driver.h"
#include "state.h"
#include "virtio/blk.h"

#define SECTORS	128u
#define RING(i)	(FAKE_RAM_BASE + 0x10000 * (gpa_t)(i))
#define HEADER	(FAKE_RAM_BASE + 0x100000)
#define STATUS	(FAKE_RAM_BASE + 0x101000)
#define DATA	(FAKE_RAM_BASE + 0x110000)
#define NEEDS_RESET 0x40

static enum block_engine_kind kind;

struct fixture {
	char path[160];
	struct config_disk disk;
	struct fake_ram ram;
	struct iothread *threads[2];
	struct virtio_device *d;
	struct fake_irq irq;
	struct fake_queue q[2];
};

static void create(struct fixture *f)
{
	struct loop *const loops[] = { iothread_loop(f->threads[0]),
				       iothread_loop(f->threads[1]) };
	struct error e;
	int ret = virtio_blk_create(&f->d, &f->disk, f->ram.mem, loops, &e);

	if (ret)
		fail_msg("%s", e.text);
	virtio_blk_set_engine(f->d, kind);
	fake_irq_init(&f->irq, f->d);
}

static void start(struct fixture *f, uint64_t features)
{
	for (unsigned int i = 0; i < f->disk.queues; i++)
		fake_queue_init(&f->q[i], &f->ram, RING(i), 64);
	assert_int_equal(fake_start(f->d, features, f->q, f->disk.queues), 15);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	uint8_t sector[512];
	int fd;

	snprintf(f->path, sizeof(f->path), "%s/test-blk-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	fd = mkstemp(f->path);
	for (unsigned int i = 0; i < SECTORS; i++) {
		memset(sector, (int)i + 1, sizeof(sector));
		assert_int_equal(write(fd, sector, 512), 512);
	}
	close(fd);
	f->disk = (struct config_disk){
		.path = f->path, .id = "disk0", .queues = 1,
	};
	fake_ram_init(&f->ram);
	assert_int_equal(iothread_create(&f->threads[0], "io"), 0);
	assert_int_equal(iothread_create(&f->threads[1], "io1"), 0);
	create(f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	virtio_device_destroy(f->d);
	iothread_destroy(f->threads[0]);
	iothread_destroy(f->threads[1]);
	fake_ram_deinit(&f->ram);
	unlink(f->path);
	free(f);
	return 0;
}

static void recreate(struct fixture *f)
{
	virtio_device_destroy(f->d);
	create(f);
}

static void put_header(struct fixture *f, uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr h = { .type = type, .sector = sector };

	memcpy(fake_ptr(&f->ram, HEADER), &h, sizeof(h));
	*(uint8_t *)fake_ptr(&f->ram, STATUS) = 0xee;
}

static uint8_t status(struct fixture *f)
{
	return *(uint8_t *)fake_ptr(&f->ram, STATUS);
}

/* Runs a chain through queue 0; its used length. */
static uint32_t run(struct fixture *f, const struct fake_buffer *b,
		    unsigned int count)
{
	uint16_t head = fake_add(&f->q[0], b, count);
	uint32_t id, len;

	fake_kick(f->d, 0);
	assert_true(fake_used_wait(&f->q[0], &f->irq, 0, &id, &len));
	assert_int_equal(id, head);
	return len;
}

/* The usual shape: header, data, status. */
static uint32_t request(struct fixture *f, uint32_t type, uint64_t sector,
			uint32_t len)
{
	struct fake_buffer b[] = {
		{ HEADER, 16, false },
		{ DATA, len, type == VIRTIO_BLK_T_IN ||
			     type == VIRTIO_BLK_T_GET_ID },
		{ STATUS, 1, true },
	};

	put_header(f, type, sector);
	if (len)
		return run(f, b, 3);
	b[1] = b[2];
	return run(f, b, 2);
}

static uint8_t *data(struct fixture *f)
{
	return fake_ptr(&f->ram, DATA);
}

static uint8_t byte_at(struct fixture *f, off_t offset)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	uint8_t b;

	assert_int_equal(pread(fd, &b, 1, offset), 1);
	close(fd);
	return b;
}

static uint64_t config_u64(struct fixture *f, uint32_t offset, uint32_t len)
{
	uint64_t v = 0;

	virtio_reg_config_read(f->d, offset, (uint8_t *)&v, len);
	return v;
}

static bool offered(struct fixture *f, unsigned int bit)
{
	return f->d->offered >> bit & 1;
}

static void test_blk_config_and_features_describe_image(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(config_u64(f, 0, 8), SECTORS);
	assert_int_equal(config_u64(f, 12, 4), 254);	/* seg_max */
	assert_int_equal(config_u64(f, 20, 4), 512);	/* blk_size */
	assert_int_equal(config_u64(f, 24, 1), 3);	/* 4 KiB physical */
	assert_int_equal(config_u64(f, 26, 2), 8);	/* min_io_size */
	assert_true(offered(f, VIRTIO_BLK_F_TOPOLOGY));
	assert_true(offered(f, VIRTIO_BLK_F_FLUSH));
	assert_true(offered(f, VIRTIO_BLK_F_DISCARD));
	assert_true(offered(f, VIRTIO_BLK_F_WRITE_ZEROES));
	assert_false(offered(f, VIRTIO_BLK_F_RO));
	assert_false(offered(f, VIRTIO_BLK_F_MQ));
	f->disk.readonly = f->disk.no_flush = true;
	f->disk.queues = 2;
	recreate(f);
	assert_true(offered(f, VIRTIO_BLK_F_RO));
	assert_true(offered(f, VIRTIO_BLK_F_MQ));
	assert_false(offered(f, VIRTIO_BLK_F_FLUSH));
	assert_false(offered(f, VIRTIO_BLK_F_DISCARD));
	assert_int_equal(config_u64(f, 34, 2), 2);	/* num_queues */
}

static void test_blk_create_bad_config_refused(void **state)
{
	struct fixture *f = *state;
	struct config_disk c = { .path = f->path, .queues = 1 };
	struct virtio_device *d;
	struct error e;

	/* The fixture's disk has it locked. */
	assert_int_equal(virtio_blk_create(&d, &c, f->ram.mem, NULL, &e),
			 -EBUSY);
	c.queues = 65;
	assert_int_equal(virtio_blk_create(&d, &c, f->ram.mem, NULL, &e),
			 -EINVAL);
	c.queues = 1;
	c.serial = "123456789012345678901";
	assert_int_equal(virtio_blk_create(&d, &c, f->ram.mem, NULL, &e),
			 -EINVAL);
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	c.serial = NULL;
	virtio_device_destroy(f->d);
	c.format = DISK_VHD;
	assert_int_equal(virtio_blk_create(&d, &c, f->ram.mem, NULL, &e),
			 -EINVAL);
	assert_non_null(strstr(e.text, f->path));
	create(f);
}

static void test_blk_read_write_flush_work(void **state)
{
	struct fixture *f = *state;

	start(f, UINT64_MAX);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 2, 1024), 1025);
	assert_int_equal(status(f), VIRTIO_BLK_S_OK);
	assert_int_equal(data(f)[0], 3);
	assert_int_equal(data(f)[1023], 4);
	memset(data(f), 'w', 1024);
	assert_int_equal(request(f, VIRTIO_BLK_T_OUT, 126, 1024), 1);
	assert_int_equal(status(f), VIRTIO_BLK_S_OK);
	assert_int_equal(byte_at(f, 126 * 512 - 1), 126);
	assert_int_equal(byte_at(f, 126 * 512), 'w');
	assert_int_equal(byte_at(f, 128 * 512 - 1), 'w');
	assert_int_equal(request(f, VIRTIO_BLK_T_FLUSH, 0, 0), 1);
	assert_int_equal(status(f), VIRTIO_BLK_S_OK);
}

static void test_blk_without_flush_negotiated_writes_through(void **state)
{
	struct fixture *f = *state;

	start(f, 0);
	memset(data(f), 'w', 512);
	assert_int_equal(request(f, VIRTIO_BLK_T_OUT, 0, 512), 1);
	assert_int_equal(status(f), VIRTIO_BLK_S_OK);
	assert_int_equal(byte_at(f, 0), 'w');
}

static void test_blk_get_id_gives_serial(void **state)
{
	struct fixture *f = *state;
	static const char id[20] = "disk0";

	start(f, 0);
	assert_int_equal(request(f, VIRTIO_BLK_T_GET_ID, 0, 20), 21);
	assert_memory_equal(data(f), id, 20);
	f->disk.serial = "12345678901234567890";
	recreate(f);
	start(f, 0);
	memset(data(f), 0, 32);
	assert_int_equal(request(f, VIRTIO_BLK_T_GET_ID, 0, 32), 21);
	assert_memory_equal(data(f), "12345678901234567890\0", 21);
	/* A driver with less room gets less. */
	memset(data(f), 0, 32);
	assert_int_equal(request(f, VIRTIO_BLK_T_GET_ID, 0, 4), 5);
	assert_memory_equal(data(f), "1234\0", 5);
}

static void test_blk_chain_cut_anywhere_same_result(void **state)
{
	struct fixture *f = *state;
	/* 2.7.4: header, data and status know no descriptor borders. */
	struct fake_buffer split[] = {
		{ HEADER, 3, false }, { HEADER + 3, 10, false },
		{ HEADER + 13, 3, false },
		{ DATA, 1, true }, { DATA + 1, 510, true },
		{ DATA + 511, 1, true }, { STATUS, 1, true },
	};
	struct fake_buffer joined[] = {
		{ HEADER, 16, false }, { DATA, 513, true },
	};
	/* Header and data in one readable buffer. */
	struct fake_buffer write[] = {
		{ HEADER, 16 + 512, false }, { STATUS, 1, true },
	};

	start(f, UINT64_MAX);
	put_header(f, VIRTIO_BLK_T_IN, 5);
	assert_int_equal(run(f, split, 7), 513);
	assert_int_equal(status(f), 0);
	assert_int_equal(data(f)[0] + data(f)[511], 12);

	memset(data(f), 0xee, 600);
	assert_int_equal(run(f, joined, 2), 513);
	assert_int_equal(data(f)[0] + data(f)[511], 12);
	assert_int_equal(data(f)[512], 0);

	put_header(f, VIRTIO_BLK_T_OUT, 7);
	memset(fake_ptr(&f->ram, HEADER + 16), 'j', 512);
	assert_int_equal(run(f, write, 2), 1);
	assert_int_equal(status(f), 0);
	assert_int_equal(byte_at(f, 7 * 512), 'j');
	assert_int_equal(byte_at(f, 8 * 512), 9);
}

static void test_blk_hostile_request_fails_alone(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t len;
		uint8_t status;
	} rows[] = {
		{ VIRTIO_BLK_T_IN, 0, 511, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, 0, 513, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, 0, 0, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_IN, SECTORS, 0, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_IN, SECTORS + 1, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, SECTORS - 1, 512, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_IN, SECTORS - 1, 1024, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, SECTORS, 512, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, UINT64_MAX, 512, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, UINT64_MAX / 512 + 1, 512,
		  VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, SECTORS, 512, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, UINT64_MAX, 1024, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, 0, 100, VIRTIO_BLK_S_IOERR },
		{ 2, 0, 512, VIRTIO_BLK_S_UNSUPP },
		{ 0x80000000, 0, 512, VIRTIO_BLK_S_UNSUPP },
		{ UINT32_MAX, UINT64_MAX, 0, VIRTIO_BLK_S_UNSUPP },
	};

	start(f, UINT64_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint32_t len = request(f, rows[i].type, rows[i].sector,
				       rows[i].len);

		if (status(f) != rows[i].status)
			fail_msg("row %zu: status %u", i, status(f));
		if (rows[i].status != VIRTIO_BLK_S_OK)
			assert_int_equal(len, 1);
	}
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 0, 512), 513);
	assert_int_equal(status(f), 0);
}

static void test_blk_short_header_fails_alone(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b[] = { { HEADER, 15, false }, { STATUS, 1, true } };

	start(f, UINT64_MAX);
	put_header(f, VIRTIO_BLK_T_IN, 0);
	assert_int_equal(run(f, b, 2), 1);
	assert_int_equal(status(f), VIRTIO_BLK_S_IOERR);
	*(uint8_t *)fake_ptr(&f->ram, STATUS) = 0xee;
	assert_int_equal(run(f, b + 1, 1), 1);
	assert_int_equal(status(f), VIRTIO_BLK_S_IOERR);
}

static void test_blk_no_status_byte_breaks_device(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b[] = {
		{ HEADER, 16, false }, { DATA, 512, false },
		{ STATUS, 0, true },
	};

	start(f, UINT64_MAX);
	put_header(f, VIRTIO_BLK_T_OUT, 0);
	fake_add(&f->q[0], b, 3);
	fake_kick(f->d, 0);
	assert_true(fake_irq_wait(&f->irq.config));
	assert_int_equal(virtio_reg_status(f->d), 15 | NEEDS_RESET);
	assert_int_equal(byte_at(f, 0), 1);
	virtio_reg_status_write(f->d, 0);
	start(f, UINT64_MAX);
	request(f, VIRTIO_BLK_T_IN, 0, 512);
	assert_int_equal(status(f), 0);
}

static void test_blk_readonly_refuses_changes(void **state)
{
	struct fixture *f = *state;

	f->disk.readonly = true;
	recreate(f);
	start(f, UINT64_MAX);
	request(f, VIRTIO_BLK_T_OUT, 0, 512);
	assert_int_equal(status(f), VIRTIO_BLK_S_IOERR);
	request(f, VIRTIO_BLK_T_DISCARD, 0, 16);
	assert_int_equal(status(f), VIRTIO_BLK_S_UNSUPP);
	request(f, VIRTIO_BLK_T_FLUSH, 0, 0);
	assert_int_equal(status(f), VIRTIO_BLK_S_OK);
	request(f, VIRTIO_BLK_T_IN, 0, 512);
	assert_int_equal(status(f), VIRTIO_BLK_S_OK);
	assert_int_equal(byte_at(f, 0), 1);
}

static void test_blk_ranges_checked_and_zeroed(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t count, flags;
		uint8_t status;
	} rows[] = {
		{ VIRTIO_BLK_T_WRITE_ZEROES, 8, 8, 1, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 24, 3, 0, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 0, 0, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 2, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_WRITE_ZEROES, SECTORS - 1, 2, 0,
		  VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_WRITE_ZEROES, UINT64_MAX, 2, 0,
		  VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 0, UINT32_MAX, 0,
		  VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, 64, 8, 0, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_DISCARD, 0, 8, 1, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_DISCARD, SECTORS, 1, 0, VIRTIO_BLK_S_IOERR },
	};

	start(f, UINT64_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct virtio_blk_discard_write_zeroes seg = {
			.sector = rows[i].sector,
			.num_sectors = rows[i].count, .flags = rows[i].flags,
		};

		memcpy(data(f), &seg, sizeof(seg));
		request(f, rows[i].type, 0, sizeof(seg));
		if (status(f) != rows[i].status)
			fail_msg("row %zu: status %u", i, status(f));
	}
	assert_int_equal(byte_at(f, 8 * 512 - 1), 8);
	assert_int_equal(byte_at(f, 8 * 512), 0);
	assert_int_equal(byte_at(f, 16 * 512 - 1), 0);
	assert_int_equal(byte_at(f, 16 * 512), 17);
	assert_int_equal(byte_at(f, 24 * 512), 0);
	assert_int_equal(byte_at(f, 27 * 512 - 1), 0);
	assert_int_equal(byte_at(f, 27 * 512), 28);
	assert_int_equal(byte_at(f, 0), 1);

	/* Half a segment, and two where one is the maximum. */
	request(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8);
	assert_int_equal(status(f), VIRTIO_BLK_S_IOERR);
	request(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, 32);
	assert_int_equal(status(f), VIRTIO_BLK_S_IOERR);
}

static void test_blk_ranges_not_negotiated_unsupported(void **state)
{
	struct fixture *f = *state;
	struct virtio_blk_discard_write_zeroes seg = { .num_sectors = 8 };

	start(f, 0);
	memcpy(data(f), &seg, sizeof(seg));
	request(f, VIRTIO_BLK_T_DISCARD, 0, sizeof(seg));
	assert_int_equal(status(f), VIRTIO_BLK_S_UNSUPP);
	request(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(seg));
	assert_int_equal(status(f), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(byte_at(f, 0), 1);
}

static void test_blk_image_shrunk_read_fails_alone(void **state)
{
	struct fixture *f = *state;

	start(f, UINT64_MAX);
	assert_int_equal(truncate(f->path, 512), 0);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 1, 512), 1);
	assert_int_equal(status(f), VIRTIO_BLK_S_IOERR);
	request(f, VIRTIO_BLK_T_IN, 0, 512);
	assert_int_equal(status(f), VIRTIO_BLK_S_OK);
}

static void test_blk_counts_what_was_asked(void **state)
{
	struct fixture *f = *state;
	struct virtio_blk_discard_write_zeroes seg = { .sector = 32,
						       .num_sectors = 8 };
	struct virtio_blk_counters c;

	start(f, UINT64_MAX);
	request(f, VIRTIO_BLK_T_IN, 0, 512);
	request(f, VIRTIO_BLK_T_IN, 0, 1536);
	request(f, VIRTIO_BLK_T_IN, SECTORS, 512);	/* beyond the end */
	request(f, VIRTIO_BLK_T_OUT, 8, 1024);
	request(f, VIRTIO_BLK_T_OUT, 2, 512);
	request(f, VIRTIO_BLK_T_FLUSH, 0, 0);
	request(f, VIRTIO_BLK_T_GET_ID, 0, 20);
	request(f, 77, 0, 512);
	memcpy(data(f), &seg, sizeof(seg));
	request(f, VIRTIO_BLK_T_DISCARD, 0, sizeof(seg));
	seg.sector = 16;
	memcpy(data(f), &seg, sizeof(seg));
	request(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(seg));
	assert_int_equal(truncate(f->path, 512), 0);
	request(f, VIRTIO_BLK_T_IN, 1, 512);		/* gone on the host */

	/* A reset is not a new disk. */
	virtio_device_reset(f->d);
	virtio_blk_count(f->d, &c);
	assert_int_equal(c.reads.operations, 2);
	assert_int_equal(c.reads.bytes, 2048);
	assert_int_equal(c.reads.failed, 1);
	assert_int_equal(c.reads.invalid, 1);
	assert_in_range(c.reads.time_ns, 1, UINT64_C(60000000000));
	assert_int_equal(c.writes.operations, 3);
	assert_int_equal(c.writes.bytes, 1536 + 8 * 512);
	assert_int_equal(c.writes.failed + c.writes.invalid, 0);
	assert_int_equal(c.write_end_bytes, 24 * 512);
	assert_int_equal(c.flushes.operations, 1);
	assert_int_equal(c.flushes.bytes, 0);
	assert_int_equal(c.discards.operations, 1);
	assert_int_equal(c.discards.bytes, 8 * 512);
}

/* Offers count reads; their data and status bytes lie apart. */
static void offer_reads(struct fixture *f, unsigned int queue,
			unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct fake_buffer b[] = {
			{ HEADER, 16, false },
			{ DATA + 0x40000 * (gpa_t)queue + 1024 * (gpa_t)i, 513,
			  true },
		};

		*((uint8_t *)fake_ptr(&f->ram, b[1].addr) + 512) = 0xee;
		fake_add(&f->q[queue], b, 2);
	}
}

static void take_reads(struct fixture *f, unsigned int queue,
		       unsigned int count)
{
	uint32_t id, len;

	for (unsigned int i = 0; i < count; i++) {
		assert_true(fake_used_wait(&f->q[queue], &f->irq, queue, &id,
					   &len));
		assert_int_equal(len, 513);
	}
}

#define MANY		200u		/* more than slots */
#define TABLES		(FAKE_RAM_BASE + 0x104000)

static gpa_t many_data(unsigned int queue, unsigned int i)
{
	return DATA + 0x40000 * (gpa_t)queue + 1024 * (gpa_t)i;
}

/* A chain of two in a table takes one descriptor of the ring. */
static void offer_many(struct fixture *f, unsigned int queue)
{
	for (uint16_t i = 0; i < MANY; i++) {
		gpa_t table = TABLES + 32 * (queue * MANY + i);

		fake_indirect(&f->ram, table, 0, HEADER, 16, VRING_DESC_F_NEXT,
			      1);
		fake_indirect(&f->ram, table, 1, many_data(queue, i), 513,
			      VRING_DESC_F_WRITE, 0);
		fake_desc(&f->q[queue], i, table, 32, VRING_DESC_F_INDIRECT, 0);
		memset(fake_ptr(&f->ram, many_data(queue, i)), 0xee, 513);
		fake_offer(&f->q[queue], i);
	}
}

static void test_blk_more_requests_than_slots_all_complete(void **state)
{
	struct fixture *f = *state;
	struct virtio_blk_counters c;

	f->disk.queues = 2;
	recreate(f);
	/* 2 × 200 chains, in tables of their own, on 2 × 128 slots. */
	for (unsigned int i = 0; i < 2; i++)
		fake_queue_init(&f->q[i], &f->ram, RING(i), 256);
	put_header(f, VIRTIO_BLK_T_IN, 9);
	assert_int_equal(fake_start(f->d, UINT64_MAX, f->q, 2), 15);
	for (unsigned int round = 0; round < 50; round++) {
		offer_many(f, 0);
		offer_many(f, 1);
		fake_kick(f->d, 0);
		fake_kick(f->d, 1);
		take_reads(f, 0, MANY);
		take_reads(f, 1, MANY);
		for (unsigned int i = 0; i < 2 * MANY; i++) {
			uint8_t *p = fake_ptr(&f->ram, many_data(i / MANY,
								 i % MANY));

			assert_int_equal(p[0] + p[511], 20);
			assert_int_equal(p[512], 0);
		}
	}
	virtio_blk_count(f->d, &c);
	assert_int_equal(c.reads.operations, 2 * 50 * MANY);
	assert_int_equal(c.reads.bytes, 2 * 50 * MANY * 512);
}

static void test_blk_quiesce_drains_and_resume_goes_on(void **state)
{
	struct fixture *f = *state;
	uint16_t used;

	start(f, UINT64_MAX);
	put_header(f, VIRTIO_BLK_T_IN, 9);
	for (unsigned int round = 0; round < 50; round++) {
		offer_reads(f, 0, 32);
		fake_kick(f->d, 0);
		virtio_device_quiesce(f->d);
		/* Whatever was taken is finished, nothing else is begun. */
		used = fake_used_idx(&f->q[0]);
		usleep(100);
		assert_int_equal(fake_used_idx(&f->q[0]), used);
		virtio_device_resume(f->d);
		take_reads(f, 0, 32);
	}
}

#define TABLE	(FAKE_RAM_BASE + 0x102000)
#define PIECE	0xe0000u	/* × 150: more than half of what is let in */
#define PIECES	150u

/* Many reads of much into the same little memory. */
static void test_blk_quiesce_waits_for_a_bounded_amount(void **state)
{
	struct fixture *f = *state;
	const unsigned int count = 32;
	unsigned int done;

	assert_int_equal(truncate(f->path, PIECE * (off_t)PIECES), 0);
	recreate(f);
	fake_queue_init(&f->q[0], &f->ram, RING(0), 256);
	put_header(f, VIRTIO_BLK_T_IN, 0);
	fake_indirect(&f->ram, TABLE, 0, HEADER, 16, VRING_DESC_F_NEXT, 1);
	for (uint16_t i = 1; i <= PIECES; i++)
		fake_indirect(&f->ram, TABLE, i, DATA, PIECE,
			      VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, i + 1);
	fake_indirect(&f->ram, TABLE, PIECES + 1, STATUS, 1,
		      VRING_DESC_F_WRITE, 0);
	assert_int_equal(fake_start(f->d, UINT64_MAX, f->q, 1), 15);
	for (uint16_t i = 0; i < count; i++) {
		fake_desc(&f->q[0], i, TABLE, (PIECES + 2) * 16,
			  VRING_DESC_F_INDIRECT, 0);
		fake_offer(&f->q[0], i);
	}
	fake_kick(f->d, 0);
	usleep(1000);
	virtio_device_quiesce(f->d);
	done = fake_used_idx(&f->q[0]);
	assert_true(done < count / 2);
	/* And they are not forgotten. */
	virtio_device_resume(f->d);
	for (int i = 0; i < 200 && fake_used_idx(&f->q[0]) <= done; i++)
		usleep(10000);
	assert_true(fake_used_idx(&f->q[0]) > done);
	assert_int_equal(status(f), VIRTIO_BLK_S_OK);
}

static void test_blk_reset_with_requests_in_flight(void **state)
{
	struct fixture *f = *state;
	uint16_t used;

	for (unsigned int round = 0; round < 50; round++) {
		start(f, UINT64_MAX);
		put_header(f, VIRTIO_BLK_T_IN, 9);
		offer_reads(f, 0, 32);
		fake_kick(f->d, 0);
		virtio_reg_status_write(f->d, 0);
		used = fake_used_idx(&f->q[0]);
		usleep(100);
		assert_int_equal(fake_used_idx(&f->q[0]), used);
	}
	start(f, UINT64_MAX);
	request(f, VIRTIO_BLK_T_IN, 0, 512);
	assert_int_equal(status(f), 0);
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/*
 * Mostly plausible, so that rounds get beyond the first check: readable
 * descriptors in the lower half of a table lead to writable ones in the upper.
 */
static void random_desc(struct fixture *f, gpa_t table, unsigned int index,
			uint32_t *seed)
{
	static const uint32_t lens[] = { 16, 512, 1, 513, 1024, 16, 4096, 15,
					 0, 17, 0x10000, UINT32_MAX };
	static const gpa_t bases[] = { HEADER, DATA, STATUS, HEADER, DATA,
				       FAKE_RAM2_BASE - 256, HEADER, DATA,
				       RING(0), FAKE_RAM_END - 16, 1,
				       UINT64_MAX - 7 };
	bool wild = !(next_random(seed) % 16);
	struct { uint64_t addr; uint32_t len; uint16_t flags, next; } d;

	d.addr = bases[next_random(seed) % (wild ? 12 : 8)];
	d.len = lens[next_random(seed) % (wild ? 12 : 8)];
	d.next = (uint16_t)(wild ? next_random(seed) % 17 :
				   8 + next_random(seed) % 8);
	d.flags = (uint16_t)(wild ? next_random(seed) % 8 :
			     (index >= 8 ? 2u : 0u) + !(next_random(seed) % 3));
	if (index < 8 && !wild)
		d.flags |= 1;
	memcpy(fake_ptr(&f->ram, table + 16 * index), &d, sizeof(d));
}

static void test_blk_random_rings_harmless(void **state)
{
	struct fixture *f = *state;
	unsigned int broken = 0;
	uint32_t seed = 1;

	for (unsigned int round = 0; round < 3000; round++) {
		uint8_t s;

		fake_queue_init(&f->q[0], &f->ram, RING(0), 16);
		for (unsigned int i = 0; i < 16; i++)
			random_desc(f, RING(0), i, &seed);
		for (unsigned int i = 1; i < 16; i++)
			random_desc(f, HEADER, i, &seed);
		put_header(f, next_random(&seed) % 16,
			   next_random(&seed) % (SECTORS + 2));
		for (unsigned int i = 0; i < 3; i++)
			fake_offer(&f->q[0],
				   (uint16_t)(next_random(&seed) % 9));
		s = fake_start(f->d, UINT64_MAX, f->q, 1);
		virtio_device_quiesce(f->d);
		virtio_device_resume(f->d);
		s |= virtio_reg_status(f->d);
		assert_int_equal(s & ~NEEDS_RESET, 15);
		broken += s != 15;
		virtio_reg_status_write(f->d, 0);
	}
	/* Both kinds of rounds have happened. */
	assert_in_range(broken, 100, 2900);
	start(f, UINT64_MAX);
	request(f, VIRTIO_BLK_T_IN, 0, 512);
	assert_int_equal(status(f), 0);
}

static void test_blk_resize_tells_the_driver(void **state)
{
	struct fixture *f = *state;
	uint8_t generation;
	struct error e;

	start(f, UINT64_MAX);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, SECTORS, 512), 1);
	generation = atomic_load(&f->d->config_generation);
	assert_int_equal(virtio_blk_resize(f->d, 2 * SECTORS * 512, &e), 0);
	assert_true(fake_irq_wait(&f->irq.config));
	assert_true(atomic_load(&f->d->config_generation) != generation);
	assert_int_equal(config_u64(f, 0, 8), 2 * SECTORS);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 2 * SECTORS - 1, 512),
			 513);
	assert_int_equal(virtio_blk_resize(f->d, SECTORS * 256, &e), 0);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, SECTORS / 2, 512), 1);
	assert_int_equal(status(f), VIRTIO_BLK_S_IOERR);
	assert_int_equal(virtio_blk_resize(f->d, 1000, &e), -EINVAL);
	assert_int_equal(virtio_blk_resize(f->d, 0, &e), -EINVAL);
	assert_int_equal(config_u64(f, 0, 8), SECTORS / 2);
	/* Paused, it stays so. */
	virtio_device_quiesce(f->d);
	assert_int_equal(virtio_blk_resize(f->d, SECTORS * 512, &e), 0);
	assert_true(f->d->quiesced);
	virtio_device_resume(f->d);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, SECTORS - 1, 512), 513);
}

static void test_blk_replace_swaps_the_image(void **state)
{
	struct fixture *f = *state;
	char other[170];
	struct config_disk c = { .path = other }, again = { .path = f->path };
	struct error e;
	int fd;

	snprintf(other, sizeof(other), "%s.other", f->path);
	fd = open(other, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "other", 5), 5);
	assert_int_equal(ftruncate(fd, 512 * 1000), 0);
	close(fd);
	f->disk.queues = 2;
	recreate(f);
	start(f, UINT64_MAX);
	put_header(f, VIRTIO_BLK_T_IN, 0);
	offer_reads(f, 0, 16);
	offer_reads(f, 1, 16);
	fake_kick(f->d, 0);
	fake_kick(f->d, 1);
	assert_int_equal(virtio_blk_replace(f->d, &c, &e), 0);
	assert_true(fake_irq_wait(&f->irq.config));
	take_reads(f, 0, 16);
	take_reads(f, 1, 16);
	assert_int_equal(config_u64(f, 0, 8), 1000);
	for (unsigned int i = 0; i < 2; i++) {
		offer_reads(f, i, 1);
		fake_kick(f->d, i);
		take_reads(f, i, 1);
	}
	request(f, VIRTIO_BLK_T_IN, 0, 512);
	assert_memory_equal(data(f), "other", 5);
	memset(data(f), 'n', 512);
	request(f, VIRTIO_BLK_T_OUT, 999, 512);
	assert_int_equal(status(f), VIRTIO_BLK_S_OK);
	/* The first image is free again, and untouched. */
	assert_int_equal(byte_at(f, 0), 1);
	c.readonly = true;
	assert_int_equal(virtio_blk_replace(f->d, &c, &e), -EINVAL);
	assert_int_equal(virtio_blk_replace(f->d, &again, &e), 0);
	request(f, VIRTIO_BLK_T_IN, 0, 512);
	assert_int_equal(data(f)[0], 1);
	again.path = (char *)"/nonexistent";
	assert_int_equal(virtio_blk_replace(f->d, &again, &e), -ENOENT);
	request(f, VIRTIO_BLK_T_IN, 1, 512);
	assert_int_equal(data(f)[0], 2);
	unlink(other);
}

static void test_blk_load_needs_image_of_same_size(void **state)
{
	struct fixture *f = *state;
	struct state_writer w = STATE_WRITER_INIT;
	struct state_reader r;
	struct error e;

	start(f, UINT64_MAX);
	request(f, VIRTIO_BLK_T_IN, 0, 512);
	virtio_device_quiesce(f->d);
	virtio_device_save(f->d, &w);
	recreate(f);
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(virtio_device_load(f->d, &r, &e), 0);
	assert_int_equal(state_reader_finish(&r), 0);
	virtio_device_resume(f->d);
	request(f, VIRTIO_BLK_T_IN, 3, 512);
	assert_int_equal(status(f), 0);
	assert_int_equal(data(f)[0], 4);

	virtio_device_destroy(f->d);
	assert_int_equal(truncate(f->path, 512 * 64), 0);
	create(f);
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(virtio_device_load(f->d, &r, &e), -EINVAL);
	assert_int_equal(virtio_reg_status(f->d), 0);
	state_writer_deinit(&w);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_blk_config_and_features_describe_image),
		T(test_blk_create_bad_config_refused),
		T(test_blk_read_write_flush_work),
		T(test_blk_without_flush_negotiated_writes_through),
		T(test_blk_get_id_gives_serial),
		T(test_blk_chain_cut_anywhere_same_result),
		T(test_blk_hostile_request_fails_alone),
		T(test_blk_short_header_fails_alone),
		T(test_blk_no_status_byte_breaks_device),
		T(test_blk_readonly_refuses_changes),
		T(test_blk_ranges_checked_and_zeroed),
		T(test_blk_ranges_not_negotiated_unsupported),
		T(test_blk_image_shrunk_read_fails_alone),
		T(test_blk_counts_what_was_asked),
		T(test_blk_more_requests_than_slots_all_complete),
		T(test_blk_quiesce_waits_for_a_bounded_amount),
		T(test_blk_quiesce_drains_and_resume_goes_on),
		T(test_blk_reset_with_requests_in_flight),
		T(test_blk_random_rings_harmless),
		T(test_blk_resize_tells_the_driver),
		T(test_blk_replace_swaps_the_image),
		T(test_blk_load_needs_image_of_same_size),
	};
	int failed;

	kind = BLOCK_ENGINE_AUTO;
	failed = cmocka_run_group_tests_name("auto", tests, NULL, NULL);
	kind = BLOCK_ENGINE_THREADS;
	failed += cmocka_run_group_tests_name("threads", tests, NULL, NULL);
	return failed;
}
