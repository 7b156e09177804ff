/* SPDX-License-Identifier: MIT */
/* LINK: p9/codec p9/attr p9/export p9/fid p9/op_attr p9/op_dir p9/op_io */
/* LINK: p9/op_lock p9/op_name p9/op_open p9/op_session p9/op_xattr p9/path */
/* LINK: p9/lock_ranges p9/pool p9/qid p9/reclaim p9/save p9/server state error loop */
/* WITH: p9_fixture */
/* Nothing leads out of the export, whatever happens to names meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"

#include "p9_fixture.h"

static struct p9_client c;
static struct p9_params params;
static char outside[160];
static struct stat secret;

/* dir/share is exported; dir/secret and dir/outside/ lie next to it. */
static void start(char *const *allowed, size_t count)
{
	static char share[160];

	p9_client_init(&c, &params);
	assert_int_equal(mkdir(p9_host_path(&c, "share"), 0755), 0);
	assert_int_equal(mkdir(p9_host_path(&c, "outside"), 0755), 0);
	snprintf(outside, sizeof(outside), "%s/outside", c.dir);
	p9_host_write(&c, "secret", "secret");
	p9_host_write(&c, "outside/secret", "secret");
	assert_int_equal(stat(p9_host_path(&c, "outside"), &secret), 0);
	snprintf(share, sizeof(share), "%s/share", c.dir);
	params.path = share;
	params.allowed = allowed;
	params.allowed_count = count;
	params.mapped = geteuid() != 0;
	p9_client_start(&c, &params);
	p9_host_write(&c, "share/file", "content");
	assert_int_equal(mkdir(p9_host_path(&c, "share/a"), 0755), 0);
	assert_int_equal(mkdir(p9_host_path(&c, "share/a/b"), 0755), 0);
	assert_int_equal(p9_do_version(&c, 65536, "9P2000.L"), 0);
	assert_int_equal(p9_do_attach(&c, 0, 0), 0);
}

static int set_up(void **state)
{
	(void)state;
	start(NULL, 0);
	return 0;
}

static int set_up_allowed(void **state)
{
	static char *const allowed[] = { "file", "a", "new" };

	(void)state;
	start(allowed, 3);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	p9_client_deinit(&c);
	return 0;
}

static void test_escape_names_are_refused(void **state)
{
	struct p9_test_attr a, root;

	(void)state;
	assert_int_equal(p9_do_getattr(&c, 0, &root), 0);
	/* The parent of the root is the root; that of a is, too. */
	assert_int_equal(p9_do_walk(&c, 0, 1, "../../../.."), 0);
	assert_int_equal(p9_do_getattr(&c, 1, &a), 0);
	assert_true(a.qid.path == root.qid.path);
	assert_int_equal(p9_do_walk(&c, 0, 2, "a/b/../../.."), 0);
	assert_int_equal(p9_do_getattr(&c, 2, &a), 0);
	assert_true(a.qid.path == root.qid.path);
	assert_int_equal(p9_do_walk(&c, 0, 3, "../secret"), 0);
	assert_int_equal(p9_get_u16(&c.r), 1);
	p9_start(&c, P9_TWALK);
	p9_put_u32(&c.t, 0);
	p9_put_u32(&c.t, 4);
	p9_put_u16(&c.t, 1);
	p9_put_string(&c.t, "../secret");
	assert_int_equal(p9_call(&c), -ENOENT);
	assert_int_equal(p9_do_lcreate(&c, 1, "../x", 2, 0600), -EINVAL);
	assert_int_equal(p9_do_renameat(&c, 0, "file", 0, "../x"), -EINVAL);
	assert_int_equal(p9_do_renameat(&c, 0, "../secret", 0, "x"), -EINVAL);
	assert_int_equal(p9_do_unlinkat(&c, 0, "../secret", 0), -EINVAL);
	assert_int_equal(access(p9_host_path(&c, "secret"), F_OK), 0);
}

