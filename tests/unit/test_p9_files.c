/* SPDX-License-Identifier: MIT */
/* LINK: p9/codec p9/attr p9/export p9/fid p9/op_attr p9/op_dir p9/op_io */
/* LINK: p9/op_lock p9/op_name p9/op_open p9/op_session p9/op_xattr p9/path */
/* LINK: p9/lock_ranges p9/pool p9/qid p9/reclaim p9/save p9/server state error loop */
/* WITH: p9_fixture */
/* What the operations do to files, passed through and mapped. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "unit.h"

#include "p9_fixture.h"

static struct p9_client c;
static struct p9_params params;

/* The tests run as root or not: what needs root is mapped then. */
static void start(bool mapped, bool readonly)
{
	p9_client_init(&c, &params);
	params.mapped = mapped || geteuid();
	params.readonly = readonly;
	/* The user's umask takes nothing away from the guest's modes. */
	umask(077);
	p9_client_start(&c, &params);
	p9_host_write(&c, "file", "content");
	assert_int_equal(mkdir(p9_host_path(&c, "dir"), 0755), 0);
	assert_int_equal(p9_do_version(&c, 1 << 20, "9P2000.L"), 0);
	assert_int_equal(p9_do_attach(&c, 0, geteuid()), 0);
}

static int set_up(void **state)
{
	(void)state;
	start(false, false);
	return 0;
}

static int set_up_mapped(void **state)
{
	(void)state;
	start(true, false);
	return 0;
}

static int set_up_readonly(void **state)
{
	(void)state;
	start(false, true);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	p9_client_deinit(&c);
	return 0;
}

static struct p9_test_attr attr(const char *name)
{
	struct p9_test_attr a = { 0 };

	assert_int_equal(p9_do_walk(&c, 0, 99, name), 0);
	assert_int_equal(p9_do_getattr(&c, 99, &a), 0);
	assert_int_equal(p9_do_fid(&c, P9_TCLUNK, 99), 0);
	return a;
}

static void clunk(uint32_t fid)
{
	assert_int_equal(p9_do_fid(&c, P9_TCLUNK, fid), 0);
}

static void test_file_is_created_written_and_read(void **state)
{
	struct p9_test_attr a;

	(void)state;
	assert_int_equal(p9_do_walk(&c, 0, 1, "dir"), 0);
	assert_int_equal(p9_do_lcreate(&c, 1, "new", 2, 0640), 0);
	assert_int_equal(p9_do_write(&c, 1, 5, "hello", 5), 5);
	assert_int_equal(p9_do_read(&c, 1, 0, 100), 10);
	assert_memory_equal(c.reply + 11, "\0\0\0\0\0hello", 10);
	assert_int_equal(p9_do_fsync(&c, 1), 0);
	clunk(1);
	a = attr("dir/new");
	assert_int_equal(a.mode, S_IFREG | 0640);
	assert_int_equal(a.size, 10);
	assert_int_equal(p9_do_walk(&c, 0, 1, "dir"), 0);
	assert_int_equal(p9_do_lcreate(&c, 1, "new", 2 | P9_O_EXCL, 0640),
			 -EEXIST);
	assert_int_equal(p9_do_lcreate(&c, 1, "new", 2 | P9_O_TRUNC, 0600), 0);
	assert_int_equal(p9_do_read(&c, 1, 0, 100), 0);
	clunk(1);
	assert_int_equal(attr("dir/new").mode, S_IFREG | 0640);
}

static void test_file_large_transfers_are_whole(void **state)
{
	size_t len = (1u << 20) - 23;
	uint8_t *data = malloc(len);

	(void)state;
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	assert_int_equal(p9_do_walk(&c, 0, 1, ""), 0);
	assert_int_equal(p9_do_lcreate(&c, 1, "big", 2, 0600), 0);
	c.piece = 4096;
	assert_int_equal(p9_do_write(&c, 1, 0, data, (uint32_t)len), len);
	c.reply_room = (1u << 20);
	assert_int_equal(p9_do_read(&c, 1, 0, UINT32_MAX), len);
	assert_memory_equal(c.reply + 11, data, len);
	c.reply_room = P9_TEST_BYTES;
	c.piece = 0;
	free(data);
}

