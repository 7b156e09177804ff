/* SPDX-License-Identifier: MIT */
/* LINK: p9/codec p9/attr p9/export p9/fid p9/op_attr p9/op_dir p9/op_io */
/* LINK: p9/op_lock p9/op_name p9/op_open p9/op_session p9/op_xattr p9/path */
/* LINK: p9/lock_ranges p9/pool p9/qid p9/reclaim p9/save p9/server state error loop */
/* WITH: p9_fixture */
/* Fields, slices, and messages that no client sends. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "p9_fixture.h"

static struct p9_client c;

static int set_up(void **state)
{
	struct p9_params p;

	(void)state;
	p9_client_init(&c, &p);
	p9_client_start(&c, &p);
	p9_host_write(&c, "file", "content");
	assert_int_equal(p9_do_version(&c, 8192, "9P2000.L"), 0);
	assert_int_equal(p9_do_attach(&c, 0, 0), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	p9_client_deinit(&c);
	return 0;
}

static void test_codec_fields_come_back(void **state)
{
	uint8_t data[64];
	struct p9_writer w = { .data = data, .size_bytes = sizeof(data) };
	struct p9_reader r = { .data = data };
	char text[16];

	(void)state;
	p9_put_u8(&w, 0x12);
	p9_put_u16(&w, 0x3456);
	p9_put_u32(&w, 0x789abcde);
	p9_put_u64(&w, 0x123456789abcdef0);
	p9_put_string(&w, "text");
	assert_int_equal(data[1], 0x56);	/* little-endian */
	r.len_bytes = w.len_bytes;
	assert_int_equal(p9_get_u8(&r), 0x12);
	assert_int_equal(p9_get_u16(&r), 0x3456);
	assert_int_equal(p9_get_u32(&r), 0x789abcde);
	assert_true(p9_get_u64(&r) == 0x123456789abcdef0);
	p9_get_string(&r, text, sizeof(text));
	assert_string_equal(text, "text");
	assert_int_equal(r.error, 0);
	assert_int_equal(p9_get_u8(&r), 0);
	assert_int_equal(r.error, -EBADMSG);
}

static void test_codec_bad_strings_are_refused(void **state)
{
	const struct {
		uint8_t data[8];
		size_t len;
		int error;
	} cases[] = {
		{ { 1 }, 1, -EBADMSG },
		{ { 5, 0, 'a', 'b' }, 4, -EBADMSG },
		{ { 255, 255, 'a' }, 3, -EBADMSG },
		{ { 3, 0, 'a', 0, 'b' }, 5, -EINVAL },
		{ { 4, 0, 'a', 'b', 'c', 'd' }, 6, -ENAMETOOLONG },
		{ { 3, 0, 'a', 'b', 'c' }, 5, 0 },
		{ { 0, 0 }, 2, 0 },
	};
	char text[4];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct p9_reader r = { .data = cases[i].data,
				       .len_bytes = cases[i].len };

		p9_get_string(&r, text, sizeof(text));
		assert_int_equal(r.error, cases[i].error);
		if (r.error)
			assert_string_equal(text, "");
	}
}

static void test_codec_slice_is_cut_and_put_back(void **state)
{
	char a[10], b[0], d[20];
	struct iovec iov[3] = { { a, 10 }, { b, 0 }, { d, 20 } };
	struct iovec before[3];
	struct p9_slice s;

	(void)state;
	memcpy(before, iov, sizeof(iov));
	for (size_t offset = 0; offset <= 31; offset++)
		for (size_t len = 0; len <= 32; len++) {
			size_t there = offset < 30 ? 30 - offset : 0;
			size_t sum = 0;

			p9_slice_make(&s, iov, 3, offset, len);
			for (int i = 0; i < s.count; i++)
				sum += s.iov[i].iov_len;
			assert_int_equal(sum, len < there ? len : there);
			assert_int_equal(sum, s.len_bytes);
			if (sum)
				assert_ptr_equal(s.iov[0].iov_base,
						 offset < 10 ? a + offset :
							       d + offset - 10);
			p9_slice_undo(&s);
			assert_memory_equal(before, iov, sizeof(iov));
		}
}

static int call_bytes(const void *data, size_t len)
{
	memcpy(c.request, data, len);
	return p9_call_raw(&c, len);
}

