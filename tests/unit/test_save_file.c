/* SPDX-License-Identifier: MIT */
/* LINK: save/state_file save/machine_x86 save/crc32c% save/page save/memory_% save/directory job loop state error progress save/crc32c% save/unfinished */
/* The files of a save: every damage is found, memory comes back, nothing is left half. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "save/crc32c.h"
#include "save/directory.h"
#include "save/memory_file.h"
#include "save/state_file.h"

static void test_crc32c_known_values(void **state)
{
	uint8_t zeros[32] = { 0 }, all[256];

	(void)state;
	/* RFC 3720, B.4 */
	assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aau);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)i;
	assert_int_equal(crc32c(crc32c(0, all, 77), all + 77, 179),
			 crc32c(0, all, 256));
}

static void test_crc32c_by_tables_is_the_same(void **state)
{
	uint8_t data[64];

	(void)state;
	assert_int_equal(crc32c_by_tables(0, "123456789", 9), 0xe3069283u);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 151 + 7);
	for (uint32_t start = 0; start < 8; start++)
		for (size_t len = 0; len + start <= sizeof(data); len++)
			assert_int_equal(crc32c_by_tables(start * 0x1234567u,
							  data + start, len),
					 crc32c(start * 0x1234567u,
						data + start, len));
}

/* ---- the state file ------------------------------------------------------- */

static void make_state(uint8_t **data, size_t *len)
{
	struct state_file *f;
	struct state_writer *w;

	assert_int_equal(state_file_create(&f), 0);
	w = state_file_add(f, "config", 0);
	state_put_bytes(w, "{}", 2);
	for (uint32_t i = 0; i < 3; i++)
		state_put_u32(state_file_add(f, "vcpu", i), i * 7);
	state_file_add(f, "empty", 0);
	assert_int_equal(state_file_encode(f, data, len), 0);
	state_file_destroy(f);
}

static void test_state_file_comes_back(void **state)
{
	const struct state_section *s;
	struct state_reader r;
	struct state_view v;
	struct error e;
	uint8_t *data;
	size_t len;

	(void)state;
	make_state(&data, &len);
	assert_int_equal(state_view_init(&v, data, len, &e), 0);
	assert_int_equal(state_view_count(&v, "vcpu"), 3);
	assert_int_equal(state_view_count(&v, "none"), 0);
	s = state_view_find(&v, "vcpu", 2);
	state_reader_init(&r, s->data, s->len_bytes);
	assert_int_equal(state_get_u32(&r), 14);
	assert_int_equal(state_reader_finish(&r), 0);
	assert_int_equal(state_view_find(&v, "empty", 0)->len_bytes, 0);
	state_view_deinit(&v);
	free(data);
}