static void test_file_that_is_open_needs_no_name(void **state)
{
	struct p9_test_attr a;

	(void)state;
	assert_int_equal(p9_do_walk(&c, 0, 1, "file"), 0);
	assert_int_equal(p9_do_walk(&c, 1, 2, ""), 0);
	assert_int_equal(p9_do_lopen(&c, 1, 2), 0);
	assert_int_equal(p9_do_renameat(&c, 0, "file", 0, "other"), 0);
	assert_int_equal(p9_do_write(&c, 1, 0, "C", 1), 1);
	/* The fid that was only walked to follows, too. */
	assert_int_equal(p9_do_rename(&c, 2, 0, "third"), 0);
	assert_int_equal(p9_do_unlinkat(&c, 0, "third", 0), 0);
	assert_int_equal(p9_do_read(&c, 1, 0, 10), 7);
	assert_int_equal(p9_do_getattr(&c, 2, &a), 0);
	assert_int_equal(a.nlink, 0);
	assert_int_equal(p9_do_fid(&c, P9_TREMOVE, 2), -ESTALE);
	assert_int_equal(p9_do_fid(&c, P9_TCLUNK, 2), -EBADF);
}

static void test_names_each_errno(void **state)
{
	char long_name[300];

	(void)state;
	memset(long_name, 'n', 299);
	long_name[299] = '\0';
	assert_int_equal(p9_do_walk(&c, 0, 1, "none"), -ENOENT);
	assert_int_equal(p9_do_walk(&c, 0, 1, "file/x"), 0);
	assert_int_equal(p9_get_u16(&c.r), 1);	/* partial: no fid */
	assert_int_equal(p9_do_fid(&c, P9_TCLUNK, 1), -EBADF);
	assert_int_equal(p9_do_walk(&c, 0, 1, long_name), -ENAMETOOLONG);
	assert_int_equal(p9_do_mkdir(&c, 0, "dir", 0700), -EEXIST);
	assert_int_equal(p9_do_mkdir(&c, 0, long_name, 0700), -ENAMETOOLONG);
	assert_int_equal(p9_do_mkdir(&c, 0, "..", 0700), -EEXIST);
	assert_int_equal(p9_do_mkdir(&c, 0, "a/b", 0700), -EINVAL);
	assert_int_equal(p9_do_mkdir(&c, 0, "", 0700), -EINVAL);
	assert_int_equal(p9_do_mkdir(&c, 0, "dir2", 0700), 0);
	assert_int_equal(p9_do_walk(&c, 0, 1, "dir"), 0);
	assert_int_equal(p9_do_mkdir(&c, 1, "sub", 0700), 0);
	assert_int_equal(p9_do_unlinkat(&c, 0, "dir", P9_UNLINK_DIR),
			 -ENOTEMPTY);
	assert_int_equal(p9_do_unlinkat(&c, 0, "dir", 0), -EISDIR);
	assert_int_equal(p9_do_unlinkat(&c, 0, "file", P9_UNLINK_DIR),
			 -ENOTDIR);
	assert_int_equal(p9_do_unlinkat(&c, 0, "none", 0), -ENOENT);
	assert_int_equal(p9_do_unlinkat(&c, 0, "..", P9_UNLINK_DIR), -EINVAL);
	assert_int_equal(p9_do_renameat(&c, 0, "file", 0, "dir"), -EISDIR);
	assert_int_equal(p9_do_renameat(&c, 0, "dir", 1, "in"), -EINVAL);
	assert_int_equal(p9_do_renameat(&c, 0, "dir2", 0, "dir"), -ENOTEMPTY);
	assert_int_equal(p9_do_renameat(&c, 0, "..", 0, "x"), -EINVAL);
	assert_int_equal(p9_do_lopen(&c, 1, 1), -EISDIR);
	assert_int_equal(p9_do_walk(&c, 0, 2, "file"), 0);
	assert_int_equal(p9_do_lopen(&c, 2, P9_O_DIRECTORY), -ENOTDIR);
	assert_int_equal(p9_do_mkdir(&c, 2, "x", 0700), -ENOTDIR);
	assert_int_equal(p9_do_link(&c, 0, 1, "x"), -EPERM);
	assert_int_equal(p9_do_link(&c, 0, 2, "dir"), -EEXIST);
	assert_int_equal(p9_do_link(&c, 0, 2, "x"), 0);
	assert_int_equal(attr("x").nlink, 2);
	assert_int_equal(p9_do_fid(&c, P9_TREADLINK, 2), -EINVAL);
	assert_int_equal(p9_do_fid(&c, P9_TREMOVE, 2), 0);
	assert_int_equal(attr("x").nlink, 1);
	assert_int_equal(p9_do_fid(&c, P9_TREMOVE, 0), -EBUSY);
}

