/* SPDX-License-Identifier: MIT */
/*
 * A table of POSIX's file system calls in a directory: each with its success and
 * the errors that POSIX names for it, as root and as a user. Runs inside the
 * guest, on a share, and on the host's own file system, which says what is
 * expected. Prints a line for each check that fails and how many there were.
 *
 * usage: p9_posix DIR [mapped]
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define USER 1000

static int checks, failures;

static void check(int line, const char *what, int ok, const char *got)
{
	checks++;
	if (ok)
		return;
	failures++;
	printf("FAIL line %d: %s: %s\n", line, what, got);
}

/* The call succeeds; it fails with that errno; the condition holds. */
#define OK(call) do {							\
	errno = 0;							\
	long ret_ = (long)(call);					\
	check(__LINE__, #call, ret_ >= 0, strerror(errno));		\
} while (0)
#define ERR(call, error) do {						\
	errno = 0;							\
	long ret_ = (long)(call);					\
	check(__LINE__, #call " is " #error, ret_ == -1 && errno == (error), \
	      ret_ == -1 ? strerror(errno) : "success");		\
} while (0)
#define IS(condition) check(__LINE__, #condition, condition, "no")

static char long_name[300], long_path[5000];

static struct stat st;
static struct stat *stat_of(const char *path)
{
	memset(&st, 0, sizeof(st));
	lstat(path, &st);
	return &st;
}
#define MODE(path) (stat_of(path)->st_mode & 07777)
#define OWNER(path, uid, gid) \
	(stat_of(path)->st_uid == (uid) && st.st_gid == (gid))

static int touch(const char *path, mode_t mode)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, mode);

	return fd < 0 ? -1 : close(fd);
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CREAT, 0644);
	int ret = fd < 0 || write(fd, text, strlen(text)) < 0 ? -1 : 0;

	return fd < 0 ? -1 : close(fd) ? -1 : ret;
}

static char content[256];
static const char *get(const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, content, sizeof(content) - 1);

	content[n > 0 ? n : 0] = '\0';
	close(fd);
	return content;
}

/* A function as another user, its checks counted here. */
static void as_user(void (*run)(void))
{
	int counts[2], p[2], status;

	fflush(stdout);
	if (pipe(p))
		exit(2);
	if (!fork()) {
		checks = failures = 0;
		if (setgid(USER) || setuid(USER))
			exit(2);
		run();
		fflush(stdout);
		counts[0] = checks;
		counts[1] = failures;
		_exit(write(p[1], counts, sizeof(counts)) != sizeof(counts));
	}
	close(p[1]);
	if (read(p[0], counts, sizeof(counts)) != sizeof(counts))
		counts[0] = counts[1] = 1;
	close(p[0]);
	wait(&status);
	checks += counts[0];
	failures += counts[1];
}