static void test_escape_symlinks_are_data(void **state)
{
	static const char *const targets[] = { "..", "/", "../outside",
					       "../secret", "/proc/self/root",
					       "/proc/self/fd/0" };

	(void)state;
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		assert_int_equal(symlink(targets[i],
					 p9_host_path(&c, "share/l")), 0);
		assert_int_equal(p9_do_walk(&c, 0, 1, "l/secret"), 0);
		assert_int_equal(p9_get_u16(&c.r), 1);
		assert_int_equal(p9_do_walk(&c, 0, 1, "l"), 0);
		assert_int_equal(p9_do_lopen(&c, 1, 0), -ELOOP);
		assert_int_equal(p9_do_setattr(&c, 1, P9_SET_SIZE, 0, 0, 0, 0),
				 -EINVAL);
		if (!params.mapped)
			assert_int_equal(p9_do_setattr(&c, 1, P9_SET_MODE, 0, 0,
						       0, 0), -EOPNOTSUPP);
		assert_int_equal(p9_do_walk(&c, 1, 2, "secret"), -ENOTDIR);
		assert_int_equal(p9_do_mkdir(&c, 1, "x", 0700), -ENOTDIR);
		assert_int_equal(p9_do_fid(&c, P9_TCLUNK, 1), 0);
		assert_int_equal(p9_do_walk(&c, 0, 1, ""), 0);
		assert_int_equal(p9_do_lcreate(&c, 1, "l", 2, 0600), -ELOOP);
		assert_int_equal(p9_do_unlinkat(&c, 0, "l", 0), 0);
		assert_int_equal(p9_do_fid(&c, P9_TCLUNK, 1), 0);
	}
	assert_int_equal(access(p9_host_path(&c, "secret"), F_OK), 0);
	assert_int_equal(access(p9_host_path(&c, "outside/x"), F_OK), -1);
}

/* Somebody on the host moves the directory out in which a fid is. */
static void test_escape_by_a_directory_that_is_moved_out(void **state)
{
	struct p9_test_attr a;

	(void)state;
	assert_int_equal(p9_do_walk(&c, 0, 1, "a/b"), 0);
	assert_int_equal(rename(p9_host_path(&c, "share/a/b"),
				p9_host_path(&c, "outside/b")), 0);
	assert_int_equal(p9_do_walk(&c, 1, 2, ".."), -ENOENT);
	assert_int_equal(p9_do_rename(&c, 1, 0, "mine"), -ENOENT);
	/* What the fid itself is stays its own. */
	assert_int_equal(p9_do_getattr(&c, 1, &a), 0);
	assert_int_equal(p9_do_fid(&c, P9_TREMOVE, 1), -ENOENT);
	assert_int_equal(access(p9_host_path(&c, "outside/b"), F_OK), 0);
	/* A name that only begins like the export's. */
	assert_int_equal(p9_do_walk(&c, 0, 1, "a"), 0);
	assert_int_equal(rename(p9_host_path(&c, "share/a"),
				p9_host_path(&c, "share2")), 0);
	assert_int_equal(p9_do_walk(&c, 1, 2, ".."), -ENOENT);
}

static void test_export_that_is_removed_gives_errors(void **state)
{
	int ret;

	(void)state;
	assert_int_equal(p9_do_walk(&c, 0, 1, ""), 0);
	assert_int_equal(p9_do_lopen(&c, 1, 0), 0);
	unlink(p9_host_path(&c, "share/file"));
	rmdir(p9_host_path(&c, "share/a/b"));
	rmdir(p9_host_path(&c, "share/a"));
	assert_int_equal(rmdir(p9_host_path(&c, "share")), 0);
	assert_int_equal(p9_do_walk(&c, 0, 2, "file"), -ENOENT);
	assert_int_equal(p9_do_mkdir(&c, 0, "x", 0700), -ENOENT);
	ret = p9_do_readdir(&c, 1, 0, 4096);
	assert_true(ret == -ENOENT || ret == 0);
	assert_int_equal(p9_do_fid(&c, P9_TSTATFS, 0), 0);
}

struct racer {
	atomic_bool stop;
	pthread_t thread;
	char a[160], b[160], tmp[160];
};

/* a is by turns a directory and a symlink to outside. */
static void *swap(void *opaque)
{
	struct racer *r = opaque;

	while (!atomic_load(&r->stop)) {
		rename(r->a, r->tmp);
		rename(r->b, r->a);
		rename(r->a, r->b);
		rename(r->tmp, r->a);
	}
	return NULL;
}