static void test_directory_is_listed_in_pieces(void **state)
{
	unsigned int seen = 0, calls = 0;
	uint64_t offset = 0;
	char name[300];
	int n;

	(void)state;
	assert_int_equal(p9_do_walk(&c, 0, 1, "dir"), 0);
	for (unsigned int i = 0; i < 1000; i++) {
		/* All lengths there are. */
		snprintf(name, sizeof(name), "%0*u", 4 + (int)i % 252, i);
		assert_int_equal(p9_do_mknod(&c, 1, name, S_IFREG | 0600, 0,
					     0), 0);
	}
	assert_int_equal(p9_do_lopen(&c, 1, 0), 0);
	while ((n = p9_do_readdir(&c, 1, offset, 4096)) > 0) {
		calls++;
		while (c.r.pos < c.r.len_bytes) {
			p9_get_u8(&c.r);
			p9_get_u32(&c.r);
			p9_get_u64(&c.r);
			offset = p9_get_u64(&c.r);
			p9_get_u8(&c.r);
			p9_get_string(&c.r, name, sizeof(name));
			assert_int_equal(c.r.error, 0);
			seen++;
		}
		/* Large replies are filled: an entry more would not fit. */
		assert_true(n <= 4096 && (n > 4096 - 700 || seen == 1002));
	}
	assert_int_equal(n, 0);
	assert_int_equal(seen, 1002);
	assert_true(calls < 60);
	assert_int_equal(p9_do_readdir(&c, 1, 0, 20), -EINVAL);
	assert_true(p9_do_readdir(&c, 1, 0, 100000) > 4096);
	assert_int_equal(p9_do_readdir(&c, 1, UINT64_MAX, 4096), -EINVAL);
}

static void test_many_fids_at_once(void **state)
{
	struct p9_test_attr a;

	(void)state;
	for (uint32_t i = 0; i < 20000; i++)
		assert_int_equal(p9_do_walk(&c, 0, 1000 + i * 4096, ""), 0);
	assert_int_equal(p9_do_getattr(&c, 1000 + 19999 * 4096, &a), 0);
	for (uint32_t i = 0; i < 20000; i++)
		clunk(1000 + i * 4096);
	assert_int_equal(p9_do_getattr(&c, 1000, &a), -EBADF);
}

/* Files are descriptors; those that are not open do without. */
static void test_more_files_than_descriptors(void **state)
{
	struct p9_test_attr a;
	char name[32];

	(void)state;
	assert_int_equal(p9_do_walk(&c, 0, 1, "dir"), 0);
	for (uint32_t i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(p9_do_mknod(&c, 1, name, S_IFREG | 0600, 0,
					     0), 0);
		assert_int_equal(p9_do_walk(&c, 1, 100 + i, name), 0);
	}
	/* Renamed meanwhile: itself, or a directory above. */
	assert_int_equal(p9_do_renameat(&c, 1, "f7", 0, "top"), 0);
	assert_int_equal(p9_do_renameat(&c, 0, "dir", 0, "moved"), 0);
	assert_int_equal(p9_do_unlinkat(&c, 1, "f8", 0), 0);
	for (uint32_t i = 0; i < 2000; i++)
		assert_int_equal(p9_do_getattr(&c, 100 + i, &a),
				 i == 8 ? -ESTALE : 0);
	assert_int_equal(p9_do_lopen(&c, 107, 2), 0);
	assert_int_equal(p9_do_write(&c, 107, 0, "x", 1), 1);
	assert_int_equal(attr("top").size, 1);
	/* Another file of the same name is not the one that was meant. */
	assert_int_equal(rename(p9_host_path(&c, "moved/f10"),
				p9_host_path(&c, "moved/f9")), 0);
	assert_int_equal(p9_do_getattr(&c, 109, &a), -ESTALE);
	/* Open ones are never given back: then there are no more. */
	for (uint32_t i = 20; i < 600; i++) {
		int ret = p9_do_lopen(&c, 100 + i, 0);

		if (i < 520 || i >= 530)
			assert_int_equal(ret, i < 520 ? 0 : -EMFILE);
	}
	clunk(150);
	assert_int_equal(p9_do_getattr(&c, 1999, &a), 0);
	for (uint32_t i = 0; i < 2000; i++)
		if (i != 50)
			clunk(100 + i);
}

