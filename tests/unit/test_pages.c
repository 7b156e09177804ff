/* SPDX-License-Identifier: MIT */
/* LINK: save/page_source save/page_order save/memory_map save/page save/memory_work save/crc32c% state job loop progress error */
/* Where the pages of a saved VM are, and which were wanted first. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "save/page_order.h"
#include "save/page_source.h"

#define PAGES 1024u
#define PAGE MEMORY_PAGE_BYTES

static int file_of(uint8_t byte)
{
	static uint8_t page[PAGE];
	int fd = memfd_create("memory", 0);

	memset(page, byte, PAGE);
	for (unsigned int i = 0; i < PAGES; i++)
		assert_int_equal(write(fd, page, PAGE), PAGE);
	return fd;
}

static void set(uint64_t *bits, unsigned int page)
{
	bits[page / 64] |= 1ull << page % 64;
}

static void test_page_source_takes_the_uppermost(void **state)
{
	struct memory_map low, high;
	struct memory_layer layers[2];
	struct page_source *s;
	uint8_t buf[PAGE];
	struct error e;

	(void)state;
	assert_int_equal(memory_map_init(&low, MEMORY_FULL, PAGES * PAGE), 0);
	assert_int_equal(memory_map_init(&high, MEMORY_DIFF, PAGES * PAGE), 0);
	set(low.chunks[0].pages, 1);
	set(low.chunks[0].pages, 2);
	set(low.chunks[0].pages, 3);
	set(high.chunks[0].pages, 2);
	set(high.chunks[0].zeros, 3);
	set(high.chunks[1].pages, 0);
	layers[0] = (struct memory_layer){ file_of(1), &low, "low" };
	layers[1] = (struct memory_layer){ file_of(2), &high, "high" };
	/* More memory than there was. */
	assert_int_equal(page_source_create(&s, layers, 2, 2 * PAGES, &e), 0);
	memory_map_deinit(&low);
	memory_map_deinit(&high);
	assert_true(page_source_is_zero(s, 0));
	assert_true(page_source_is_zero(s, 3));
	assert_true(page_source_is_zero(s, PAGES + 1));
	assert_int_equal(page_source_read(s, 1, buf), 0);
	assert_int_equal(buf[7], 1);
	assert_int_equal(page_source_read(s, 2, buf), 0);
	assert_int_equal(buf[7], 2);
	assert_int_equal(page_source_read(s, 512, buf), 0);
	assert_int_equal(buf[7], 2);
	assert_int_equal(ftruncate(layers[1].fd, PAGE), 0);
	assert_int_equal(page_source_read(s, 2, buf), -ENODATA);
	page_source_destroy(s);
	close(layers[0].fd);
	close(layers[1].fd);
}

static void test_page_source_of_a_template_has_all(void **state)
{
	struct memory_layer layers[2];
	struct memory_map live, diff;
	struct page_source *s;
	uint8_t buf[PAGE];
	struct error e;

	(void)state;
	assert_int_equal(memory_map_init(&live, MEMORY_LIVE, PAGES * PAGE), 0);
	assert_int_equal(memory_map_init(&diff, MEMORY_DIFF,
					 2 * PAGES * PAGE), 0);
	set(diff.chunks[0].pages, 2);
	set(diff.chunks[0].zeros, 3);
	layers[0] = (struct memory_layer){ file_of(1), &live, "live" };
	layers[1] = (struct memory_layer){ file_of(2), &diff, "diff" };
	assert_int_equal(page_source_create(&s, layers, 1, PAGES, &e), 0);
	for (unsigned int i = 0; i < PAGES; i++)
		assert_false(page_source_is_zero(s, i));
	page_source_destroy(s);
	assert_int_equal(page_source_create(&s, layers, 2, 2 * PAGES, &e), 0);
	for (unsigned int i = 0; i < 2 * PAGES; i++)
		assert_int_equal(page_source_is_zero(s, i),
				 i == 3 || i >= PAGES);
	assert_int_equal(page_source_read(s, 1, buf), 0);
	assert_int_equal(buf[7], 1);
	assert_int_equal(page_source_read(s, 2, buf), 0);
	assert_int_equal(buf[7], 2);
	page_source_destroy(s);
	memory_map_deinit(&live);
	memory_map_deinit(&diff);
	close(layers[0].fd);
	close(layers[1].fd);
}

/* ---- the order -------------------------------------------------------------- */

static char path[] = "/tmp/mote-pages-XXXXXX";
static const uint8_t id[PAGE_ORDER_ID_BYTES] = "the save's", other[16] = "no";

static int setup(void **state)
{
	(void)state;
	strcpy(path + strlen(path) - 6, "XXXXXX");
	close(mkstemp(path));
	unlink(path);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

static void test_page_order_comes_back(void **state)
{
	const uint32_t pages[] = { 7, 3, UINT32_MAX };
	uint32_t *read;
	size_t count;

	(void)state;
	assert_int_equal(page_order_read(path, id, &read, &count), -ENOENT);
	assert_int_equal(page_order_write(path, id, pages, 3), 0);
	/* The first counts. */
	assert_int_equal(page_order_write(path, id, pages, 1), -EEXIST);
	assert_int_equal(page_order_read(path, other, &read, &count), -EBADMSG);
	assert_int_equal(page_order_read(path, id, &read, &count), 0);
	assert_int_equal(count, 3);
	assert_memory_equal(read, pages, sizeof(pages));
	free(read);
}

static void test_page_order_damaged_is_none(void **state)
{
	const uint32_t pages[] = { 7, 3, 9 };
	uint8_t byte;
	uint32_t *read;
	size_t count;
	struct stat st;
	int fd;

	(void)state;
	assert_int_equal(page_order_write(path, id, pages, 3), 0);
	fd = open(path, O_RDWR);
	fstat(fd, &st);
	for (off_t i = 0; i < st.st_size; i++) {
		assert_int_equal(pread(fd, &byte, 1, i), 1);
		byte ^= 0x20;
		assert_int_equal(pwrite(fd, &byte, 1, i), 1);
		assert_int_equal(page_order_read(path, id, &read, &count),
				 -EBADMSG);
		byte ^= 0x20;
		assert_int_equal(pwrite(fd, &byte, 1, i), 1);
	}
	for (off_t len = st.st_size - 1; len >= 0; len--) {
		assert_int_equal(ftruncate(fd, len), 0);
		assert_int_equal(page_order_read(path, id, &read, &count),
				 -EBADMSG);
	}
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page_source_takes_the_uppermost),
		cmocka_unit_test(test_page_source_of_a_template_has_all),
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_page_order_comes_back),
		TEST(test_page_order_damaged_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
