/* SPDX-License-Identifier: MIT */
/* LINK: error guest_mem boot/source boot/cache boot/wait */
#include "boot_fixture.h"

#include <sys/wait.h>
#include <time.h>

#include "boot/cache.h"

#define CONTENT_LEN 10000u

struct fx {
	char *dir;		/* temporary */
	char *store;		/* the cache's, below dir */
	char *kernel;		/* a source file */
	struct source source;
	struct source_id id;
	struct cache cache;
	uint8_t content[CONTENT_LEN];
	uint64_t crc64;
};

static void reopen_source(struct fx *f)
{
	source_close(&f->source);
	assert_int_equal(source_open(&f->source, f->kernel, 1 << 20, NULL,
				     NULL), 0);
	assert_int_equal(source_identify(&f->source, &f->id), 0);
}

static int setup(void **state)
{
	struct fx *f = calloc(1, sizeof(*f));
	struct error e = { 0 };

	assert_non_null(f);
	f->dir = dir_new();
	assert_true(asprintf(&f->store, "%s/a/b", f->dir) > 0);
	f->kernel = file_new(f->dir, "vmlinuz", "kernel", 6);
	f->source = (struct source)SOURCE_INIT;
	reopen_source(f);
	assert_int_equal(cache_open(&f->cache, f->store, &e), 0);
	assert_true(f->cache.dir_fd >= 0);
	fill_pattern(f->content, CONTENT_LEN, 3);
	f->crc64 = lzma_crc64(f->content, CONTENT_LEN, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fx *f = *state;

	source_close(&f->source);
	cache_close(&f->cache);
	dir_remove(f->dir);
	free(f->dir);
	free(f->store);
	free(f->kernel);
	free(f);
	return 0;
}

static int insert(struct fx *f, const struct source_id *id, uint64_t crc64)
{
	struct cache_temp t;
	int ret;

	assert_int_equal(cache_begin(&f->cache, &t), 0);
	assert_int_equal(pwrite(t.fd, f->content, CONTENT_LEN,
				CACHE_CONTENT_OFFSET), CONTENT_LEN);
	ret = cache_publish(&f->cache, &t, &f->source, id, CONTENT_LEN, crc64);
	cache_abandon(&f->cache, &t);
	return ret;
}

static bool hit(struct fx *f, const struct source_id *id)
{
	uint8_t back[CONTENT_LEN];
	struct cache_entry entry;

	if (cache_lookup(&f->cache, id, &entry))
		return false;
	assert_int_equal(entry.len_bytes, CONTENT_LEN);
	assert_int_equal(pread(entry.fd, back, CONTENT_LEN,
			       CACHE_CONTENT_OFFSET), CONTENT_LEN);
	assert_memory_equal(back, f->content, CONTENT_LEN);
	assert_int_equal(fcntl(entry.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	close(entry.fd);
	return true;
}

/* The only entry's path. */
static char *entry_path(struct fx *f)
{
	DIR *dir = opendir(f->store);
	char *path = NULL;
	struct dirent *d;

	assert_non_null(dir);
	while ((d = readdir(dir)))
		if (d->d_name[0] != '.')
			assert_true(asprintf(&path, "%s/%s", f->store,
					     d->d_name) > 0);
	closedir(dir);
	assert_non_null(path);
	return path;
}

static void set_mtime(const char *path, time_t seconds)
{
	struct timespec t[2] = { { .tv_sec = seconds }, { .tv_sec = seconds } };

	assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

/* Changes one byte; root may write to what is read-only. */
static void damage(const char *path, off_t at)
{
	int fd;
	uint8_t c;

	chmod(path, 0600);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 1;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	close(fd);
}

static void test_cache_inserted_entry_is_found(void **state)
{
	struct fx *f = *state;

	assert_false(hit(f, &f->id));
	assert_int_equal(insert(f, &f->id, f->crc64), 0);
	assert_true(hit(f, &f->id));
	assert_int_equal(dir_count(f->store), 1);
}

static void test_cache_every_part_of_the_identity_counts(void **state)
{
	struct fx *f = *state;
	struct source_id other;

	assert_int_equal(insert(f, &f->id, f->crc64), 0);
	for (size_t i = 0; i < sizeof(other) / sizeof(uint64_t); i++) {
		other = f->id;
		((uint64_t *)&other)[i]++;
		assert_false(hit(f, &other));
	}
	assert_true(hit(f, &f->id));
}

static void test_cache_changed_source_replaces_its_old_entry(void **state)
{
	struct fx *f = *state;

	assert_int_equal(insert(f, &f->id, f->crc64), 0);
	set_mtime(f->kernel, 1000);
	reopen_source(f);
	assert_false(hit(f, &f->id));
	assert_int_equal(insert(f, &f->id, f->crc64), 0);
	assert_true(hit(f, &f->id));
	assert_int_equal(dir_count(f->store), 1);
}

static void test_cache_source_changed_meanwhile_is_not_published(void **state)
{
	struct fx *f = *state;

	set_mtime(f->kernel, 1000);
	assert_int_equal(insert(f, &f->id, f->crc64), -ESTALE);
	assert_int_equal(dir_count(f->store), 0);
}

static void test_cache_wrong_digest_is_not_published(void **state)
{
	struct fx *f = *state;

	assert_int_equal(insert(f, &f->id, f->crc64 ^ 1), -EIO);
	assert_int_equal(dir_count(f->store), 0);
}

static void test_cache_bad_metadata_is_removed_and_rebuilt(void **state)
{
	/* magic, version, identity, length, digest, map, own digest */
	static const off_t at[] = { 0, 8, 16, 40, 56, 64, 72, 80, 1104 };
	struct fx *f = *state;

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		char *path;

		assert_int_equal(insert(f, &f->id, f->crc64), 0);
		path = entry_path(f);
		damage(path, at[i]);
		assert_false(hit(f, &f->id));
		assert_int_equal(dir_count(f->store), 0);
		free(path);
	}
	assert_int_equal(insert(f, &f->id, f->crc64), 0);
	assert_true(hit(f, &f->id));
}

static void test_cache_wrong_length_is_removed(void **state)
{
	static const off_t lengths[] = { 0, 50, 4096, 14095, 14097 };
	struct fx *f = *state;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		char *path;

		assert_int_equal(insert(f, &f->id, f->crc64), 0);
		path = entry_path(f);
		assert_int_equal(chmod(path, 0600), 0);
		assert_int_equal(truncate(path, lengths[i]), 0);
		assert_false(hit(f, &f->id));
		assert_int_equal(dir_count(f->store), 0);
		free(path);
	}
}

static void test_cache_foreign_thing_under_the_name_is_no_hit(void **state)
{
	struct fx *f = *state;
	char *path;

	assert_int_equal(insert(f, &f->id, f->crc64), 0);
	path = entry_path(f);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_false(hit(f, &f->id));
	assert_int_equal(dir_count(f->store), 0);
	assert_int_equal(symlink(f->kernel, path), 0);
	assert_false(hit(f, &f->id));
	assert_int_equal(dir_count(f->store), 0);
	assert_int_equal(access(f->kernel, F_OK), 0);
	free(path);
}

/* As after a power cut: the metadata is there, a page of content is not. */
static void test_cache_content_is_checked_after_a_restart(void **state)
{
	struct fx *f = *state;
	struct stat st;
	char *path;

	assert_int_equal(insert(f, &f->id, f->crc64), 0);
	path = entry_path(f);
	set_mtime(path, 1000);
	assert_true(hit(f, &f->id));
	/* Noted as used now, so it is not read again. */
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_mtim.tv_sec > 1000);

	damage(path, CACHE_CONTENT_OFFSET + 5000);
	set_mtime(path, 1000);
	assert_false(hit(f, &f->id));
	assert_int_equal(dir_count(f->store), 0);
	free(path);
}

static void test_cache_oldest_entries_are_evicted(void **state)
{
	struct fx *f = *state;
	struct source_id id = f->id;
	char *mine, *temp;

	mine = file_new(f->store, "notes.v1", "mine", 4);
	temp = file_new(f->store, ".tmp-1234", "x", 1);
	set_mtime(mine, 1000);
	set_mtime(temp, 1000);
	for (uint64_t i = 0; i < CACHE_MAX_ENTRIES + 4; i++) {
		struct fx g = *f;
		char *name;

		assert_true(asprintf(&name, "k%d", (int)i) > 0);
		g.kernel = file_new(f->dir, name, name, strlen(name));
		g.source = (struct source)SOURCE_INIT;
		reopen_source(&g);
		assert_int_equal(insert(&g, &g.id, f->crc64), 0);
		if (i == 0)
			id = g.id;
		/* The first one stays in use. */
		usleep(20000);
		if (i < CACHE_MAX_ENTRIES) {
			struct cache_entry entry;

			assert_int_equal(cache_lookup(&f->cache, &id, &entry),
					 0);
			futimens(entry.fd, NULL);
			close(entry.fd);
		}
		source_close(&g.source);
		free(g.kernel);
		free(name);
	}
	/* Eight entries and the file that is none of the cache's. */
	assert_int_equal(dir_count(f->store), CACHE_MAX_ENTRIES + 1);
	assert_int_equal(access(mine, F_OK), 0);
	assert_int_equal(access(temp, F_OK), -1);
	assert_true(hit(f, &id));
	free(mine);
	free(temp);
}

static void test_cache_evicted_entry_stays_readable(void **state)
{
	struct fx *f = *state;
	struct cache_entry entry;
	uint8_t *map;
	char *path;

	assert_int_equal(insert(f, &f->id, f->crc64), 0);
	assert_int_equal(cache_lookup(&f->cache, &f->id, &entry), 0);
	map = mmap(NULL, CONTENT_LEN, PROT_READ, MAP_PRIVATE, entry.fd,
		   CACHE_CONTENT_OFFSET);
	assert_ptr_not_equal(map, MAP_FAILED);
	path = entry_path(f);
	set_mtime(f->kernel, 1000);
	reopen_source(f);
	assert_int_equal(insert(f, &f->id, f->crc64), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_memory_equal(map, f->content, CONTENT_LEN);
	munmap(map, CONTENT_LEN);
	close(entry.fd);
	free(path);
}

static void test_cache_many_processes_agree_on_one_entry(void **state)
{
	struct fx *f = *state;
	int bad = 0;

	for (int i = 0; i < 8; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid)
			continue;
		for (int k = 0; k < 50; k++) {
			int ret = hit(f, &f->id) ? 0 :
				  insert(f, &f->id, f->crc64);

			if ((ret && ret != -EEXIST) || !hit(f, &f->id))
				_exit(1);
		}
		_exit(0);
	}
	for (int i = 0; i < 8; i++) {
		int status;

		assert_true(wait(&status) > 0);
		bad += status != 0;
	}
	assert_int_equal(bad, 0);
	assert_int_equal(dir_count(f->store), 1);
}

static void test_cache_abandoned_file_leaves_nothing(void **state)
{
	struct fx *f = *state;
	struct cache_temp t;

	assert_int_equal(cache_begin(&f->cache, &t), 0);
	assert_int_equal(write(t.fd, "x", 1), 1);
	cache_abandon(&f->cache, &t);
	cache_abandon(&f->cache, &t);
	assert_int_equal(dir_count(f->store), 0);
}

static void test_cache_directory_that_is_not_private_is_refused(void **state)
{
	struct fx *f = *state;
	struct cache c;
	struct error e;
	char *link;

	assert_int_equal(chmod(f->store, 0770), 0);
	assert_int_equal(cache_open(&c, f->store, &e), -EINVAL);
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	assert_non_null(strstr(e.text, f->store));
	assert_int_equal(c.dir_fd, -1);
	assert_int_equal(chmod(f->store, 0755), 0);
	assert_int_equal(cache_open(&c, f->store, &e), 0);
	cache_close(&c);

	assert_true(asprintf(&link, "%s/link", f->dir) > 0);
	assert_int_equal(symlink(f->store, link), 0);
	assert_int_equal(cache_open(&c, link, &e), -EINVAL);
	free(link);
	assert_int_equal(cache_open(&c, f->kernel, &e), -EINVAL);
}

static void test_cache_made_directory_is_private(void **state)
{
	struct fx *f = *state;
	struct stat st;

	assert_int_equal(stat(f->store, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

/* Unless something is in them by then. */
static void test_cache_made_directories_go_again(void **state)
{
	struct fx *f = *state;
	char *below, *path;
	struct cache c;
	struct error e;

	assert_true(asprintf(&below, "%s/p//q", f->dir) > 0);
	assert_true(asprintf(&path, "%s/r/s/", below) > 0);
	assert_int_equal(cache_open(&c, path, &e), 0);
	cache_undo(&c);
	cache_close(&c);
	below[strlen(below) - 3] = '\0';
	assert_int_equal(access(below, F_OK), -1);
	assert_int_equal(access(f->dir, F_OK), 0);

	below[strlen(below)] = '/';
	assert_int_equal(cache_open(&c, path, &e), 0);
	free(path);
	assert_true(asprintf(&path, "%s/x", below) > 0);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	cache_undo(&c);
	cache_close(&c);
	assert_int_equal(unlink(path), 0);
	/* Was there before: stays. */
	assert_int_equal(cache_open(&c, below, &e), 0);
	cache_undo(&c);
	cache_close(&c);
	assert_int_equal(rmdir(below), 0);
	below[strlen(below) - 3] = '\0';
	assert_int_equal(rmdir(below), 0);
	free(path);
	free(below);
}

static void test_cache_default_directory_follows_the_environment(void **state)
{
	struct fx *f = *state;
	struct cache c;
	struct error e;
	char *path;

	assert_int_equal(setenv("XDG_CACHE_HOME", f->dir, 1), 0);
	assert_int_equal(setenv("HOME", "/nonexistent", 1), 0);
	assert_int_equal(cache_open(&c, NULL, &e), 0);
	assert_true(c.dir_fd >= 0);
	cache_close(&c);
	assert_true(asprintf(&path, "%s/mote/kernels", f->dir) > 0);
	assert_int_equal(access(path, F_OK), 0);

	/* Not usable: silently off, unlike one that was named. */
	assert_int_equal(chmod(path, 0777), 0);
	assert_int_equal(cache_open(&c, NULL, &e), 0);
	assert_int_equal(c.dir_fd, -1);
	assert_int_equal(rmdir(path), 0);
	path[strlen(path) - strlen("/kernels")] = '\0';
	assert_int_equal(rmdir(path), 0);
	free(path);

	/* A relative XDG_CACHE_HOME counts as none. */
	assert_int_equal(setenv("XDG_CACHE_HOME", "relative", 1), 0);
	assert_int_equal(setenv("HOME", f->dir, 1), 0);
	assert_int_equal(cache_open(&c, NULL, &e), 0);
	assert_true(c.dir_fd >= 0);
	cache_close(&c);
	assert_true(asprintf(&path, "%s/.cache/mote/kernels", f->dir) > 0);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(rmdir(path), 0);
	free(path);

	assert_int_equal(unsetenv("XDG_CACHE_HOME"), 0);
	assert_int_equal(unsetenv("HOME"), 0);
	assert_int_equal(cache_open(&c, NULL, &e), 0);
	assert_int_equal(c.dir_fd, -1);
	assert_int_equal(cache_open(&c, "off", &e), 0);
	assert_int_equal(c.dir_fd, -1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_cache_inserted_entry_is_found),
		T(test_cache_every_part_of_the_identity_counts),
		T(test_cache_changed_source_replaces_its_old_entry),
		T(test_cache_source_changed_meanwhile_is_not_published),
		T(test_cache_wrong_digest_is_not_published),
		T(test_cache_bad_metadata_is_removed_and_rebuilt),
		T(test_cache_wrong_length_is_removed),
		T(test_cache_foreign_thing_under_the_name_is_no_hit),
		T(test_cache_content_is_checked_after_a_restart),
		T(test_cache_oldest_entries_are_evicted),
		T(test_cache_evicted_entry_stays_readable),
		T(test_cache_many_processes_agree_on_one_entry),
		T(test_cache_abandoned_file_leaves_nothing),
		T(test_cache_directory_that_is_not_private_is_refused),
		T(test_cache_made_directory_is_private),
		T(test_cache_made_directories_go_again),
		T(test_cache_default_directory_follows_the_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