static unsigned int open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Each its part, however many came first; and what is left when one goes. */
static void test_exports_share_the_descriptors(void **state)
{
	unsigned int none = open_fds();
	struct p9_test_attr a;
	struct p9_client d;
	struct p9_params p;
	char name[16];

	(void)state;
	for (uint32_t i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		p9_host_write(&c, name, "");
		assert_int_equal(p9_do_walk(&c, 0, 100 + i, name), 0);
	}
	assert_in_range(open_fds(), none + 500, none + 512);
	p9_client_init(&d, &p);
	p = params;
	p9_client_start(&d, &p);
	assert_int_equal(p9_do_version(&d, 1 << 20, "9P2000.L"), 0);
	assert_int_equal(p9_do_attach(&d, 0, geteuid()), 0);
	for (uint32_t i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(p9_do_walk(&d, 0, 100 + i, name), 0);
		assert_int_equal(p9_do_getattr(&c, 100 + i, &a), 0);
		/* Some more for what a server has besides. */
		assert_in_range(open_fds(), none, none + 512 + 40);
	}
	assert_in_range(c.files.held, 500, 512);
	p9_client_deinit(&d);
	assert_in_range(c.files.held, 200, 256);
	for (uint32_t i = 0; i < 600; i++)
		assert_int_equal(p9_do_getattr(&c, 100 + i, &a), 0);
	assert_in_range(c.files.held, 500, 512);
}

static void test_times_are_set_to_the_nanosecond(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(p9_do_walk(&c, 0, 1, "file"), 0);
	assert_int_equal(p9_do_setattr(&c, 1, P9_SET_ATIME | P9_SET_MTIME |
				       P9_SET_MTIME_VALUE, 0, 0, 0, 0), 0);
	assert_int_equal(stat(p9_host_path(&c, "file"), &st), 0);
	assert_true(st.st_atim.tv_sec > 1500000000);
	assert_int_equal(st.st_mtim.tv_sec, 1000);
	assert_int_equal(st.st_mtim.tv_nsec, 1000);
	assert_int_equal(p9_do_setattr(&c, 1, P9_SET_ATIME |
				       P9_SET_ATIME_VALUE, 0, 0, 0, 0), 0);
	assert_int_equal(stat(p9_host_path(&c, "file"), &st), 0);
	assert_int_equal(st.st_atim.tv_nsec, 1000);
	assert_int_equal(st.st_mtim.tv_sec, 1000);
}

static void test_qids_are_stable_and_tell_files_apart(void **state)
{
	struct p9_test_attr a = attr("file"), b = attr("dir"), again;

	(void)state;
	assert_true(a.qid.path != b.qid.path);
	assert_int_equal(b.qid.type, P9_QID_DIR);
	assert_int_equal(p9_do_renameat(&c, 0, "file", 0, "moved"), 0);
	again = attr("moved");
	assert_true(again.qid.path == a.qid.path);
	p9_host_write(&c, "moved", "other content");
	again = attr("moved");
	assert_true(again.qid.path == a.qid.path);
	assert_true(again.qid.version != a.qid.version);
}

static int getlock(uint32_t fid, uint8_t type, uint64_t start)
{
	p9_start(&c, P9_TGETLOCK);
	p9_put_u32(&c.t, fid);
	p9_put_u8(&c.t, type);
	p9_put_u64(&c.t, start);
	p9_put_u64(&c.t, 1);
	p9_put_u32(&c.t, 7);
	p9_put_string(&c.t, "client");
	assert_int_equal(p9_call(&c), 0);
	return p9_get_u8(&c.r);
}

