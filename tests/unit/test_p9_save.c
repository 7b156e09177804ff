/* SPDX-License-Identifier: MIT */
/* LINK: p9/codec p9/attr p9/export p9/fid p9/op_attr p9/op_dir p9/op_io */
/* LINK: p9/op_lock p9/op_name p9/op_open p9/op_session p9/op_xattr p9/path */
/* LINK: p9/lock_ranges p9/pool p9/qid p9/reclaim p9/save p9/server state error loop */
/* WITH: p9_fixture */
/* A session, saved and loaded into a new server. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "p9_fixture.h"
#include "state.h"

static struct p9_client c;

static int set_up(void **state)
{
	struct p9_params p;

	(void)state;
	p9_client_init(&c, &p);
	p9_client_start(&c, &p);
	p9_host_write(&c, "file", "content");
	p9_host_write(&c, "doomed", "x");
	assert_int_equal(mkdir(p9_host_path(&c, "dir"), 0755), 0);
	p9_host_write(&c, "dir/inner", "inner");
	assert_int_equal(p9_do_version(&c, 8192, "9P2000.L"), 0);
	assert_int_equal(p9_do_attach(&c, 0, 0), 0);
	assert_int_equal(p9_do_walk(&c, 0, 1, "file"), 0);
	assert_int_equal(p9_do_lopen(&c, 1, 2 | P9_O_APPEND), 0);
	assert_int_equal(p9_do_walk(&c, 0, 2, "dir/inner"), 0);
	assert_int_equal(p9_do_walk(&c, 0, 3, "doomed"), 0);
	assert_int_equal(p9_do_lopen(&c, 3, 2), 0);
	assert_int_equal(p9_do_walk(&c, 0, 4, ""), 0);
	assert_int_equal(p9_do_lopen(&c, 4, 0), 0);
	assert_true(p9_do_readdir(&c, 4, 0, 300) > 0);
	assert_int_equal(p9_do_walk(&c, 1, 5, ""), 0);
	assert_int_equal(p9_do_xattrcreate(&c, 5, "user.a", 4, 0), 0);
	assert_int_equal(p9_do_write(&c, 5, 0, "va", 2), 2);
	assert_int_equal(p9_do_lock(&c, 1, P9_LOCK_WRITE, 10, 5, 77), 0);
	assert_int_equal(p9_do_lock(&c, 1, P9_LOCK_READ, 20, 0, 77), 0);
	assert_int_equal(p9_do_lock(&c, 1, P9_LOCK_READ, 0, 3, 78), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	p9_client_deinit(&c);
	return 0;
}

static int load(const struct state_writer *w, size_t len)
{
	struct state_reader r;
	struct error e;
	int ret;

	state_reader_init(&r, w->data, len);
	ret = p9_server_load(c.server, &r, &e);
	return ret ? ret : state_reader_finish(&r);
}

static void test_session_goes_on_after_a_load(void **state)
{
	struct state_writer w = STATE_WRITER_INIT;
	struct p9_test_attr before, after;
	int entries;

	(void)state;
	assert_int_equal(p9_do_getattr(&c, 2, &before), 0);
	assert_int_equal(p9_do_unlinkat(&c, 0, "doomed", 0), 0);
	p9_server_save(c.server, &w);
	assert_int_equal(w.error, 0);
	p9_client_restart(&c);
	assert_int_equal(load(&w, w.len_bytes), 0);
	assert_int_equal(p9_do_getattr(&c, 2, &after), 0);
	assert_true(before.qid.path == after.qid.path);
	assert_int_equal(p9_do_read(&c, 1, 0, 10), 7);
	assert_int_equal(p9_do_write(&c, 1, 0, "+", 1), 1);
	assert_int_equal(p9_do_read(&c, 1, 0, 10), 8);
	/* It had no name any more. */
	assert_int_equal(p9_do_read(&c, 3, 0, 10), -ESTALE);
	assert_int_equal(p9_do_getattr(&c, 3, &after), -ESTALE);
	assert_int_equal(p9_do_fid(&c, P9_TCLUNK, 3), 0);
	/* A directory is read from its beginning or from where it was. */
	entries = p9_do_readdir(&c, 4, 0, 4096);
	assert_true(entries > 0);
	assert_int_equal(p9_do_write(&c, 5, 2, "lu", 2), 2);
	assert_int_equal(p9_do_fid(&c, P9_TCLUNK, 5), 0);
	assert_int_equal(p9_do_xattrwalk(&c, 1, 5, "user.a"), 4);
	/* Confinement is as before. */
	assert_int_equal(p9_do_walk(&c, 0, 9, ".."), 0);
	assert_int_equal(p9_do_getattr(&c, 9, &after), 0);
	assert_int_equal(p9_do_getattr(&c, 0, &before), 0);
	assert_true(before.qid.path == after.qid.path);
	state_writer_deinit(&w);
}