static void test_message_sizes_that_lie_are_refused(void **state)
{
	static const uint8_t clunk[] = { 11, 0, 0, 0, P9_TCLUNK, 1, 0, 9, 0, 0, 0 };
	uint8_t m[16];

	(void)state;
	for (size_t len = 0; len < sizeof(clunk); len++)
		assert_int_equal(call_bytes(clunk, len), -EBADMSG);
	assert_int_equal(call_bytes(clunk, sizeof(clunk)), -EBADF);
	for (int size = 0; size < 11; size++) {
		memcpy(m, clunk, sizeof(clunk));
		m[0] = (uint8_t)size;
		assert_int_equal(call_bytes(m, sizeof(clunk)), -EBADMSG);
	}
	memcpy(m, clunk, sizeof(clunk));
	memset(m, 0xff, 4);
	assert_int_equal(call_bytes(m, sizeof(clunk)), -EBADMSG);
	/* Larger than what was agreed on. */
	p9_start(&c, P9_TCLUNK);
	c.t.len_bytes = 8193;
	memset(c.request + 7, 0, 9000);
	assert_int_equal(p9_call(&c), -EMSGSIZE);
}

static void test_message_replies_without_room_have_no_effect(void **state)
{
	struct stat st;

	(void)state;
	c.reply_room = 0;
	assert_int_equal(p9_do_mkdir(&c, 0, "d", 0700), 1);
	c.reply_room = 10;
	assert_int_equal(p9_do_mkdir(&c, 0, "d", 0700), 1);
	c.reply_room = 11;
	assert_int_equal(p9_do_mkdir(&c, 0, "d", 0700), -EMSGSIZE);
	assert_int_equal(stat(p9_host_path(&c, "d"), &st), -1);
	c.reply_room = 20;
	assert_int_equal(p9_do_mkdir(&c, 0, "d", 0700), 0);
	c.reply_room = 9 + 12;
	assert_int_equal(p9_do_walk(&c, 0, 1, "d"), -EMSGSIZE);
	assert_int_equal(p9_do_fid(&c, P9_TCLUNK, 1), -EBADF);
	c.reply_room = P9_TEST_BYTES;
}

static void test_message_types_that_there_are_not(void **state)
{
	(void)state;
	for (int type = 0; type < 256; type++) {
		static const uint8_t known[] = { 8, 12, 14, 16, 18, 20, 22, 24,
			26, 30, 32, 40, 50, 52, 54, 70, 72, 74, 76, 100, 102,
			104, 108, 110, 116, 118, 120, 122 };

		if (memchr(known, type, sizeof(known)))
			continue;
		p9_start(&c, (uint8_t)type);
		p9_put_u64(&c.t, 0);
		p9_put_u64(&c.t, 0);
		assert_int_equal(p9_call(&c), -EOPNOTSUPP);
	}
}

/* Every message cut at every byte: none is more than an error. */
static void test_message_cut_anywhere_is_refused(void **state)
{
	(void)state;
	assert_int_equal(p9_do_walk(&c, 0, 5, "file"), 0);
	assert_int_equal(p9_do_lopen(&c, 5, 2), 0);
	for (int type = 8; type < 124; type += 2) {
		for (size_t len = 7; len < 40; len++) {
			int ret;

			if (type == P9_TVERSION || type == P9_TCLUNK ||
			    type == P9_TREMOVE)
				continue;
			p9_start(&c, (uint8_t)type);
			memset(c.request + 7, 0, 64);
			c.request[7] = 77;	/* no such fid */
			c.t.len_bytes = len;
			ret = p9_call(&c);
			assert_true(ret < 0 || type == P9_TFLUSH);
		}
	}
}

static void test_message_before_version_is_refused(void **state)
{
	(void)state;
	p9_client_restart(&c);
	assert_int_equal(p9_do_attach(&c, 0, 0), -EPROTO);
	assert_int_equal(p9_do_version(&c, 100, "9P2000.L"), -EMSGSIZE);
	assert_int_equal(p9_do_version(&c, 65536, "9P2000.u"), 0);
	p9_get_u32(&c.r);
	assert_int_equal(p9_get_u16(&c.r), 7);	/* "unknown" */
	assert_int_equal(p9_do_attach(&c, 0, 0), -EPROTO);
	assert_int_equal(p9_do_version(&c, UINT32_MAX, "9P2000.L"), 0);
	assert_int_equal(p9_get_u32(&c.r), 1u << 20);
	assert_int_equal(p9_do_attach(&c, 0, 0), 0);
}