static void test_state_file_every_flipped_bit_is_found(void **state)
{
	struct state_view v;
	struct error e;
	uint8_t *data;
	size_t len;

	(void)state;
	make_state(&data, &len);
	for (size_t bit = 0; bit < len * 8; bit++) {
		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_true(state_view_init(&v, data, len, &e) < 0);
		assert_int_equal(e.class, ERROR_INVALID_CONFIG);
		assert_non_null(strstr(e.text, "section '"));
		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(state_view_init(&v, data, len, &e), 0);
	state_view_deinit(&v);
	free(data);
}

static void test_state_file_truncated_anywhere_is_refused(void **state)
{
	struct state_view v;
	struct error e;
	uint8_t *data, *part;
	size_t len;

	(void)state;
	make_state(&data, &len);
	for (size_t n = 0; n < len; n++) {
		/* Of its own, so that ASan sees a read past the end. */
		part = malloc(n + 1);
		memcpy(part, data, n);
		part = realloc(part, n ? n : 1);
		assert_true(state_view_init(&v, part, n, &e) < 0);
		free(part);
	}
	part = malloc(len + 1);
	memcpy(part, data, len);
	part[len] = 0;
	assert_true(state_view_init(&v, part, len + 1, &e) < 0);
	free(part);
	free(data);
}

/* With all checksums right, as somebody who means harm would make it. */
static void seal(uint8_t *data)
{
	uint32_t count, crc;

	memcpy(&count, data + 16, 4);
	crc = crc32c(0, data + 40, count * 48);
	memcpy(data + 32, &crc, 4);
	crc = crc32c(0, data, 36);
	memcpy(data + 36, &crc, 4);
}

static void test_state_file_impossible_tables_are_refused(void **state)
{
	static const struct {
		size_t offset, len;
		uint64_t value;
		const char *says;
	} cases[] = {
		{ 8, 4, 2, "version 2" },
		{ 8, 4, 0, "version 0" },
		{ 12, 4, 183, "architecture" },
		{ 16, 4, 0, "0 sections" },
		{ 24, 8, UINT64_MAX, "truncated" },
		{ 40, 1, 0, "malformed" },		/* tag */
		{ 40, 1, 'A', "malformed" },
		{ 40 + 40, 8, 1, "malformed" },		/* reserved */
		{ 40 + 24, 8, 0, "not inside" },	/* offset */
		{ 40 + 24, 8, UINT64_MAX, "not inside" },
		{ 40 + 32, 8, UINT64_MAX, "not inside" },	/* length */
		{ 40 + 48 + 48 + 16, 4, 0, "twice" },	/* instance */
	};
	struct state_view v;
	struct error e;
	uint8_t *data;
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		make_state(&data, &len);
		memcpy(data + cases[i].offset, &cases[i].value, cases[i].len);
		seal(data);
		/* Two equal sections also need equal checksums. */
		assert_true(state_view_init(&v, data, len, &e) < 0);
		assert_non_null(strstr(e.text, cases[i].says));
		free(data);
	}
}

/* ---- memory --------------------------------------------------------------- */

#define BYTES (5u * MEMORY_CHUNK_BYTES + 3 * MEMORY_PAGE_BYTES)

