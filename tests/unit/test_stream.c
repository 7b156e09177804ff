/* SPDX-License-Identifier: MIT */
/* LINK: save/page save/stream save/channel save/output char/listener loop save/command save/crc32c% save/machine_x86 state error */
/* A VM as a stream: it comes back; whatever is wrong with it is found. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "save/crc32c.h"
#include "save/stream.h"

#define MIB (1u << 20)
#define RAM_BYTES (5 * MIB + 8192)
#define STATE "what is in devices"

static uint8_t *ram, *copy;
static struct stream_part parts[2], copies[2];

static int setup(void **state)
{
	(void)state;
	ram = mmap(NULL, 2 * RAM_BYTES, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	copy = ram + RAM_BYTES;
	/* 2 MiB and a page; the rest is 2 MiB and a bit. */
	for (int i = 0; i < 2; i++) {
		uint64_t at = i ? 3 * MIB : 0;

		parts[i] = (struct stream_part){ ram + at, i ? RAM_BYTES - at :
							     3 * MIB, true, false };
		copies[i] = parts[i];
		copies[i].host = copy + at;
	}
	memset(ram + 4096, 1, 8192);
	memset(ram + 2 * MIB - 4096, 2, 4096);
	memset(ram + 3 * MIB, 3, 100);
	ram[RAM_BYTES - 1] = 4;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	munmap(ram, 2 * RAM_BYTES);
	return 0;
}

struct moved {
	uint64_t ram, sent;
};

static void count(void *opaque, uint64_t ram_bytes, uint64_t sent)
{
	struct moved *m = opaque;

	m->ram += ram_bytes;
	m->sent += sent;
}

static int content(void *opaque)
{
	(void)opaque;
	return 0;
}

static uint64_t sent_bytes(const struct stream_part *p)
{
	return (p[0].elsewhere ? 0 : p[0].len_bytes) + p[1].len_bytes;
}

/* The stream's bytes, malloc()ed. */
static uint8_t *written(size_t *len, bool shared)
{
	struct stream_header h = { .running = true, .shared = shared,
				   .state_bytes = sizeof(STATE) };
	int fd = memfd_create("stream", 0);
	struct moved m = { 0 };
	struct channel *c;
	struct error e;
	uint8_t *data;

	assert_int_equal(channel_from_fd(&c, dup(fd), &e), 0);
	assert_int_equal(stream_write_header(c, &h, (const uint8_t *)STATE), 0);
	assert_int_equal(stream_write_memory(c, parts, shared ? 0 : 2, count,
					     content, &m), 0);
	assert_int_equal(channel_finish(c, 0, &e), 0);
	channel_close(c);
	*len = (size_t)lseek(fd, 0, SEEK_END);
	assert_int_equal(m.ram, shared ? 0 : sent_bytes(parts));
	assert_true(m.sent <= *len);
	data = malloc(*len);
	assert_int_equal(pread(fd, data, *len, 0), *len);
	close(fd);
	return data;
}

/* 0, or what reading it comes to; *e then says why. */
static int read_stream(const uint8_t *data, size_t len, bool *shared,
		       struct error *e)
{
	int fd = memfd_create("stream", 0);
	struct stream_header h = { 0 };
	struct moved m = { 0 };
	char uri[64];
	struct channel *c;
	uint8_t *s = NULL;
	int ret;

	assert_int_equal(write(fd, data, len), len);
	snprintf(uri, sizeof(uri), "file:/proc/self/fd/%d", fd);
	assert_int_equal(channel_open(&c, uri, CHANNEL_IN, e), 0);
	ret = stream_read_header(c, &h, &s, e);
	if (!ret) {
		assert_int_equal(h.state_bytes, sizeof(STATE));
		/* It has checksums of its own. */
		if (memcmp(s, STATE, sizeof(STATE)))
			ret = error_config(e, -EBADMSG, "section 'state'");
		if (shared)
			*shared = h.shared;
	}
	if (!ret)
		ret = stream_read_memory(c, copies, h.shared ? 0 : 2, count, &m,
					 e);
	if (ret != -EBADMSG)
		ret = channel_finish(c, ret, e);
	if (!ret)
		assert_int_equal(m.ram, h.shared ? 0 : sent_bytes(copies));
	channel_close(c);
	free(s);
	close(fd);
	return ret;
}

static void test_stream_brings_memory_back(void **state)
{
	bool shared = true;
	struct error e;
	size_t len;
	uint8_t *data = written(&len, false);

	(void)state;
	assert_true(len < 8 * 4096);
	assert_int_equal(read_stream(data, len, &shared, &e), 0);
	assert_false(shared);
	assert_memory_equal(ram, copy, RAM_BYTES);
	/* Over what was there before, too. */
	memset(copy, 9, RAM_BYTES);
	copies[0].zeros = copies[1].zeros = false;
	assert_int_equal(read_stream(data, len, NULL, &e), 0);
	assert_memory_equal(ram, copy, RAM_BYTES);
	free(data);
}

static void test_stream_without_memory_touches_none(void **state)
{
	bool shared = false;
	struct error e;
	size_t len;
	uint8_t *data = written(&len, true);

	(void)state;
	memset(copy, 9, RAM_BYTES);
	copies[0].zeros = copies[1].zeros = false;
	assert_int_equal(read_stream(data, len, &shared, &e), 0);
	assert_true(shared);
	for (size_t i = 0; i < RAM_BYTES; i++)
		if (copy[i] != 9)
			fail_msg("byte %zu was changed", i);
	free(data);
}