/* The kernel keeps a record of each. */
static void test_locks_of_every_other_byte_come_to_an_end(void **state)
{
	uint64_t n = 0;
	int ret;

	(void)state;
	assert_int_equal(p9_do_walk(&c, 0, 1, "file"), 0);
	assert_int_equal(p9_do_lopen(&c, 1, 2), 0);
	while (!(ret = p9_do_lock(&c, 1, P9_LOCK_WRITE, 2 * n, 1, 7)))
		assert_true(++n < 5000);
	assert_int_equal(ret, -ENOLCK);
	assert_in_range(n, 4000, 4096);
	/* Nor by unlocking in the middle. */
	assert_int_equal(p9_do_lock(&c, 1, P9_LOCK_UNLOCK, 7, 1, 7), -ENOLCK);
	assert_int_equal(p9_do_lock(&c, 1, P9_LOCK_UNLOCK, 0, 0, 7), 0);
	assert_int_equal(p9_do_lock(&c, 1, P9_LOCK_WRITE, 0, 10, 8), 0);
	assert_int_equal(p9_do_lock(&c, 1, P9_LOCK_UNLOCK, 2, 1, 8), 0);
	assert_int_equal(p9_do_lock(&c, 1, P9_LOCK_WRITE, 2, 1, 7), 0);
}

static void test_locks_are_seen_by_others(void **state)
{
	struct flock l = { .l_type = F_WRLCK, .l_len = 10 };
	int fd = open(p9_host_path(&c, "file"), O_RDWR);

	(void)state;
	assert_int_equal(p9_do_walk(&c, 0, 1, "file"), 0);
	assert_int_equal(p9_do_lock(&c, 1, 1, 0, 10, 7), -EBADF);
	assert_int_equal(p9_do_lopen(&c, 1, 2), 0);
	assert_int_equal(p9_do_walk(&c, 0, 2, "file"), 0);
	assert_int_equal(p9_do_lopen(&c, 2, 0), 0);
	assert_int_equal(p9_do_lock(&c, 1, 1, 0, 10, 7), P9_LOCK_SUCCESS);
	/* The same process through another fid; another process. */
	assert_int_equal(p9_do_lock(&c, 2, 1, 5, 10, 7), P9_LOCK_SUCCESS);
	assert_int_equal(p9_do_lock(&c, 2, 0, 5, 1, 8), P9_LOCK_BLOCKED);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), -1);
	assert_int_equal(p9_do_lock(&c, 1, 2, 0, 0, 7), P9_LOCK_SUCCESS);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
	assert_int_equal(p9_do_lock(&c, 1, 1, 9, 1, 7), P9_LOCK_BLOCKED);
	assert_int_equal(getlock(1, 0, 9), P9_LOCK_WRITE);
	assert_int_equal(getlock(1, 2, 9), P9_LOCK_WRITE);
	assert_int_equal(getlock(1, 1, 10), P9_LOCK_UNLOCK);
	assert_int_equal(p9_do_lock(&c, 1, 1, 10, 1, 7), P9_LOCK_SUCCESS);
	assert_int_equal(p9_do_lock(&c, 1, 3, 10, 1, 7), -EINVAL);
	/* The last open fid of the file takes its locks along. */
	clunk(1);
	clunk(2);
	l = (struct flock){ .l_type = F_WRLCK };
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
	close(fd);
}

