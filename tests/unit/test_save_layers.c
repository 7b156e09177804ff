/* SPDX-License-Identifier: MIT */
/* LINK: save/page save/memory_% save/crc32c% save_identity state error progress */
/* Diffs: what has changed is in the file, layers add up, a chain names its base. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "save/memory_internal.h"
#include "snapshot_internal.h"

#define CHUNK	MEMORY_CHUNK_BYTES
/* The first part ends inside a chunk. */
#define FIRST	(2u * CHUNK + 3 * PAGE)
#define SECOND	(1u * CHUNK + 5 * PAGE)
#define PAGES	((FIRST + SECOND) / PAGE)

static bool cancelled;

bool job_cancelled(const struct job *j)
{
	(void)j;
	return cancelled;
}

void job_add_progress(struct job *j, uint64_t bytes)
{
	(void)j;
	assert_int_equal(bytes, CHUNK);
}

struct memory {
	uint8_t *p;
	uint64_t changed[2][3 * MEMORY_CHUNK_WORDS];
	struct memory_part parts[2];
};

static void memory_init(struct memory *m)
{
	*m = (struct memory){ 0 };
	m->p = mmap(NULL, FIRST + SECOND, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(m->p, MAP_FAILED);
	m->parts[0] = (struct memory_part){ .host = m->p, .len_bytes = FIRST };
	m->parts[1] = (struct memory_part){ .host = m->p + FIRST,
					    .len_bytes = SECOND,
					    .offset = 3 * CHUNK };
}

static void touch(struct memory *m, unsigned int page, uint8_t value)
{
	bool second = page >= FIRST / PAGE;
	unsigned int bit = page - (second ? FIRST / PAGE : 0);

	memset(m->p + (size_t)page * PAGE, value, PAGE);
	m->changed[second][bit / 64] |= 1ull << bit % 64;
}

/* A file of what has changed, and nothing has from here on. */
static struct memory_layer save(struct memory *m, enum memory_kind kind,
				struct memory_map *map)
{
	int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct memory_map written;
	struct state_writer w = STATE_WRITER_INIT;
	struct state_reader r;
	struct error e;

	assert_true(fd >= 0);
	for (int i = 0; i < 2; i++)
		m->parts[i].changed = kind == MEMORY_DIFF ? m->changed[i] : NULL;
	assert_int_equal(memory_file_bytes(m->parts, 2),
			 3 * CHUNK + SECOND);
	assert_int_equal(memory_map_init(&written, kind, 3 * CHUNK + SECOND), 0);
	assert_int_equal(memory_file_write(fd, m->parts, 2, &written, NULL, &e),
			 0);
	memset(m->changed, 0, sizeof(m->changed));
	memory_map_save(&written, &w);
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(memory_map_load(map, &r), 0);
	assert_int_equal(state_reader_finish(&r), 0);
	state_writer_deinit(&w);
	memory_map_deinit(&written);
	return (struct memory_layer){ fd, map, "layer" };
}

static void assert_layers_are(const struct memory_layer *layers, size_t count,
			      const struct memory *want)
{
	struct memory got;
	struct error e;

	memory_init(&got);
	assert_int_equal(memory_layers_read(layers, count, got.parts, 2,
					    MEMORY_CHECK_ALL, NULL, &e), 0);
	assert_memory_equal(got.p, want->p, FIRST + SECOND);
	munmap(got.p, FIRST + SECOND);
}

static bool at_once(void)
{
	return true;
}

static void test_layers_add_up_and_merge(void **state)
{
	struct progress progress;
	struct memory_layer layers[4], merged;
	struct memory_map maps[4], map;
	struct memory m;
	struct error e;
	struct stat st;

	(void)state;
	memory_init(&m);
	srand(1);
	for (unsigned int i = 0; i < 300; i++)
		touch(&m, (unsigned int)rand() % PAGES, (uint8_t)(i + 1));
	layers[0] = save(&m, MEMORY_FULL, &maps[0]);
	for (unsigned int n = 1; n < 4; n++) {
		/* Some become zeros, as does one that was. */
		touch(&m, 0, n % 2 ? 0 : 9);
		touch(&m, FIRST / PAGE - 1, 0);
		for (unsigned int i = 0; i < 40; i++)
			touch(&m, (unsigned int)rand() % PAGES,
			      i % 3 ? (uint8_t)(n * 50 + i) : 0);
		touch(&m, PAGES - 1, (uint8_t)n);
		layers[n] = save(&m, MEMORY_DIFF, &maps[n]);
		assert_true(memory_map_data_bytes(&maps[n]) <= 43 * PAGE);
		assert_int_equal(fstat(layers[n].fd, &st), 0);
		assert_true(st.st_blocks * 512 <= 43 * PAGE);
		assert_layers_are(layers, n + 1, &m);
	}
	merged.fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(memory_map_init(&map, MEMORY_FULL,
					 maps[0].len_bytes), 0);
	assert_int_equal(memory_layers_merge(layers, 4, merged.fd, &map, NULL, &e), 0);
	merged.map = &map;
	assert_layers_are(&merged, 1, &m);
	/* Nor need it come to its end. */
	progress_begin(&progress, "merging", maps[0].len_bytes);
	progress.cancelled = at_once;
	assert_int_equal(memory_layers_merge(layers, 4, merged.fd, &map,
					     &progress, &e), -ECANCELED);
	/* Damage in a lower layer is found though another lies over it. */
	assert_int_equal(pwrite(layers[0].fd, "?", 1, PAGE / 2), 1);
	assert_int_equal(memory_layers_merge(layers, 4, merged.fd, &map, NULL, &e),
			 -EBADMSG);
	memory_map_deinit(&map);
	close(merged.fd);
	for (int n = 0; n < 4; n++) {
		memory_map_deinit(&maps[n]);
		close(layers[n].fd);
	}
	munmap(m.p, FIRST + SECOND);
}

/* It would be written behind the memory. */
static void test_layer_with_pages_between_the_parts_is_refused(void **state)
{
	struct memory_layer layer;
	struct memory_map map;
	struct memory m;
	struct error e;

	(void)state;
	memory_init(&m);
	touch(&m, 1, 1);
	layer = save(&m, MEMORY_FULL, &map);
	map.chunks[2].pages[0] |= 1u << 3;
	assert_int_equal(memory_layers_read(&layer, 1, m.parts, 2,
					    MEMORY_CHECK_PAGES, NULL, &e), -EPROTO);
	map.chunks[2].pages[0] = 0;
	assert_int_equal(memory_layers_read(&layer, 1, m.parts, 2,
					    MEMORY_CHECK_PAGES, NULL, &e), 0);
	memory_map_deinit(&map);
	close(layer.fd);
	munmap(m.p, FIRST + SECOND);
}

/* A DIMM that was there when the base was saved: the diff's file is shorter, or
 * has nothing to say of where it was. */
static void test_memory_that_has_gone_is_left_out(void **state)
{
	struct memory_layer layers[2], merged;
	struct memory_map maps[2], map;
	struct memory m, got;
	struct error e;

	(void)state;
	memory_init(&m);
	touch(&m, 1, 1);
	touch(&m, FIRST / PAGE + 1, 2);
	layers[0] = save(&m, MEMORY_FULL, &maps[0]);
	touch(&m, 2, 3);
	layers[1] = save(&m, MEMORY_DIFF, &maps[1]);
	merged.fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(memory_map_init(&map, MEMORY_FULL,
					 maps[1].len_bytes), 0);
	assert_int_equal(memory_layers_merge(layers, 2, merged.fd, &map, NULL,
					     &e), 0);
	merged.map = &map;
	memory_init(&got);
	assert_int_equal(memory_layers_read(layers, 2, got.parts, 1,
					    MEMORY_CHECK_ALL, NULL, &e), 0);
	assert_memory_equal(got.p, m.p, FIRST);
	assert_int_equal(got.p[FIRST + PAGE], 0);
	memset(got.p, 0, FIRST);
	assert_int_equal(memory_layers_read(&merged, 1, got.parts, 1,
					    MEMORY_CHECK_ALL, NULL, &e), 0);
	assert_memory_equal(got.p, m.p, FIRST);
	assert_int_equal(got.p[FIRST + PAGE], 0);
	munmap(got.p, FIRST + SECOND);
	munmap(m.p, FIRST + SECOND);
	memory_map_deinit(&map);
	close(merged.fd);
	for (int n = 0; n < 2; n++) {
		memory_map_deinit(&maps[n]);
		close(layers[n].fd);
	}
}

static void test_cancelled_writing_ends(void **state)
{
	int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct memory_map map;
	struct memory m;
	struct error e;

	(void)state;
	memory_init(&m);
	assert_int_equal(memory_map_init(&map, MEMORY_FULL, 3 * CHUNK + SECOND),
			 0);
	cancelled = true;
	assert_int_equal(memory_file_write(fd, m.parts, 2, &map,
					   (struct job *)&cancelled, &e),
			 -ECANCELED);
	cancelled = false;
	memory_map_deinit(&map);
	close(fd);
	munmap(m.p, FIRST + SECOND);
}

static int identity_again(const struct save_identity *in,
			  struct save_identity *out)
{
	struct state_writer w = STATE_WRITER_INIT;
	struct state_reader r;
	int ret;

	save_identity_put(in, &w);
	state_reader_init(&r, w.data, w.len_bytes);
	ret = save_identity_get(out, &r);
	state_writer_deinit(&w);
	return ret;
}

static void test_runs_of_pages_are_all_found(void **state)
{
	static const uint64_t patterns[][2] = {
		{ 0, 0 }, { ~0ull, ~0ull }, { 1, 0 }, { 1ull << 63, 1 },
		{ 0, 1ull << 63 }, { 0xf00ff00ff00ff00full, ~0ull },
		{ 0x5555555555555555ull, 0xaaaaaaaaaaaaaaaaull },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
		uint64_t bits[MEMORY_CHUNK_WORDS], found[MEMORY_CHUNK_WORDS];
		unsigned int first = 0, count, end = 0;

		for (size_t k = 0; k < MEMORY_CHUNK_WORDS; k++)
			bits[k] = patterns[i][k & 1];
		memset(found, 0, sizeof(found));
		for (; memory_next_run(bits, &first, &count); first = end) {
			/* A run ends where a page is missing. */
			assert_true(first > end || !end);
			end = first + count;
			assert_true(end <= MEMORY_CHUNK_PAGES);
			for (unsigned int p = first; p < end; p++)
				found[p / 64] |= 1ull << p % 64;
		}
		assert_int_equal(count, 0);
		assert_memory_equal(found, bits, sizeof(bits));
	}
}

static void test_identity_comes_back_or_is_refused(void **state)
{
	struct save_identity a = { .id = "one" }, b;

	(void)state;
	assert_int_equal(identity_again(&a, &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	a.is_diff = true;
	memcpy(a.base_id, "two", 4);
	assert_int_equal(identity_again(&a, &b), -EPROTO);
	strcpy(a.base_relative, "../base/state");
	strcpy(a.base_absolute, "/srv/base/state");
	assert_int_equal(identity_again(&a, &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	memcpy(a.base_id, a.id, sizeof(a.id));
	assert_int_equal(identity_again(&a, &b), -EPROTO);
}

static void make(const char *name)
{
	int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static void test_identity_finds_the_way_to_the_base(void **state)
{
	static const struct {
		const char *base, *directory, *relative;
	} cases[] = {
		{ "base/state", "diff", "../base/state" },
		{ "base/state", "./diff/", "../base/state" },
		{ "base/state", "basement", "../base/state" },
		{ "base/state", "sub/diff", "../../base/state" },
		{ "sub/state", "diff", "../sub/state" },
		{ "base/state", "base/diff", "../state" },
		{ "state", "diff", "../state" },
	};
	char top[] = "/tmp/test-identity-XXXXXX", back[4096];
	struct save_identity s;
	struct error e;

	(void)state;
	assert_non_null(getcwd(back, sizeof(back)));
	assert_non_null(mkdtemp(top));
	assert_int_equal(chdir(top), 0);
	assert_int_equal(mkdir("base", 0700) | mkdir("sub", 0700), 0);
	make("base/state");
	make("sub/state");
	make("state");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(save_identity_place_base(
			&s, cases[i].base, cases[i].directory, NULL, &e), 0);
		assert_string_equal(s.base_relative, cases[i].relative);
		assert_int_equal(s.base_absolute[0], '/');
		assert_int_equal(access(s.base_absolute, F_OK), 0);
	}
	assert_int_equal(save_identity_place_base(&s, "base/state", "base",
						  NULL, &e), -EINVAL);
	assert_int_equal(save_identity_place_base(&s, "base/state", NULL,
						  "base/../base/state", &e),
			 -EINVAL);
	assert_int_equal(save_identity_place_base(&s, "base/state", NULL,
						  "base/next", &e), 0);
	assert_string_equal(s.base_relative, "state");
	assert_int_equal(save_identity_place_base(&s, "base/state",
						  "none/diff", NULL, &e),
			 -ENOENT);
	assert_int_equal(chdir(back), 0);
	snprintf(back, sizeof(back), "rm -r %s", top);
	assert_int_equal(system(back), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layers_add_up_and_merge),
		cmocka_unit_test(
			test_layer_with_pages_between_the_parts_is_refused),
		cmocka_unit_test(test_memory_that_has_gone_is_left_out),
		cmocka_unit_test(test_cancelled_writing_ends),
		cmocka_unit_test(test_runs_of_pages_are_all_found),
		cmocka_unit_test(test_identity_comes_back_or_is_refused),
		cmocka_unit_test(test_identity_finds_the_way_to_the_base),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