/* One that both sides have in a file: the parts keep their numbers. */
static void test_stream_leaves_out_what_is_elsewhere(void **state)
{
	struct error e;
	uint8_t *data;
	size_t len, all;

	(void)state;
	free(written(&all, false));
	memset(copy, 9, RAM_BYTES);
	copies[1].zeros = false;
	parts[0].elsewhere = copies[0].elsewhere = true;
	data = written(&len, false);
	assert_true(len < all);
	assert_int_equal(read_stream(data, len, NULL, &e), 0);
	for (size_t i = 0; i < 3 * MIB; i++)
		assert_int_equal(copy[i], 9);
	assert_memory_equal(copy + 3 * MIB, ram + 3 * MIB, RAM_BYTES - 3 * MIB);
	free(data);
	/* Of it nothing is taken. */
	parts[0].elsewhere = false;
	data = written(&len, false);
	assert_int_equal(read_stream(data, len, NULL, &e), -EBADMSG);
	free(data);
}

static void test_stream_every_flipped_bit_is_found(void **state)
{
	struct error e;
	size_t len;
	uint8_t *data = written(&len, false);

	(void)state;
	for (size_t at = 0; at < len; at++) {
		/* All of what describes, some of what is in pages. */
		if (at > 300 && at < len - 300 && at % 61)
			continue;
		for (int bit = 0; bit < 8; bit += at < 100 ? 1 : 5) {
			data[at] ^= (uint8_t)(1 << bit);
			if (!read_stream(data, len, NULL, &e))
				fail_msg("byte %zu, bit %d", at, bit);
			assert_int_equal(e.class, ERROR_INVALID_CONFIG);
			data[at] ^= (uint8_t)(1 << bit);
		}
	}
	assert_int_equal(read_stream(data, len, NULL, &e), 0);
	free(data);
}

static void test_stream_truncated_anywhere_is_refused(void **state)
{
	struct error e;
	size_t len;
	uint8_t *data = written(&len, false);

	(void)state;
	for (size_t n = 0; n < len; n += n < 300 || n > len - 300 ? 1 : 97) {
		assert_true(read_stream(data, n, NULL, &e) < 0);
		assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	}
	free(data);
}

/* ---- made by hand: checksums are right, what they are of is not -------------- */

#define HEADER 40
#define RECORD 88

static void put32(uint8_t *at, uint32_t v)
{
	memcpy(at, &v, 4);
}

static void seal(uint8_t *block, size_t len)
{
	put32(block + len - 4, crc32c(0, block, len - 4));
}

static void expect_refused(uint8_t *data, size_t len, uint8_t *block,
			   size_t block_len, size_t at, uint32_t value,
			   const char *text)
{
	uint32_t old;
	struct error e;

	memcpy(&old, block + at, 4);
	put32(block + at, value);
	seal(block, block_len);
	if (!read_stream(data, len, NULL, &e))
		fail_msg("%zu: %u", at, value);
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	if (!strstr(e.text, text))
		fail_msg("'%s' is not in: %s", text, e.text);
	put32(block + at, old);
	seal(block, block_len);
}

static void test_stream_of_a_liar_is_refused(void **state)
{
	struct error e;
	size_t len;
	uint8_t *data = written(&len, false);
	uint8_t *first = data + HEADER + sizeof(STATE), *last = data + len -
								RECORD;

	(void)state;
	/* version, machine, flags, the length of the state */
	expect_refused(data, len, data, HEADER, 8, 2, "version 2");
	expect_refused(data, len, data, HEADER, 12, 183, "183");
	expect_refused(data, len, data, HEADER, 16, 4, "header");
	expect_refused(data, len, data, HEADER, 24, 0, "header");
	expect_refused(data, len, data, HEADER, 24, 0x7fffffff, "header");
	expect_refused(data, len, data, HEADER, 28, 1, "header");
	/* Another part, none, another chunk, one past the end. */
	expect_refused(data, len, first, RECORD, 0, 1, "order");
	expect_refused(data, len, first, RECORD, 0, 2, "not of this VM");
	expect_refused(data, len, first, RECORD, 0, UINT32_MAX, "missing");
	expect_refused(data, len, first, RECORD, 4, 2, "not of this VM");
	expect_refused(data, len, first, RECORD, 4, UINT32_MAX, "missing");
	/* The checksum of the pages; one page more than there is. */
	expect_refused(data, len, first, RECORD, 8, 1, "checksum");
	expect_refused(data, len, first, RECORD, 12, 7, "checksum");
	/* The last one counts; it is not counted as one with pages. */
	expect_refused(data, len, last, RECORD, 4, 2, "missing");
	expect_refused(data, len, last, RECORD, 0, 1, "memory");
	assert_int_equal(read_stream(data, len, NULL, &e), 0);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_stream_brings_memory_back),
		TEST(test_stream_without_memory_touches_none),
		TEST(test_stream_leaves_out_what_is_elsewhere),
		TEST(test_stream_every_flipped_bit_is_found),
		TEST(test_stream_truncated_anywhere_is_refused),
		TEST(test_stream_of_a_liar_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