static void test_state_cut_anywhere_is_refused(void **state)
{
	struct state_writer w = STATE_WRITER_INIT;

	(void)state;
	p9_server_save(c.server, &w);
	for (size_t len = 0; len < w.len_bytes; len++) {
		p9_client_restart(&c);
		assert_true(load(&w, len) < 0);
	}
	state_writer_deinit(&w);
}

static void test_state_of_garbage_is_harmless(void **state)
{
	struct state_writer w = STATE_WRITER_INIT;
	unsigned int seed = 1;

	(void)state;
	p9_server_save(c.server, &w);
	for (int i = 0; i < 2000; i++) {
		struct state_writer copy = w;

		copy.data = malloc(w.len_bytes);
		assert_non_null(copy.data);
		memcpy(copy.data, w.data, w.len_bytes);
		for (int n = 0; n < 3; n++)
			copy.data[(unsigned int)rand_r(&seed) % w.len_bytes] =
				(uint8_t)rand_r(&seed);
		p9_client_restart(&c);
		load(&copy, copy.len_bytes);
		free(copy.data);
	}
	state_writer_deinit(&w);
}

/* As another process on the host meets it. */
static short locked(const char *name, short type, off_t start)
{
	struct flock l = { .l_type = type, .l_start = start, .l_len = 1 };
	int fd = open(p9_host_path(&c, name), O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_OFD_GETLK, &l), 0);
	close(fd);
	return l.l_type;
}

static void test_locks_are_taken_again(void **state)
{
	struct state_writer w = STATE_WRITER_INIT;

	(void)state;
	p9_server_save(c.server, &w);
	p9_client_restart(&c);
	assert_int_equal(locked("file", F_WRLCK, 12), F_UNLCK);
	assert_int_equal(load(&w, w.len_bytes), 0);
	assert_int_equal(locked("file", F_RDLCK, 9), F_UNLCK);
	assert_int_equal(locked("file", F_RDLCK, 10), F_WRLCK);
	assert_int_equal(locked("file", F_RDLCK, 14), F_WRLCK);
	assert_int_equal(locked("file", F_WRLCK, 15), F_UNLCK);
	assert_int_equal(locked("file", F_RDLCK, 5000), F_UNLCK);
	assert_int_equal(locked("file", F_WRLCK, 5000), F_RDLCK);
	assert_int_equal(locked("file", F_WRLCK, 2), F_RDLCK);
	/* They are the same owners', and go with the last open fid. */
	assert_int_equal(p9_do_lock(&c, 1, P9_LOCK_UNLOCK, 0, 0, 77), 0);
	assert_int_equal(locked("file", F_WRLCK, 12), F_UNLCK);
	assert_int_equal(locked("file", F_WRLCK, 2), F_RDLCK);
	assert_int_equal(p9_do_fid(&c, P9_TCLUNK, 1), 0);
	assert_int_equal(locked("file", F_WRLCK, 2), F_UNLCK);
	state_writer_deinit(&w);
}

/* Without a descriptor for it nobody knows which there are. */
static void test_locks_that_cannot_be_read_are_an_error(void **state)
{
	struct state_writer w = STATE_WRITER_INIT;
	struct rlimit old, none;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	p9_server_save(c.server, &w);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(w.error, -EMFILE);
	state_writer_deinit(&w);
}