/* a/b goes out of the export and back. */
static void *carry(void *opaque)
{
	struct racer *r = opaque;

	while (!atomic_load(&r->stop)) {
		rename(r->a, r->b);
		rename(r->b, r->a);
	}
	return NULL;
}

static void race(struct racer *r, void *(*run)(void *), const char *a,
		 const char *b, const char *tmp)
{
	atomic_init(&r->stop, false);
	snprintf(r->a, sizeof(r->a), "%s", p9_host_path(&c, a));
	snprintf(r->b, sizeof(r->b), "%s", p9_host_path(&c, b));
	snprintf(r->tmp, sizeof(r->tmp), "%s", p9_host_path(&c, tmp));
	assert_int_equal(pthread_create(&r->thread, NULL, run, r), 0);
}

static void end_race(struct racer *r)
{
	atomic_store(&r->stop, true);
	pthread_join(r->thread, NULL);
}

static bool outside_is_clean(void)
{
	struct stat st;

	return !stat(p9_host_path(&c, "secret"), &st) && st.st_size == 6 &&
	       !stat(p9_host_path(&c, "outside/secret"), &st) &&
	       st.st_size == 6 && !(st.st_mode & 07000) &&
	       access(p9_host_path(&c, "outside/x"), F_OK);
}

static void test_race_of_symlinks_never_leads_out(void **state)
{
	unsigned int reached = 0;
	struct p9_test_attr a;
	struct racer r;

	(void)state;
	p9_host_write(&c, "share/a/secret", "inside!");
	assert_int_equal(symlink(outside, p9_host_path(&c, "share/l")), 0);
	race(&r, swap, "share/a", "share/l", "share/tmp");
	for (int i = 0; i < 20000; i++) {
		if (!p9_do_walk(&c, 0, 1, "a/secret") &&
		    !p9_do_getattr(&c, 1, &a)) {
			assert_int_equal(a.size, 7);
			reached++;
		}
		p9_do_fid(&c, P9_TCLUNK, 1);
		if (!p9_do_walk(&c, 0, 1, "a")) {
			p9_do_mkdir(&c, 1, "x", 0700);
			p9_do_unlinkat(&c, 1, "x", P9_UNLINK_DIR);
		}
		p9_do_fid(&c, P9_TCLUNK, 1);
	}
	end_race(&r);
	assert_true(reached);
	assert_true(outside_is_clean());
}

static void test_race_of_renames_never_leads_out(void **state)
{
	unsigned int up = 0;
	struct p9_test_attr a;
	struct racer r;

	(void)state;
	assert_int_equal(p9_do_walk(&c, 0, 1, "a/b"), 0);
	race(&r, carry, "share/a/b", "outside/b", "share/tmp");
	for (int i = 0; i < 20000; i++) {
		if (!p9_do_walk(&c, 1, 2, "..")) {
			assert_int_equal(p9_do_getattr(&c, 2, &a), 0);
			assert_true((a.qid.path & ((1ull << 48) - 1)) !=
				    secret.st_ino);
			p9_do_unlinkat(&c, 2, "secret", 0);
			assert_int_equal(p9_do_fid(&c, P9_TCLUNK, 2), 0);
			up++;
		}
	}
	end_race(&r);
	assert_true(up);
	assert_true(outside_is_clean());
}