static void opens(void)
{
	int fd;

	OK(touch("f", 0640));
	IS(MODE("f") == 0640);
	IS(OWNER("f", geteuid(), getegid()));
	ERR(open("f", O_CREAT | O_EXCL | O_RDWR, 0600), EEXIST);
	OK(close(open("f", O_CREAT | O_RDWR, 0600)));
	ERR(open("none", O_RDONLY), ENOENT);
	ERR(open("none/x", O_RDONLY), ENOENT);
	ERR(open("f/x", O_RDONLY), ENOTDIR);
	ERR(open("f", O_RDONLY | O_DIRECTORY), ENOTDIR);
	ERR(open(".", O_WRONLY), EISDIR);
	ERR(open(".", O_RDWR | O_CREAT, 0600), EISDIR);
	ERR(open(long_name, O_RDONLY), ENAMETOOLONG);
	ERR(open(long_path, O_RDONLY), ENAMETOOLONG);
	ERR(open("", O_RDONLY), ENOENT);
	OK(symlink("loop", "loop"));
	ERR(open("loop", O_RDONLY), ELOOP);
	OK(symlink("f", "tof"));
	ERR(open("tof", O_RDONLY | O_NOFOLLOW), ELOOP);
	OK(close(open("tof", O_RDONLY)));
	OK(put("f", "hello"));
	IS(!strcmp(get("tof"), "hello"));
	OK(close(open("f", O_WRONLY | O_TRUNC)));
	IS(stat_of("f")->st_size == 0);
	OK(symlink("made", "dangling"));
	OK(touch("dangling", 0600) == -1 ? 0 : -1);
	OK(close(open("dangling", O_CREAT | O_WRONLY, 0600)));
	IS(S_ISREG(stat_of("made")->st_mode));
	OK(fd = open("a", O_CREAT | O_WRONLY | O_APPEND, 0600));
	OK(write(fd, "one", 3));
	OK(pwrite(fd, "two", 3, 0));
	OK(close(fd));
	IS(!strcmp(get("a"), "onetwo"));
	ERR(read(open("f", O_WRONLY), content, 1), EBADF);
	ERR(write(open("f", O_RDONLY), content, 1), EBADF);
	ERR(read(open(".", O_RDONLY), content, 1), EISDIR);
	OK(mkfifo("fifo", 0600));
	ERR(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
	IS(S_ISFIFO(stat_of("fifo")->st_mode));
	umask(027);
	OK(touch("masked", 0666));
	IS(MODE("masked") == 0640);
	OK(mkdir("maskedd", 0777));
	IS(MODE("maskedd") == 0750);
	umask(0);
}

static void data(void)
{
	char buf[8192], *map;
	int fd;

	OK(fd = open("data", O_CREAT | O_RDWR, 0600));
	memset(buf, 'x', sizeof(buf));
	OK(pwrite(fd, buf, sizeof(buf), 3));
	IS(pread(fd, buf, sizeof(buf), 8190) == 5);
	IS(pread(fd, buf, sizeof(buf), 9000) == 0);
	IS(pread(fd, buf, 10, 0) == 10 && !buf[0] && !buf[2] && buf[3] == 'x');
	OK(ftruncate(fd, 100));
	IS(stat_of("data")->st_size == 100);
	OK(ftruncate(fd, 100000));
	IS(pread(fd, buf, 10, 5000) == 10 && !buf[0]);
	ERR(ftruncate(fd, -1), EINVAL);
	OK(truncate("data", 4096));
	IS(stat_of("data")->st_size == 4096);
	OK(fsync(fd));
	OK(fdatasync(fd));
	/* Without a cache the client maps only privately. */
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	IS(map != MAP_FAILED && map[3] == 'x' && map[50] == 'x' && !map[200]);
	/* Nobody needs a name for what is open. */
	OK(unlink("data"));
	OK(pwrite(fd, "gone", 4, 0));
	IS(pread(fd, buf, 4, 0) == 4 && !memcmp(buf, "gone", 4));
	OK(fstat(fd, &st));
	IS(st.st_nlink == 0);
	OK(fchmod(fd, 0604));
	OK(fstat(fd, &st));
	IS((st.st_mode & 07777) == 0604);
	OK(close(fd));
	ERR(truncate("none", 0), ENOENT);
	OK(mkdir("td", 0700));
	ERR(truncate("td", 0), EISDIR);
	OK(rmdir("td"));
}

static void directories(void)
{
	struct dirent *d;
	int names = 0, dots = 0;
	DIR *dir;

	OK(mkdir("d", 0751));
	IS(MODE("d") == 0751 && S_ISDIR(st.st_mode) && st.st_nlink >= 1);
	ERR(mkdir("d", 0700), EEXIST);
	ERR(mkdir("f", 0700), EEXIST);
	ERR(mkdir("none/x", 0700), ENOENT);
	ERR(mkdir("f/x", 0700), ENOTDIR);
	ERR(mkdir(long_name, 0700), ENAMETOOLONG);
	OK(mkdir("d/sub", 0700));
	ERR(rmdir("d"), ENOTEMPTY);
	ERR(rmdir("f"), ENOTDIR);
	ERR(rmdir("none"), ENOENT);
	ERR(rmdir("d/sub/."), EINVAL);
	ERR(unlink("d"), EISDIR);
	OK(touch("d/x", 0600));
	dir = opendir("d");
	while (dir && (d = readdir(dir))) {
		dots += d->d_name[0] == '.';
		names++;
	}
	IS(names == 4 && dots == 2);
	rewinddir(dir);
	IS(readdir(dir) != NULL);
	closedir(dir);
	OK(unlink("d/x"));
	OK(rmdir("d/sub"));
	OK(chmod("d", 02775));
	OK(mkdir("d/inherits", 0755));
	IS(MODE("d/inherits") & S_ISGID);
	OK(rmdir("d/inherits"));
	OK(rmdir("d"));
	ERR(rmdir("d"), ENOENT);
}

static void names(void)
{
	struct stat before;

	OK(put("n1", "one"));
	OK(put("n2", "two"));
	before = *stat_of("n1");
	OK(rename("n1", "n3"));
	ERR(lstat("n1", &st), ENOENT);
	IS(stat_of("n3")->st_ino == before.st_ino);
	OK(rename("n3", "n2"));
	IS(!strcmp(get("n2"), "one"));
	ERR(rename("none", "x"), ENOENT);
	ERR(rename("n2", "none/x"), ENOENT);
	ERR(rename("n2", "f/x"), ENOTDIR);
	ERR(rename("n2", long_name), ENAMETOOLONG);
	OK(mkdir("nd", 0700));
	OK(mkdir("nd/in", 0700));
	ERR(rename("n2", "nd"), EISDIR);
	ERR(rename("nd", "n2"), ENOTDIR);
	ERR(rename("nd", "nd/in/x"), EINVAL);
	OK(mkdir("ne", 0700));
	ERR(rename("ne", "nd"), ENOTEMPTY);
	OK(rmdir("nd/in"));
	OK(rename("ne", "nd"));
	ERR(lstat("ne", &st), ENOENT);
	OK(link("n2", "nl"));
	IS(stat_of("nl")->st_nlink == 2 && st.st_ino == before.st_ino);
	ERR(link("n2", "nl"), EEXIST);
	ERR(link("none", "x"), ENOENT);
	ERR(link("n2", "f/x"), ENOTDIR);
	ERR(link("nd", "x"), EPERM);
	OK(unlink("n2"));
	IS(stat_of("nl")->st_nlink == 1 && !strcmp(get("nl"), "one"));
	ERR(unlink("n2"), ENOENT);
	ERR(unlink("f/x"), ENOTDIR);
	ERR(unlink(long_name), ENAMETOOLONG);
	OK(unlink("nl"));
	OK(rmdir("nd"));
}

static void symlinks(void)
{
	char target[5000];

	OK(symlink("../../../../../etc/passwd", "out"));
	IS(readlink("out", target, sizeof(target)) == 25);
	IS(S_ISLNK(stat_of("out")->st_mode) && st.st_size == 25);
	ERR(symlink("x", "out"), EEXIST);
	ERR(symlink("x", "none/x"), ENOENT);
	ERR(symlink("", "empty"), ENOENT);
	ERR(readlink("f", target, sizeof(target)), EINVAL);
	ERR(readlink("none", target, sizeof(target)), ENOENT);
	memset(target, 'x', sizeof(target));
	target[4000] = '\0';
	OK(symlink(target, "longlink"));
	IS(readlink("longlink", target, sizeof(target)) == 4000);
	OK(rename("out", "out2"));
	OK(unlink("out2"));
	OK(unlink("longlink"));
	OK(symlink("nowhere", "l"));
	OK(lchown("l", geteuid(), getegid()));
	IS(OWNER("l", geteuid(), getegid()));
	OK(unlink("l"));
}

static void attributes(void)
{
	struct timespec t[2] = { { 1000000000, 123456789 }, { 1500000000, 987654321 } };
	struct statvfs v;

	OK(touch("at", 0600));
	OK(chmod("at", 06755));
	IS(MODE("at") == 06755);
	OK(chmod("at", 0));
	IS(MODE("at") == 0);
	OK(chmod("at", 0644));
	ERR(chmod("none", 0600), ENOENT);
	ERR(chmod("f/x", 0600), ENOTDIR);
	OK(utimensat(AT_FDCWD, "at", t, 0));
	stat_of("at");
	/* A client that sets no s_time_gran (Linux 6.1) rounds to seconds. */
	IS(st.st_atim.tv_sec == 1000000000 &&
	   (st.st_atim.tv_nsec == 123456789 || !st.st_atim.tv_nsec));
	IS(st.st_mtim.tv_sec == 1500000000 &&
	   (st.st_mtim.tv_nsec == 987654321 || !st.st_mtim.tv_nsec));
	t[0].tv_nsec = UTIME_OMIT;
	t[1].tv_nsec = UTIME_NOW;
	OK(utimensat(AT_FDCWD, "at", t, 0));
	stat_of("at");
	IS(st.st_atim.tv_sec == 1000000000 && st.st_mtim.tv_sec > 1500000000);
	OK(symlink("at", "atl"));
	t[0] = t[1] = (struct timespec){ 1200000000, 0 };
	OK(utimensat(AT_FDCWD, "atl", t, AT_SYMLINK_NOFOLLOW));
	IS(stat_of("atl")->st_mtim.tv_sec == 1200000000);
	OK(unlink("atl"));
	OK(unlink("at"));
	OK(statvfs(".", &v));
	IS(v.f_blocks > 0 && v.f_namemax == 255);
	OK(access("f", R_OK));
	ERR(access("none", F_OK), ENOENT);
}

static void xattrs(void)
{
	char value[128];

	OK(touch("xa", 0600));
	ERR(getxattr("xa", "user.a", value, sizeof(value)), ENODATA);
	OK(setxattr("xa", "user.a", "value", 5, 0));
	IS(getxattr("xa", "user.a", value, sizeof(value)) == 5 &&
	   !memcmp(value, "value", 5));
	ERR(setxattr("xa", "user.a", "v", 1, XATTR_CREATE), EEXIST);
	ERR(setxattr("xa", "user.b", "v", 1, XATTR_REPLACE), ENODATA);
	OK(setxattr("xa", "user.b", "", 0, 0));
	IS(getxattr("xa", "user.b", value, sizeof(value)) == 0);
	IS(listxattr("xa", value, sizeof(value)) == 14);
	ERR(getxattr("xa", "user.a", value, 2), ERANGE);
	OK(removexattr("xa", "user.a"));
	ERR(removexattr("xa", "user.a"), ENODATA);
	OK(unlink("xa"));
}

static void locks(void)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10 };
	int fd, other;

	OK(fd = open("lock", O_CREAT | O_RDWR, 0600));
	OK(other = open("lock", O_RDWR));
	OK(fcntl(fd, F_SETLK, &l));
	OK(fcntl(other, F_SETLK, &l));	/* the same process */
	fflush(stdout);
	if (!fork()) {
		checks = 1, failures = 0;
		ERR(fcntl(open("lock", O_RDWR), F_SETLK, &l), EAGAIN);
		OK(fcntl(fd, F_GETLK, &l));
		IS(l.l_type == F_WRLCK && l.l_pid == getppid());
		fflush(stdout);
		_exit(failures);
	}
	int status;
	wait(&status);
	IS(status == 0);
	l.l_type = F_UNLCK;
	OK(fcntl(fd, F_SETLK, &l));
	OK(flock(fd, LOCK_EX | LOCK_NB));
	ERR(flock(other, LOCK_EX | LOCK_NB), EAGAIN);
	OK(close(fd));
	OK(flock(other, LOCK_EX | LOCK_NB));
	OK(close(other));
	OK(unlink("lock"));
}