static void test_xattrs_are_set_and_read(void **state)
{
	(void)state;
	assert_int_equal(p9_do_walk(&c, 0, 1, "file"), 0);
	assert_int_equal(p9_do_xattrwalk(&c, 1, 2, "user.a"), -ENODATA);
	assert_int_equal(p9_do_walk(&c, 1, 2, ""), 0);
	assert_int_equal(p9_do_xattrcreate(&c, 2, "user.a", 5, 0), 0);
	assert_int_equal(p9_do_write(&c, 2, 1, "x", 1), -EINVAL);
	assert_int_equal(p9_do_write(&c, 2, 0, "val", 3), 3);
	assert_int_equal(p9_do_write(&c, 2, 3, "uex", 3), -EINVAL);
	assert_int_equal(p9_do_write(&c, 2, 3, "ue", 2), 2);
	clunk(2);
	assert_int_equal(p9_do_xattrwalk(&c, 1, 2, "user.a"), 5);
	assert_int_equal(p9_do_read(&c, 2, 0, 100), 5);
	assert_memory_equal(c.reply + 11, "value", 5);
	assert_int_equal(p9_do_read(&c, 2, 4, 100), 1);
	assert_int_equal(p9_do_read(&c, 2, UINT64_MAX, 100), 0);
	clunk(2);
	assert_true(p9_do_xattrwalk(&c, 1, 2, "") >= 7);
	clunk(2);
	/* What is not complete is not set. */
	assert_int_equal(p9_do_walk(&c, 1, 2, ""), 0);
	assert_int_equal(p9_do_xattrcreate(&c, 2, "user.a", 5, 0), 0);
	assert_int_equal(p9_do_fid(&c, P9_TCLUNK, 2), -EINVAL);
	assert_int_equal(p9_do_walk(&c, 1, 2, ""), 0);
	assert_int_equal(p9_do_xattrcreate(&c, 2, "user.a", 0, XATTR_REPLACE),
			 0);
	clunk(2);
	assert_int_equal(p9_do_xattrwalk(&c, 1, 2, "user.a"), -ENODATA);
	assert_int_equal(p9_do_walk(&c, 1, 2, ""), 0);
	assert_int_equal(p9_do_xattrcreate(&c, 2, "user.a", 1 << 20, 0),
			 -E2BIG);
	/* Their bytes are bounded in all. */
	for (uint32_t i = 0; i < 300; i++) {
		int ret;

		assert_int_equal(p9_do_walk(&c, 1, 100 + i, ""), 0);
		ret = p9_do_xattrcreate(&c, 100 + i, "user.a", 65536, 0);
		assert_int_equal(ret, i < 254 ? 0 : -ENOSPC);
	}
}

/* A message of each kind that changes something. */
static void test_readonly_refuses_each_mutation(void **state)
{
	static const uint8_t types[] = {
		P9_TLCREATE, P9_TSYMLINK, P9_TMKNOD, P9_TRENAME, P9_TSETATTR,
		P9_TXATTRCREATE, P9_TLINK, P9_TMKDIR, P9_TRENAMEAT,
		P9_TUNLINKAT,
	};
	char text[16] = "";
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(types); i++) {
		p9_start(&c, types[i]);
		assert_int_equal(p9_call(&c), -EROFS);
	}
	assert_int_equal(p9_do_walk(&c, 0, 1, "file"), 0);
	assert_int_equal(p9_do_lopen(&c, 1, 1), -EROFS);
	assert_int_equal(p9_do_lopen(&c, 1, 2), -EROFS);
	assert_int_equal(p9_do_lopen(&c, 1, P9_O_TRUNC), -EROFS);
	assert_int_equal(p9_do_lopen(&c, 1, 0), 0);
	assert_int_equal(p9_do_write(&c, 1, 0, "x", 1), -EBADF);
	assert_int_equal(p9_do_read(&c, 1, 0, 10), 7);
	assert_int_equal(p9_do_lock(&c, 1, 0, 0, 0, 7), P9_LOCK_SUCCESS);
	assert_int_equal(p9_do_fid(&c, P9_TREMOVE, 1), -EROFS);
	fd = open(p9_host_path(&c, "file"), O_RDONLY);
	assert_int_equal(read(fd, text, sizeof(text)), 7);
	assert_string_equal(text, "content");
	close(fd);
}

