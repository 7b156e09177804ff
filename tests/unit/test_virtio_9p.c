/* SPDX-License-Identifier: MIT */
/* LINK: p9/codec p9/attr p9/export p9/fid p9/op_attr p9/op_dir p9/op_io */
/* LINK: p9/op_lock p9/op_name p9/op_open p9/op_session p9/op_xattr p9/path */
/* LINK: p9/lock_ranges p9/pool p9/qid p9/reclaim p9/save p9/server state error loop iothread guest_mem */
/* LINK: virtio/virtqueue virtio/device% */
/* LINK: virtio/9p */
/* WITH: fake_driver */
/* 9P through a virtqueue. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "fake_driver.h"
#include "p9/codec.h"
#include "p9/proto.h"
#include "state.h"
#include "p9/p9.h"
#include "virtio/9p.h"

#define RING	FAKE_RAM_BASE
#define REQUEST	(FAKE_RAM_BASE + 0x100000)
#define REPLY	(FAKE_RAM_BASE + 0x140000)
#define NEEDS_RESET 0x40

struct fixture {
	struct fake_ram ram;
	struct virtio_device *d;
	struct fake_irq irq;
	struct fake_queue q;
	struct config_9p config;
	struct p9_files files;
	char path[128], file[140];
};

static void make(struct fixture *f)
{
	struct error e;

	p9_files_init(&f->files, 100);
	if (virtio_9p_create(&f->d, &f->config, &f->files, f->ram.mem, &e))
		fail_msg("%s", e.text);
	fake_irq_init(&f->irq, f->d);
}

static void begin(struct fixture *f)
{
	fake_queue_init(&f->q, &f->ram, RING, 16);
	assert_int_equal(fake_start(f->d, UINT64_MAX, &f->q, 1), 15);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fd;

	fake_ram_init(&f->ram);
	snprintf(f->path, sizeof(f->path), "%s/test-v9p-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(f->path));
	snprintf(f->file, sizeof(f->file), "%s/file", f->path);
	fd = open(f->file, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "content", 7), 7);
	close(fd);
	f->config.path = f->path;
	f->config.tag = (char *)"tag";
	make(f);
	begin(f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	virtio_device_destroy(f->d);
	fake_ram_deinit(&f->ram);
	unlink(f->file);
	rmdir(f->path);
	free(f);
	return 0;
}

/* Sends what the writer holds; the bytes of the reply. */
static uint32_t call(struct fixture *f, struct p9_writer *w)
{
	struct p9_writer size = { .data = w->data, .size_bytes = 4 };
	struct fake_buffer b[] = {
		{ REQUEST, 7, false },
		{ REQUEST + 7, (uint32_t)w->len_bytes - 7, false },
		{ REPLY, 11, true },
		{ REPLY + 0x1000, 0x10000, true },
	};
	uint32_t id, len;

	p9_put_u32(&size, (uint32_t)w->len_bytes);
	fake_add(&f->q, b, 4);
	fake_kick(f->d, 0);
	assert_true(fake_used_wait(&f->q, &f->irq, 0, &id, &len));
	return len;
}

static struct p9_writer message(struct fixture *f, uint8_t type)
{
	struct p9_writer w = { .data = fake_ptr(&f->ram, REQUEST),
			       .size_bytes = 0x10000 };

	p9_put_u32(&w, 0);
	p9_put_u8(&w, type);
	p9_put_u16(&w, 5);
	return w;
}

static uint8_t reply_type(struct fixture *f)
{
	return ((uint8_t *)fake_ptr(&f->ram, REPLY))[4];
}

static void attach(struct fixture *f)
{
	struct p9_writer w = message(f, P9_TVERSION);

	p9_put_u32(&w, 65536);
	p9_put_string(&w, "9P2000.L");
	assert_int_equal(call(f, &w), 7 + 4 + 2 + 8);
	w = message(f, P9_TATTACH);
	p9_put_u32(&w, 0);
	p9_put_u32(&w, P9_NOFID);
	p9_put_string(&w, "");
	p9_put_string(&w, "");
	p9_put_u32(&w, 0);
	assert_int_equal(call(f, &w), 7 + 13);
	w = message(f, P9_TWALK);
	p9_put_u32(&w, 0);
	p9_put_u32(&w, 1);
	p9_put_u16(&w, 1);
	p9_put_string(&w, "file");
	assert_int_equal(call(f, &w), 7 + 2 + 13);
	w = message(f, P9_TLOPEN);
	p9_put_u32(&w, 1);
	p9_put_u32(&w, 2);
	assert_int_equal(call(f, &w), 7 + 13 + 4);
}

static uint32_t read_file(struct fixture *f)
{
	struct p9_writer w = message(f, P9_TREAD);

	p9_put_u32(&w, 1);
	p9_put_u64(&w, 0);
	p9_put_u32(&w, 1000);
	return call(f, &w);
}

static void test_9p_tag_is_in_the_configuration_space(void **state)
{
	struct fixture *f = *state;
	uint8_t data[8];

	virtio_reg_config_read(f->d, 0, data, 5);
	assert_memory_equal(data, "\3\0tag", 5);
	virtio_reg_config_read(f->d, 5, data, 1);
	assert_int_equal(data[0], 0xff);
}

static void test_9p_file_is_read_into_the_buffers(void **state)
{
	struct fixture *f = *state;

	attach(f);
	assert_int_equal(read_file(f), 7 + 4 + 7);
	assert_memory_equal(fake_ptr(&f->ram, REPLY + 0x1000), "content", 7);
}