static void nodes(void)
{
	OK(mknod("chr", S_IFCHR | 0660, makedev(1, 3)));
	IS(S_ISCHR(stat_of("chr")->st_mode) && st.st_rdev == makedev(1, 3));
	IS((st.st_mode & 07777) == 0660);
	OK(mknod("blk", S_IFBLK | 0600, makedev(259, 300)));
	IS(S_ISBLK(stat_of("blk")->st_mode) && st.st_rdev == makedev(259, 300));
	OK(mknod("sock", S_IFSOCK | 0600, 0));
	IS(S_ISSOCK(stat_of("sock")->st_mode));
	OK(mknod("reg", S_IFREG | 0604, 0));
	IS(S_ISREG(stat_of("reg")->st_mode) && MODE("reg") == 0604);
	ERR(mknod("reg", S_IFREG | 0600, 0), EEXIST);
	/* /dev/null of the guest, whatever the host's is. */
	OK(write(open("chr", O_WRONLY), "x", 1));
	OK(unlink("chr"));
	OK(unlink("blk"));
	OK(unlink("sock"));
	OK(unlink("reg"));
	OK(touch("given", 0644));
	OK(chown("given", 1234, 2345));
	IS(OWNER("given", 1234, 2345));
	OK(chown("given", -1, 7));
	IS(OWNER("given", 1234, 7));
	OK(unlink("given"));
	OK(symlink("x", "givenl"));
	OK(lchown("givenl", 12, 13));
	IS(OWNER("givenl", 12, 13));
	OK(unlink("givenl"));
}