static void test_modes_and_owners(void **state)
{
	struct p9_test_attr a;

	(void)state;
	assert_int_equal(p9_do_mkdir(&c, 0, "d", 03775), 0);
	assert_int_equal(attr("d").mode, S_IFDIR | 03775);
	assert_int_equal(p9_do_mknod(&c, 0, "p", S_IFIFO | 0666, 0, 0), 0);
	assert_int_equal(attr("p").mode, S_IFIFO | 0666);
	assert_int_equal(p9_do_mknod(&c, 0, "c", S_IFCHR | 0600, 1, 300), 0);
	a = attr("c");
	assert_int_equal(a.mode, S_IFCHR | 0600);
	assert_true(a.rdev == makedev(1, 300));
	assert_int_equal(p9_do_walk(&c, 0, 1, "c"), 0);
	assert_int_equal(p9_do_lopen(&c, 1, 0), -ENXIO);
	clunk(1);
	assert_int_equal(p9_do_walk(&c, 0, 1, "p"), 0);
	assert_int_equal(p9_do_lopen(&c, 1, 0), -ENXIO);
	clunk(1);
	assert_int_equal(p9_do_mknod(&c, 0, "bad", 0170000, 0, 0), -EINVAL);
	assert_int_equal(p9_do_symlink(&c, 0, "l", "/etc/passwd"), 0);
	a = attr("l");
	assert_int_equal(a.mode, S_IFLNK | 0777);
	assert_int_equal(a.size, 11);
	assert_int_equal(a.qid.type, P9_QID_SYMLINK);
	assert_int_equal(p9_do_walk(&c, 0, 1, "l"), 0);
	assert_int_equal(p9_do_fid(&c, P9_TREADLINK, 1), 0);
	assert_memory_equal(c.reply + 9, "/etc/passwd", 11);
	assert_int_equal(p9_do_lopen(&c, 1, 0), -ELOOP);
	assert_int_equal(p9_do_link(&c, 0, 1, "l2"), 0);
	assert_int_equal(attr("l2").mode, S_IFLNK | 0777);
	assert_int_equal(p9_do_setattr(&c, 1, P9_SET_UID, 0, 1234, 0, 0), 0);
	assert_int_equal(attr("l").uid, 1234);
	clunk(1);
	/* Who attached owns what is made. */
	assert_int_equal(p9_do_attach(&c, 50, 4321), 0);
	assert_int_equal(p9_do_lcreate(&c, 50, "own", 2, 06755), 0);
	a = attr("own");
	assert_int_equal(a.uid, 4321);
	assert_int_equal(a.mode, S_IFREG | 06755);
	/* Written by who is not root, it loses its set-ID bits. */
	assert_int_equal(p9_do_write(&c, 50, 0, "x", 1), 1);
	assert_int_equal(attr("own").mode, S_IFREG | 0755);
	assert_int_equal(p9_do_setattr(&c, 50, P9_SET_MODE | P9_SET_UID |
				       P9_SET_GID, 0123, 5, 6, 0), 0);
	a = attr("own");
	assert_int_equal(a.mode, S_IFREG | 0123);
	assert_int_equal(a.uid, 5);
	assert_int_equal(a.gid, 6);
	assert_int_equal(p9_do_setattr(&c, 50, P9_SET_SIZE, 0, 0, 0, 77), 0);
	assert_int_equal(attr("own").size, 77);
	assert_int_equal(p9_do_setattr(&c, 50, P9_SET_SIZE, 0, 0, 0,
				       UINT64_MAX), -EINVAL);
}