static uint8_t *map_memory(void)
{
	uint8_t *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static int make_file(void)
{
	int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

/* Pages here and there, at the ends, and one that was touched and is zeros. */
static void fill(uint8_t *p)
{
	memset(p, 1, 10);
	memset(p + MEMORY_CHUNK_BYTES - 4, 2, 8);
	memset(p + 3 * MEMORY_CHUNK_BYTES, 3, MEMORY_CHUNK_BYTES);
	p[4 * MEMORY_CHUNK_BYTES + 9 * MEMORY_PAGE_BYTES] = 0;
	p[BYTES - 1] = 4;
}

static const struct memory_part *parts_of(uint8_t *p, bool anonymous)
{
	static struct memory_part parts[2];

	parts[0] = (struct memory_part){
		.host = p, .len_bytes = 2 * MEMORY_CHUNK_BYTES,
		.anonymous = anonymous,
	};
	parts[1] = (struct memory_part){
		.host = p + 2 * MEMORY_CHUNK_BYTES,
		.offset = 2 * MEMORY_CHUNK_BYTES,
		.len_bytes = BYTES - 2 * MEMORY_CHUNK_BYTES,
		.anonymous = anonymous,
	};
	return parts;
}

static void save_memory(int fd, uint8_t *p, bool anonymous,
			struct memory_map *m)
{
	struct error e;

	assert_int_equal(memory_map_init(m, MEMORY_FULL, BYTES), 0);
	assert_int_equal(memory_file_write(fd, parts_of(p, anonymous), 2, m,
					   NULL, &e), 0);
}

static int load_memory(int fd, uint8_t *p, const struct memory_map *m,
		       struct error *e)
{
	const struct memory_layer layer = { fd, m, "it" };

	return memory_layers_read(&layer, 1, parts_of(p, true), 2,
				  MEMORY_CHECK_ALL, NULL, e);
}

static void round_trip(bool anonymous)
{
	uint8_t *p = map_memory(), *q = map_memory();
	struct state_writer w = STATE_WRITER_INIT;
	struct memory_map m, n;
	struct state_reader r;
	int fd = make_file();
	struct error e;
	struct stat st;

	fill(p);
	save_memory(fd, p, anonymous, &m);
	assert_int_equal(memory_map_data_bytes(&m),
			 MEMORY_CHUNK_BYTES + 4 * MEMORY_PAGE_BYTES);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, BYTES);
	memory_map_save(&m, &w);
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(memory_map_load(&n, &r), 0);
	assert_int_equal(state_reader_finish(&r), 0);
	assert_memory_equal(n.chunks, m.chunks,
			    m.chunk_count * sizeof(*m.chunks));
	assert_int_equal(load_memory(fd, q, &n, &e), 0);
	assert_memory_equal(p, q, BYTES);
	state_writer_deinit(&w);
	memory_map_deinit(&m);
	memory_map_deinit(&n);
	munmap(p, BYTES);
	munmap(q, BYTES);
	close(fd);
}

static void test_memory_comes_back(void **state)
{
	(void)state;
	round_trip(true);
	round_trip(false);
}

static void test_memory_damage_is_found(void **state)
{
	uint8_t *p = map_memory(), *q = map_memory();
	struct memory_map m;
	int fd = make_file();
	struct error e;

	(void)state;
	fill(p);
	save_memory(fd, p, true, &m);
	assert_int_equal(pwrite(fd, "\x77", 1, 3 * MEMORY_CHUNK_BYTES + 99), 1);
	assert_int_equal(load_memory(fd, q, &m, &e),
			 -EBADMSG);
	assert_non_null(strstr(e.text, "0x600000"));
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	assert_int_equal(pwrite(fd, "\3", 1, 3 * MEMORY_CHUNK_BYTES + 99), 1);
	/* A copy that lost its holes is the same file. */
	assert_int_equal(pwrite(fd, "\0", 1, 2 * MEMORY_CHUNK_BYTES), 1);
	assert_int_equal(load_memory(fd, q, &m, &e), 0);
	assert_memory_equal(p, q, BYTES);
	assert_int_equal(pwrite(fd, "\1", 1, 5 * MEMORY_CHUNK_BYTES), 1);
	assert_int_equal(load_memory(fd, q, &m, &e),
			 -EBADMSG);
	assert_int_equal(ftruncate(fd, 2 * MEMORY_CHUNK_BYTES), 0);
	assert_int_equal(load_memory(fd, q, &m, &e),
			 -ENODATA);
	memory_map_deinit(&m);
	munmap(p, BYTES);
	munmap(q, BYTES);
	close(fd);
}

static void test_memory_map_impossible_is_refused(void **state)
{
	static const struct {
		uint64_t len;
		uint32_t used;
		uint64_t chunk, page_word;
		int word;
	} cases[] = {
		{ 0, 0, 0, 0, 0 },
		{ 4097, 0, 0, 0, 0 },
		{ 17ull << 40, 0, 0, 0, 0 },
		{ BYTES, 1, 6, 1, 0 },		/* past the end */
		{ BYTES, 1, UINT64_MAX, 1, 0 },
		{ BYTES, 1, 5, 8, 0 },		/* a page past the end */
		{ BYTES, 1, 5, 1, 7 },
		{ BYTES, 1, 0, 0, 0 },		/* no page at all */
		{ BYTES, 2, 0, 1, 0 },		/* the same twice */
		{ BYTES, UINT32_MAX, 0, 1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct state_writer w = STATE_WRITER_INIT;
		struct memory_map m;
		struct state_reader r;

		state_put_u8(&w, MEMORY_FULL);
		state_put_u64(&w, cases[i].len);
		state_put_u32(&w, cases[i].used);
		for (uint32_t k = 0; k < cases[i].used && k < 2; k++) {
			state_put_u64(&w, cases[i].chunk);
			state_put_u32(&w, 0);
			for (int n = 0; n < 8; n++)
				state_put_u64(&w, n == cases[i].word ?
						  cases[i].page_word : 0);
		}
		state_reader_init(&r, w.data, w.len_bytes);
		assert_int_equal(memory_map_load(&m, &r), -EPROTO);
		state_writer_deinit(&w);
	}
}

/* ---- the directory -------------------------------------------------------- */

static char top[] = "/tmp/test-save-XXXXXX";

static int make_top(void **state)
{
	(void)state;
	strcpy(top + strlen(top) - 6, "XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

static int remove_top(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command);
}

static unsigned int entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

static int save_one(const char *path, const char *text, bool commit)
{
	struct save_directory *d;
	struct error e;
	int fd, ret = save_directory_create(&d, path, &e);

	if (ret)
		return ret;
	fd = save_directory_file(d, "state", &e);
	assert_true(fd >= 0);
	assert_int_equal(save_file(fd, text, strlen(text), "state", &e), 0);
	if (commit)
		ret = save_directory_commit(d, &e);
	save_directory_destroy(d);
	return ret;
}

static void assert_holds(const char *path, const char *text)
{
	char name[128], buf[32] = "";
	int fd;

	snprintf(name, sizeof(name), "%s/state", path);
	fd = open(name, O_RDONLY);
	assert_true(fd >= 0);
	assert_true(read(fd, buf, sizeof(buf) - 1) >= 0);
	close(fd);
	assert_string_equal(buf, text);
}

static void test_directory_is_replaced_whole_or_not(void **state)
{
	char path[64], pages[80];

	(void)state;
	snprintf(path, sizeof(path), "%s/vm", top);
	assert_int_equal(save_one(path, "one", true), 0);
	assert_holds(path, "one");
	assert_int_equal(save_one(path, "two", false), 0);
	assert_holds(path, "one");
	assert_int_equal(entries(top), 1);
	/* What comes to be beside a state goes with it. */
	snprintf(pages, sizeof(pages), "%s/state.pages", path);
	close(open(pages, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(save_one(path, "three", true), 0);
	assert_holds(path, "three");
	assert_int_equal(entries(top), 1);
	assert_int_equal(entries(path), 1);
}

static void test_directory_of_something_else_is_left_alone(void **state)
{
	char path[64], file[80];
	struct save_directory *d;
	struct error e;

	(void)state;
	snprintf(path, sizeof(path), "%s/vm", top);
	snprintf(file, sizeof(file), "%s/precious", path);
	assert_int_equal(mkdir(path, 0700), 0);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(save_directory_create(&d, path, &e), -ENOTEMPTY);
	assert_int_equal(access(file, F_OK), 0);
	/* Nor when a save is beside it. */
	snprintf(file, sizeof(file), "%s/state", path);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(save_directory_create(&d, path, &e), -ENOTEMPTY);
	assert_non_null(strstr(e.text, "'precious'"));
	assert_int_equal(entries(path), 2);
	assert_int_equal(save_directory_create(&d, "/", &e), -EINVAL);
	assert_int_equal(save_directory_create(&d, "", &e), -EINVAL);
	assert_int_equal(save_directory_create(&d, "..", &e), -EINVAL);
	assert_int_equal(save_directory_create(&d, "/none/there", &e), -ENOENT);
	assert_int_equal(entries(top), 1);
}

static void test_directory_left_by_the_dead_is_cleared(void **state)
{
	char path[64], left[80], file[96];
	struct save_directory *d;
	struct error e;

	(void)state;
	snprintf(path, sizeof(path), "%s/vm", top);
	snprintf(left, sizeof(left), "%s/.vm.saving", top);
	snprintf(file, sizeof(file), "%s/memory", left);
	assert_int_equal(mkdir(left, 0700), 0);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(save_directory_create(&d, path, &e), 0);
	/* ... but not one that somebody is filling. */
	assert_int_equal(save_one(path, "other", true), -EBUSY);
	save_directory_destroy(d);
	assert_int_equal(save_one(path, "one", true), 0);
	assert_int_equal(entries(top), 1);
}

/* Another save that begins within the n-th fsync() from now on. */
static struct save_directory *other;
static const char *other_path;
static int fsyncs_left;

int fsync(int fd)
{
	struct error e;

	if (fsyncs_left && !--fsyncs_left)
		assert_int_equal(save_directory_create(&other, other_path, &e),
				 0);
	return (int)syscall(SYS_fsync, fd);
}

/* It has got its place, and the next one is under the temporary name already. */
static void test_directory_commit_waits_for_no_other(void **state)
{
	struct save_directory *d;
	char path[64];
	struct error e;

	(void)state;
	snprintf(path, sizeof(path), "%s/vm", top);
	assert_int_equal(save_one(path, "one", true), 0);
	assert_int_equal(save_directory_create(&d, path, &e), 0);
	assert_int_equal(save_file(save_directory_file(d, "state", &e), "two",
				   3, "state", &e), 0);
	other_path = path;
	fsyncs_left = 2;
	alarm(30);
	assert_int_equal(save_directory_commit(d, &e), 0);
	alarm(0);
	save_directory_destroy(d);
	assert_int_equal(fsyncs_left, 0);
	assert_holds(path, "two");
	assert_int_equal(entries(top), 2);
	assert_int_equal(save_file(save_directory_file(other, "state", &e),
				   "three", 5, "state", &e), 0);
	assert_int_equal(save_directory_commit(other, &e), 0);
	save_directory_destroy(other);
	assert_holds(path, "three");
	assert_int_equal(entries(top), 1);
}

/* Each finds what a dead one has left, and takes it, or another's, for that. */
static void *save_at_once(void *path)
{
	static const char *const names[] = { "memory", "state" };
	struct save_directory *d;
	struct error e;
	intptr_t ret = save_directory_create(&d, path, &e);

	if (ret)
		return (void *)ret;
	for (size_t i = 0; !ret && i < 2; i++) {
		ret = save_directory_file(d, names[i], &e);
		if (ret >= 0)
			ret = save_file((int)ret, "x", 1, names[i], &e);
	}
	if (!ret)
		ret = save_directory_commit(d, &e);
	save_directory_destroy(d);
	return (void *)ret;
}

static void test_directory_wanted_by_many_is_whole(void **state)
{
	char command[256], path[64], memory[80], saved[80];
	pthread_t threads[4];

	(void)state;
	snprintf(path, sizeof(path), "%s/vm", top);
	snprintf(memory, sizeof(memory), "%s/memory", path);
	snprintf(saved, sizeof(saved), "%s/state", path);
	snprintf(command, sizeof(command), "cd %s && rm -rf vm && "
		 "mkdir .vm.saving && touch .vm.saving/memory", top);
	for (int round = 0; round < 100; round++) {
		bool some = false;
		void *ret;

		assert_int_equal(system(command), 0);
		for (int i = 0; i < 4; i++)
			assert_int_equal(pthread_create(&threads[i], NULL,
							save_at_once, path), 0);
		for (int i = 0; i < 4; i++) {
			pthread_join(threads[i], &ret);
			assert_true(!ret || (intptr_t)ret == -EBUSY);
			some = some || !ret;
		}
		assert_int_equal(!access(saved, F_OK), some);
		assert_int_equal(!access(memory, F_OK), some);
		assert_int_equal(entries(top), some);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32c_known_values),
		cmocka_unit_test(test_crc32c_by_tables_is_the_same),
		cmocka_unit_test(test_state_file_comes_back),
		cmocka_unit_test(test_state_file_every_flipped_bit_is_found),
		cmocka_unit_test(test_state_file_truncated_anywhere_is_refused),
		cmocka_unit_test(test_state_file_impossible_tables_are_refused),
		cmocka_unit_test(test_memory_comes_back),
		cmocka_unit_test(test_memory_damage_is_found),
		cmocka_unit_test(test_memory_map_impossible_is_refused),
		cmocka_unit_test_setup_teardown(
			test_directory_is_replaced_whole_or_not, make_top,
			remove_top),
		cmocka_unit_test_setup_teardown(
			test_directory_commit_waits_for_no_other, make_top,
			remove_top),
		cmocka_unit_test_setup_teardown(
			test_directory_wanted_by_many_is_whole, make_top,
			remove_top),
		cmocka_unit_test_setup_teardown(
			test_directory_of_something_else_is_left_alone,
			make_top, remove_top),
		cmocka_unit_test_setup_teardown(
			test_directory_left_by_the_dead_is_cleared, make_top,
			remove_top),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