static void test_allowed_names_are_all_there_is(void **state)
{
	unsigned int seen = 0;
	char name[300];

	(void)state;
	p9_host_write(&c, "share/hidden", "x");
	p9_host_write(&c, "share/a/hidden", "x");
	assert_int_equal(p9_do_walk(&c, 0, 1, "hidden"), -ENOENT);
	assert_int_equal(p9_do_walk(&c, 0, 1, "a/hidden"), 0);
	assert_int_equal(p9_do_walk(&c, 1, 2, "../../hidden"), -ENOTDIR);
	assert_int_equal(p9_do_walk(&c, 0, 2, "a/../hidden"), 0);
	assert_int_equal(p9_get_u16(&c.r), 2);
	assert_int_equal(p9_do_mkdir(&c, 0, "hidden2", 0700), -EACCES);
	assert_int_equal(p9_do_mkdir(&c, 0, "new", 0700), 0);
	assert_int_equal(p9_do_unlinkat(&c, 0, "hidden", 0), -ENOENT);
	assert_int_equal(p9_do_renameat(&c, 0, "hidden", 0, "new"), -ENOENT);
	assert_int_equal(p9_do_renameat(&c, 0, "file", 0, "gone"), -EACCES);
	assert_int_equal(p9_do_link(&c, 0, 1, "gone"), -EACCES);
	assert_int_equal(p9_do_walk(&c, 0, 3, ""), 0);
	assert_int_equal(p9_do_lopen(&c, 3, 0), 0);
	assert_true(p9_do_readdir(&c, 3, 0, 65536) > 0);
	while (c.r.pos < c.r.len_bytes) {
		p9_get_u8(&c.r);
		p9_get_u32(&c.r);
		p9_get_u64(&c.r);
		p9_get_u64(&c.r);
		p9_get_u8(&c.r);
		p9_get_string(&c.r, name, sizeof(name));
		assert_int_equal(strncmp(name, "hidden", 6) == 0, 0);
		seen++;
	}
	assert_int_equal(seen, 5);	/* . .. file a new */
}

/* The roots of procfs and sysfs have the same inode number. */
static void test_qids_differ_across_mounts(void **state)
{
	struct p9_test_attr proc, sys, root, again;
	struct stat a, b;

	(void)state;
	assert_int_equal(stat("/proc", &a), 0);
	assert_int_equal(stat("/sys", &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	p9_client_init(&c, &params);
	params.path = "/";
	params.readonly = true;
	p9_client_start(&c, &params);
	assert_int_equal(p9_do_version(&c, 65536, "9P2000.L"), 0);
	assert_int_equal(p9_do_attach(&c, 0, 0), 0);
	assert_int_equal(p9_do_walk(&c, 0, 1, "proc"), 0);
	assert_int_equal(p9_do_walk(&c, 0, 2, "sys"), 0);
	assert_int_equal(p9_do_walk(&c, 0, 3, "sys/../proc"), 0);
	assert_int_equal(p9_do_getattr(&c, 0, &root), 0);
	assert_int_equal(p9_do_getattr(&c, 1, &proc), 0);
	assert_int_equal(p9_do_getattr(&c, 2, &sys), 0);
	assert_int_equal(p9_do_getattr(&c, 3, &again), 0);
	assert_true(proc.qid.path != sys.qid.path);
	assert_true(proc.qid.path == again.qid.path);
	assert_int_equal(stat("/", &a), 0);
	assert_true(root.qid.path == a.st_ino);
	/* A link that the kernel follows to where it likes is no path. */
	assert_int_equal(p9_do_walk(&c, 1, 4, "self"), 0);
	assert_int_equal(p9_do_lopen(&c, 4, 0), -ELOOP);
	p9_client_deinit(&c);
}

static void test_export_must_be_a_directory(void **state)
{
	struct p9_files files = { .max = 1 };
	struct p9_params p = { .path = "/nowhere/at/all", .files = &files };
	struct p9_export *x;
	struct error e;

	(void)state;
	assert_int_equal(p9_export_open(&x, &p, &e), -ENOENT);
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	assert_non_null(strstr(e.text, "/nowhere/at/all"));
	p.path = "/proc/self/exe";
	assert_int_equal(p9_export_open(&x, &p, &e), -ENOTDIR);
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	assert_int_equal(files.exports, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define WITH(t, s) cmocka_unit_test_setup_teardown(t, s, tear_down)
		WITH(test_escape_names_are_refused, set_up),
		WITH(test_escape_symlinks_are_data, set_up),
		WITH(test_escape_by_a_directory_that_is_moved_out, set_up),
		WITH(test_export_that_is_removed_gives_errors, set_up),
		WITH(test_race_of_symlinks_never_leads_out, set_up),
		WITH(test_race_of_renames_never_leads_out, set_up),
		WITH(test_allowed_names_are_all_there_is, set_up_allowed),
		cmocka_unit_test(test_qids_differ_across_mounts),
		cmocka_unit_test(test_export_must_be_a_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