static void test_mapped_is_invisible_on_the_host(void **state)
{
	char target[32];
	struct stat st;

	(void)state;
	assert_int_equal(p9_do_mknod(&c, 0, "dev", S_IFBLK | 0600, 8, 0), 0);
	assert_int_equal(stat(p9_host_path(&c, "dev"), &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(p9_do_symlink(&c, 0, "l", "/etc/passwd"), 0);
	assert_int_equal(lstat(p9_host_path(&c, "l"), &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(p9_do_walk(&c, 0, 1, ""), 0);
	assert_int_equal(p9_do_lcreate(&c, 1, "suid", 2, 06777), 0);
	assert_int_equal(attr("suid").mode, S_IFREG | 06777);
	assert_int_equal(stat(p9_host_path(&c, "suid"), &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0700);
	/* The guest's modes never lock mote out. */
	assert_int_equal(p9_do_setattr(&c, 1, P9_SET_MODE, 0, 0, 0, 0), 0);
	assert_int_equal(stat(p9_host_path(&c, "suid"), &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(attr("suid").mode, S_IFREG);
	/* Its xattr is nobody else's business. */
	assert_int_equal(p9_do_xattrwalk(&c, 1, 2, ""), 0);
	assert_int_equal(p9_do_xattrwalk(&c, 1, 3, "user.mote.attr"),
			 -EOPNOTSUPP);
	assert_int_equal(p9_do_walk(&c, 1, 4, ""), 0);
	assert_int_equal(p9_do_xattrcreate(&c, 4, "user.mote.attr", 16, 0),
			 -EOPNOTSUPP);
	/* A host's file shows what it is, until the guest changes it. */
	assert_int_equal(attr("file").mode, S_IFREG | 0644);
	assert_int_equal(p9_do_walk(&c, 0, 5, "file"), 0);
	assert_int_equal(p9_do_setattr(&c, 5, P9_SET_UID, 0, 7, 0, 0), 0);
	assert_int_equal(attr("file").uid, 7);
	assert_int_equal(attr("file").mode, S_IFREG | 0644);
	assert_int_equal(stat(p9_host_path(&c, "file"), &st), 0);
	assert_int_equal(st.st_uid, geteuid());
	/* And its symlinks are symlinks. */
	assert_int_equal(symlink("file", p9_host_path(&c, "real")), 0);
	assert_int_equal(attr("real").mode, S_IFLNK | 0777);
	assert_int_equal(p9_do_walk(&c, 0, 6, "real"), 0);
	assert_int_equal(p9_do_fid(&c, P9_TREADLINK, 6), 0);
	assert_int_equal(p9_do_setattr(&c, 6, P9_SET_UID, 0, 7, 0, 0), -EPERM);
	assert_int_equal(readlink(p9_host_path(&c, "real"), target,
				  sizeof(target)), 4);
}

/* Whatever the xattr says, a directory stays one and a file none. */
static void test_mapped_garbage_is_harmless(void **state)
{
	static const uint32_t dir[4] = { S_IFDIR | 0777 }, reg[4] = { S_IFREG };

	(void)state;
	assert_int_equal(setxattr(p9_host_path(&c, "file"), "user.mote.attr",
				  dir, sizeof(dir), 0), 0);
	assert_int_equal(attr("file").mode, S_IFREG | 0777);
	assert_int_equal(setxattr(p9_host_path(&c, "dir"), "user.mote.attr",
				  reg, sizeof(reg), 0), 0);
	assert_int_equal(attr("dir").mode, (uint32_t)S_IFDIR);
	assert_int_equal(setxattr(p9_host_path(&c, "dir"), "user.mote.attr",
				  "short", 5, 0), 0);
	assert_int_equal(attr("dir").mode, S_IFDIR | 0755);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define WITH(t, s) cmocka_unit_test_setup_teardown(t, s, tear_down)
		WITH(test_file_is_created_written_and_read, set_up),
		WITH(test_file_is_created_written_and_read, set_up_mapped),
		WITH(test_file_large_transfers_are_whole, set_up),
		WITH(test_file_that_is_open_needs_no_name, set_up),
		WITH(test_names_each_errno, set_up),
		WITH(test_names_each_errno, set_up_mapped),
		WITH(test_directory_is_listed_in_pieces, set_up),
		WITH(test_directory_is_listed_in_pieces, set_up_mapped),
		WITH(test_many_fids_at_once, set_up),
		WITH(test_more_files_than_descriptors, set_up),
		WITH(test_exports_share_the_descriptors, set_up),
		WITH(test_times_are_set_to_the_nanosecond, set_up),
		WITH(test_qids_are_stable_and_tell_files_apart, set_up),
		WITH(test_locks_are_seen_by_others, set_up),
		WITH(test_locks_of_every_other_byte_come_to_an_end, set_up),
		WITH(test_xattrs_are_set_and_read, set_up),
		WITH(test_readonly_refuses_each_mutation, set_up_readonly),
		WITH(test_modes_and_owners, set_up),
		WITH(test_modes_and_owners, set_up_mapped),
		WITH(test_mapped_is_invisible_on_the_host, set_up_mapped),
		WITH(test_mapped_garbage_is_harmless, set_up_mapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