static void test_lock_that_another_has_now_is_refused(void **state)
{
	struct flock l = { .l_type = F_RDLCK, .l_start = 12, .l_len = 1 };
	struct state_writer w = STATE_WRITER_INIT;
	int fd = open(p9_host_path(&c, "file"), O_RDWR);

	(void)state;
	p9_server_save(c.server, &w);
	p9_client_restart(&c);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
	assert_int_equal(load(&w, w.len_bytes), -EBUSY);
	close(fd);
	/* One of a file that is gone is gone. */
	assert_int_equal(unlink(p9_host_path(&c, "file")), 0);
	p9_client_restart(&c);
	assert_int_equal(load(&w, w.len_bytes), 0);
	state_writer_deinit(&w);
}

/* A session with one fid, 7; and so many locks of no file. */
static int load_forged(const char *path, uint32_t locks)
{
	struct state_writer w = STATE_WRITER_INIT;
	int ret;

	state_put_u8(&w, 2);
	state_put_u32(&w, 8192);
	state_put_u64(&w, 0);
	state_put_u32(&w, 1);
	state_put_u32(&w, 7);
	state_put_u32(&w, 0);
	state_put_u8(&w, 0);
	state_put_u32(&w, 0);
	state_put_u64(&w, 0);
	state_put_u64(&w, 0);
	state_put_bool(&w, true);
	state_put_string(&w, path);
	state_put_u32(&w, locks);
	for (uint32_t i = 0; i < locks; i++) {
		state_put_u64(&w, 12345);
		state_put_u32(&w, i);
		state_put_string(&w, "");
		state_put_u32(&w, 0);
	}
	p9_client_restart(&c);
	ret = load(&w, w.len_bytes);
	state_writer_deinit(&w);
	return ret;
}

/* A path that leads out, as only a forged state has it. */
static void test_state_with_a_path_outside_loses_the_fid(void **state)
{
	static const char *const paths[] = { "../x", "/etc/passwd",
					     "dir/../../x", "link/passwd",
					     "dir/../file" };
	struct p9_test_attr a;

	(void)state;
	assert_int_equal(symlink("/etc", p9_host_path(&c, "link")), 0);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		assert_int_equal(load_forged(paths[i], 0), 0);
		assert_int_equal(p9_do_getattr(&c, 7, &a), -ESTALE);
	}
	assert_int_equal(load_forged("dir/inner", 0), 0);
	assert_int_equal(p9_do_getattr(&c, 7, &a), 0);
}

static void test_state_with_a_name_that_is_not_allowed_loses_the_fid(
	void **state)
{
	static char *const allowed[] = { "dir" };
	struct p9_test_attr a;
	struct p9_params p;

	(void)state;
	p9_client_deinit(&c);
	p9_client_init(&c, &p);
	p.allowed = allowed;
	p.allowed_count = 1;
	p9_client_start(&c, &p);
	p9_host_write(&c, "secret", "x");
	assert_int_equal(mkdir(p9_host_path(&c, "dir"), 0755), 0);
	assert_int_equal(load_forged("dir", 0), 0);
	assert_int_equal(p9_do_getattr(&c, 7, &a), 0);
	assert_int_equal(load_forged("secret", 0), 0);
	assert_int_equal(p9_do_getattr(&c, 7, &a), -ESTALE);
	assert_int_equal(load_forged("./secret", 0), 0);
	assert_int_equal(p9_do_getattr(&c, 7, &a), -ESTALE);
}

static void test_state_with_more_locks_than_there_can_be_is_refused(
	void **state)
{
	(void)state;
	assert_int_equal(load_forged("file", 4096), 0);
	assert_true(load_forged("file", 4097) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define WITH(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
		WITH(test_session_goes_on_after_a_load),
		WITH(test_state_cut_anywhere_is_refused),
		WITH(test_state_of_garbage_is_harmless),
		WITH(test_state_with_a_path_outside_loses_the_fid),
		WITH(test_state_with_a_name_that_is_not_allowed_loses_the_fid),
		WITH(test_state_with_more_locks_than_there_can_be_is_refused),
		WITH(test_locks_are_taken_again),
		WITH(test_locks_that_cannot_be_read_are_an_error),
		WITH(test_lock_that_another_has_now_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