static void user_is_kept_out(void)
{
	ERR(open("secret", O_RDONLY), EACCES);
	ERR(open("readable", O_WRONLY), EACCES);
	OK(close(open("readable", O_RDONLY)));
	ERR(open("closed/x", O_RDONLY), EACCES);
	ERR(touch("closed/y", 0600), EACCES);
	ERR(mkdir("roots/y", 0700), EACCES);
	ERR(unlink("roots/x"), EACCES);
	ERR(rename("roots/x", "roots/z"), EACCES);
	ERR(symlink("a", "roots/z"), EACCES);
	ERR(chmod("readable", 0777), EPERM);
	ERR(chown("readable", USER, USER), EPERM);
	ERR(truncate("readable", 0), EACCES);
	ERR(unlink("sticky/x"), EPERM);
	ERR(rename("sticky/x", "sticky/y"), EPERM);
	OK(touch("sticky/mine", 0600));
	ERR(link("sticky/mine", "roots/z"), EACCES);
	OK(unlink("sticky/mine"));
	ERR(mknod("sticky/dev", S_IFCHR | 0600, makedev(1, 3)), EPERM);
	IS(opendir("closed") == NULL && errno == EACCES);
	/* A write by who does not own them takes set-ID bits away. */
	OK(write(open("setid", O_WRONLY), "x", 1));
	IS(!(MODE("setid") & 06000));
	OK(touch("group/file", 0640));
	IS(OWNER("group/file", USER, 5000));
	OK(mkdir("group/dir", 0750));
	IS(OWNER("group/dir", USER, 5000) && st.st_mode & S_ISGID);
	OK(rmdir("group/dir"));
	OK(unlink("group/file"));
}