static void test_message_fids_are_used_once(void **state)
{
	(void)state;
	assert_int_equal(p9_do_attach(&c, 0, 0), -EBADF);
	assert_int_equal(p9_do_attach(&c, P9_NOFID, 0), -EBADF);
	assert_int_equal(p9_do_walk(&c, 0, 1, "file"), 0);
	assert_int_equal(p9_do_walk(&c, 0, 1, "file"), -EBADF);
	assert_int_equal(p9_do_walk(&c, 9, 2, "file"), -EBADF);
	assert_int_equal(p9_do_read(&c, 1, 0, 10), -EBADF);
	assert_int_equal(p9_do_write(&c, 1, 0, "x", 1), -EBADF);
	assert_int_equal(p9_do_readdir(&c, 1, 0, 100), -EBADF);
	assert_int_equal(p9_do_fsync(&c, 1), -EBADF);
	assert_int_equal(p9_do_lopen(&c, 1, 0), 0);
	assert_int_equal(p9_do_lopen(&c, 1, 0), -EBADF);
	assert_int_equal(p9_do_write(&c, 1, 0, "x", 1), -EBADF);
	assert_int_equal(p9_do_readdir(&c, 1, 0, 100), -ENOTDIR);
	assert_int_equal(p9_do_walk(&c, 1, 1, "x"), -ENOTDIR);
	/* A clone of an open fid is not open. */
	assert_int_equal(p9_do_walk(&c, 1, 2, ""), 0);
	assert_int_equal(p9_do_read(&c, 2, 0, 10), -EBADF);
	assert_int_equal(p9_do_lopen(&c, 2, 0), 0);
	assert_int_equal(p9_do_read(&c, 2, 0, 10), 7);
	assert_int_equal(p9_do_fid(&c, P9_TCLUNK, 1), 0);
	assert_int_equal(p9_do_fid(&c, P9_TCLUNK, 1), -EBADF);
}

static void test_message_counts_are_bounded(void **state)
{
	(void)state;
	assert_int_equal(p9_do_walk(&c, 0, 1, "file"), 0);
	assert_int_equal(p9_do_lopen(&c, 1, 2), 0);
	assert_int_equal(p9_do_read(&c, 1, 0, UINT32_MAX), 7);
	assert_int_equal(p9_do_read(&c, 1, UINT64_MAX, 1), -EINVAL);
	assert_int_equal(p9_do_read(&c, 1, INT64_MAX, 1), -EINVAL);
	assert_int_equal(p9_do_write(&c, 1, UINT64_MAX, "x", 1), -EINVAL);
	p9_start(&c, P9_TWRITE);
	p9_put_u32(&c.t, 1);
	p9_put_u64(&c.t, 0);
	p9_put_u32(&c.t, UINT32_MAX);
	assert_int_equal(p9_call(&c), -EBADMSG);
	/* 17 names, with and without being there. */
	p9_start(&c, P9_TWALK);
	p9_put_u32(&c.t, 0);
	p9_put_u32(&c.t, 2);
	p9_put_u16(&c.t, 17);
	for (int i = 0; i < 17; i++)
		p9_put_string(&c.t, ".");
	assert_int_equal(p9_call(&c), -EINVAL);
	p9_start(&c, P9_TWALK);
	p9_put_u32(&c.t, 0);
	p9_put_u32(&c.t, 2);
	p9_put_u16(&c.t, UINT16_MAX);
	assert_int_equal(p9_call(&c), -EINVAL);
}

static void test_message_in_single_bytes_is_understood(void **state)
{
	struct p9_test_attr a;

	(void)state;
	c.piece = 1;
	c.reply_room = 4096;
	assert_int_equal(p9_do_walk(&c, 0, 1, "file"), 0);
	assert_int_equal(p9_do_getattr(&c, 1, &a), 0);
	assert_int_equal(a.size, 7);
	assert_int_equal(p9_do_lopen(&c, 1, 2), 0);
	assert_int_equal(p9_do_write(&c, 1, 3, "XY", 2), 2);
	assert_int_equal(p9_do_read(&c, 1, 0, 100), 7);
	assert_memory_equal(c.reply + 11, "conXYnt", 7);
	c.piece = 0;
	c.reply_room = P9_TEST_BYTES;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_codec_fields_come_back),
		cmocka_unit_test(test_codec_bad_strings_are_refused),
		cmocka_unit_test(test_codec_slice_is_cut_and_put_back),
#define SERVER_TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
		SERVER_TEST(test_message_sizes_that_lie_are_refused),
		SERVER_TEST(test_message_replies_without_room_have_no_effect),
		SERVER_TEST(test_message_types_that_there_are_not),
		SERVER_TEST(test_message_cut_anywhere_is_refused),
		SERVER_TEST(test_message_before_version_is_refused),
		SERVER_TEST(test_message_fids_are_used_once),
		SERVER_TEST(test_message_counts_are_bounded),
		SERVER_TEST(test_message_in_single_bytes_is_understood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