static void test_9p_fsync_ends_later(void **state)
{
	struct fixture *f = *state;
	struct p9_writer w;

	attach(f);
	w = message(f, P9_TFSYNC);
	p9_put_u32(&w, 1);
	p9_put_u32(&w, 0);
	assert_int_equal(call(f, &w), 7);
	assert_int_equal(reply_type(f), P9_TFSYNC + 1);
}

/* Writes, reads and fsyncs of one file, as many as the ring holds at once. */
static void test_9p_many_requests_in_flight_all_end(void **state)
{
	struct fixture *f = *state;
	uint32_t id, len, in_flight = 0, ended = 0;

	attach(f);
	for (uint32_t i = 0; ended < 6000; i++) {
		static const uint8_t types[] = { P9_TWRITE, P9_TFSYNC,
						 P9_TREAD, P9_TWRITE };
		uint8_t type = types[i % 4];
		gpa_t at = REQUEST + i % 16 * 0x1000;
		struct p9_writer w = { .data = fake_ptr(&f->ram, at),
				       .size_bytes = 0x1000 };
		struct fake_buffer b[2] = { { at, 0, false },
					    { REPLY + i % 16 * 0x1000, 0x800,
					      true } };

		p9_put_u32(&w, type == P9_TFSYNC ? 15 :
			       type == P9_TREAD ? 23 : 23 + 1000);
		p9_put_u8(&w, type);
		p9_put_u16(&w, (uint16_t)i);
		p9_put_u32(&w, 1);
		p9_put_u64(&w, type == P9_TFSYNC ? 0 : i % 64 * 1000);
		w.len_bytes = type == P9_TFSYNC ? 15 : w.len_bytes;
		if (type != P9_TFSYNC)
			p9_put_u32(&w, 1000);
		b[0].len = type == P9_TWRITE ? 23 + 1000 : (uint32_t)w.len_bytes;
		fake_add(&f->q, b, 2);
		in_flight++;
		if (in_flight < 8)
			continue;
		fake_kick(f->d, 0);
		while (in_flight) {
			assert_true(fake_used_wait(&f->q, &f->irq, 0, &id,
						   &len));
			assert_true(len >= 7);
			in_flight--;
			ended++;
		}
	}
}

static void test_9p_chain_without_room_is_used_all_the_same(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b[] = { { REQUEST, 21, false } };
	uint32_t id, len;

	message(f, P9_TVERSION);
	fake_add(&f->q, b, 1);
	b[0].writable = true;
	fake_add(&f->q, b, 1);
	fake_kick(f->d, 0);
	assert_true(fake_used_wait(&f->q, &f->irq, 0, &id, &len));
	assert_int_equal(len, 0);
	/* No request at all: an error, where there is room for one. */
	assert_true(fake_used_wait(&f->q, &f->irq, 0, &id, &len));
	assert_int_equal(len, 11);
	assert_int_equal(virtio_reg_status(f->d) & NEEDS_RESET, 0);
}

static void test_9p_reset_ends_the_session(void **state)
{
	struct fixture *f = *state;

	attach(f);
	virtio_reg_status_write(f->d, 0);
	begin(f);
	assert_int_equal(read_file(f), 11);
	attach(f);
	assert_int_equal(read_file(f), 7 + 4 + 7);
}

static void test_9p_pause_keeps_the_session(void **state)
{
	struct fixture *f = *state;

	attach(f);
	virtio_device_quiesce(f->d);
	virtio_device_resume(f->d);
	assert_int_equal(read_file(f), 7 + 4 + 7);
}

static void test_9p_session_is_saved_and_loaded(void **state)
{
	struct state_writer w = STATE_WRITER_INIT;
	struct fixture *f = *state;
	struct state_reader r;
	struct error e;

	attach(f);
	virtio_device_quiesce(f->d);
	virtio_device_save(f->d, &w);
	virtio_device_destroy(f->d);
	make(f);
	state_reader_init(&r, w.data, w.len_bytes);
	if (virtio_device_load(f->d, &r, &e))
		fail_msg("%s", e.text);
	assert_int_equal(state_reader_finish(&r), 0);
	virtio_device_resume(f->d);
	assert_int_equal(read_file(f), 7 + 4 + 7);
	state_writer_deinit(&w);
}

static void test_9p_directory_that_is_not_there_is_named(void **state)
{
	struct fixture *f = *state;
	struct config_9p c = { .path = (char *)"/nowhere/x",
			       .tag = (char *)"t" };
	struct virtio_device *d;
	struct error e;

	assert_int_equal(virtio_9p_create(&d, &c, &f->files, f->ram.mem, &e),
			 -ENOENT);
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	assert_non_null(strstr(e.text, "/nowhere/x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define WITH(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
		WITH(test_9p_tag_is_in_the_configuration_space),
		WITH(test_9p_file_is_read_into_the_buffers),
		WITH(test_9p_fsync_ends_later),
		WITH(test_9p_many_requests_in_flight_all_end),
		WITH(test_9p_chain_without_room_is_used_all_the_same),
		WITH(test_9p_reset_ends_the_session),
		WITH(test_9p_pause_keeps_the_session),
		WITH(test_9p_session_is_saved_and_loaded),
		WITH(test_9p_directory_that_is_not_there_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