static void user_in_own_directory(void)
{
	if (chdir("user"))
		exit(2);
	opens();
	data();
	directories();
	names();
	symlinks();
	attributes();
	locks();
	OK(touch("own", 0644));
	OK(chmod("own", 0600));
	OK(chown("own", -1, USER));
	ERR(chown("own", 0, -1), EPERM);
	OK(unlink("own"));
}

int main(int argc, char **argv)
{
	if (argc < 2 || chdir(argv[1]))
		return 2;
	umask(0);
	memset(long_name, 'n', sizeof(long_name) - 1);
	memset(long_path, '/', sizeof(long_path) - 1);
	opens();
	data();
	directories();
	names();
	symlinks();
	attributes();
	if (!getenv("NO_XATTR"))
		xattrs();
	locks();
	nodes();
	OK(touch("secret", 0600));
	OK(touch("readable", 0644));
	OK(mkdir("closed", 0700));
	OK(touch("closed/x", 0666));
	OK(mkdir("roots", 0755));
	OK(touch("roots/x", 0644));
	OK(mkdir("sticky", 01777));
	OK(touch("sticky/x", 0644));
	OK(touch("setid", 0666));
	OK(chmod("setid", 06777));
	OK(mkdir("group", 0777));
	OK(chown("group", 0, 5000));
	OK(chmod("group", 02777));
	as_user(user_is_kept_out);
	OK(mkdir("user", 0700));
	OK(chown("user", USER, USER));
	as_user(user_in_own_directory);
	printf("%d checks, %d failures\n", checks, failures);
	return failures != 0;
}
