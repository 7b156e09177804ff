/* SPDX-License-Identifier: MIT */
/*
 * Work on a directory, timed or checked. Statically linked: it runs in a guest,
 * from the share itself.
 *
 *	p9_load bench DIR N	one line for each row: name, nanoseconds; 1/N of the work
 *	p9_load tree DIR N	makes N files in directories of 100, on the host
 *	p9_load many DIR	makes a directory of 10,000 entries, on the host
 *	p9_load verify DIR	concurrent writers, and a look at that directory
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1 << 20)
#define WRITERS 4

static void die(const char *what)
{
	printf("FAIL %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int make_tree(int count)
{
	char name[64];

	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "tree/%03d", i / 100);
		if (i % 100 == 0 && mkdir(name, 0755))
			die(name);
		snprintf(name, sizeof(name), "tree/%03d/%05d", i / 100, i);
		int fd = open(name, O_CREAT | O_WRONLY, 0644);
		if (fd < 0)
			die(name);
		close(fd);
	}
	return 0;
}

static int divisor = 1;
static int found;
static int visit(const char *path, const struct stat *st, int flag,
		 struct FTW *ftw)
{
	(void)path;
	(void)st;
	(void)flag;
	(void)ftw;
	found++;
	return 0;
}

static void find(void)
{
	found = 0;
	if (nftw("tree", visit, 16, FTW_PHYS) || found < 100)
		die("find");
}

static void stats(void)
{
	struct stat st;

	for (int i = 0; i < 5000 / divisor; i++)
		if (stat("tree/000/00007", &st))
			die("stat");
}

static void transfer(int writing)
{
	static char buf[MIB];
	int fd = open("big", writing ? O_CREAT | O_TRUNC | O_WRONLY : O_RDONLY,
		      0644);

	memset(buf, 'b', sizeof(buf));
	for (int i = 0; i < 64 / divisor; i++)
		if ((writing ? write(fd, buf, MIB) : read(fd, buf, MIB)) != MIB)
			die(writing ? "write" : "read");
	close(fd);
}

static void write64(void)
{
	transfer(1);
}

static void read64(void)
{
	transfer(0);
}

static void create(void)
{
	char name[32];

	for (int i = 0; i < 2000 / divisor; i++) {
		snprintf(name, sizeof(name), "new/%d", i);
		int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
		if (fd < 0)
			die("create");
		close(fd);
	}
}

static void unlinks(void)
{
	char name[32];

	for (int i = 0; i < 2000 / divisor; i++) {
		snprintf(name, sizeof(name), "new/%d", i);
		if (unlink(name))
			die("unlink");
	}
}

static int bench(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} rows[] = {
		{ "find", find }, { "stat", stats }, { "write", write64 },
		{ "read", read64 }, { "create", create },
		{ "unlink", unlinks },
	};

	if (mkdir("new", 0755))
		die("new");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t start = now();

		rows[i].run();
		printf("ROW %s %llu\n", rows[i].name,
		       (unsigned long long)(now() - start));
		fflush(stdout);
	}
	rmdir("new");
	unlink("big");
	return 0;
}

/* Each writes its own part of one file, and a file of its own, and reads both. */
static void writer(int who)
{
	unsigned int seed = (unsigned int)who;
	static char buf[MIB], back[MIB];
	char name[32];

	for (int i = 0; i < MIB; i++)
		buf[i] = (char)(rand_r(&seed) >> 4);
	snprintf(name, sizeof(name), "writer%d", who);
	for (int round = 0; round < 2; round++) {
		int fd = open(round ? name : "together", O_CREAT | O_RDWR,
			      0644);
		off_t base = round ? 0 : (off_t)who * MIB;

		for (int at = 0; at < MIB;) {
			int n = rand_r(&seed) % 70000 + 1;

			if (n > MIB - at)
				n = MIB - at;
			if (pwrite(fd, buf + at, (size_t)n, base + at) != n)
				die("pwrite");
			at += n;
		}
		if (fsync(fd) || pread(fd, back, MIB, base) != MIB)
			die("pread");
		if (memcmp(buf, back, MIB))
			die("data differs");
		close(fd);
	}
	_exit(0);
}

/* Every one, or one in step. */
static void entries(int step)
{
	char name[64];

	for (int i = 0; i < 10000; i += step) {
		snprintf(name, sizeof(name), "many/entry-%d", i);
		int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
		if (fd < 0)
			die(name);
		close(fd);
	}
}

static int many(void)
{
	if (mkdir("many", 0755))
		die("many");
	entries(1);
	return 0;
}

static int verify(void)
{
	unsigned char seen[10000] = { 0 };
	struct dirent *d;
	char name[64];
	int status;
	DIR *dir;

	fflush(stdout);
	for (int i = 0; i < WRITERS; i++)
		if (!fork())
			writer(i);
	for (int i = 0; i < WRITERS; i++)
		if (wait(&status) < 0 || status)
			die("a writer");
	puts("written");
	for (int i = 0; i < 10000; i += 50) {
		snprintf(name, sizeof(name), "many/entry-%d", i);
		if (unlink(name))
			die(name);
	}
	entries(50);
	dir = opendir("many");
	while (dir && (d = readdir(dir)))
		if (sscanf(d->d_name, "entry-%d", &status) == 1 &&
		    status >= 0 && status < 10000)
			seen[status]++;
	closedir(dir);
	for (int i = 0; i < 10000; i++)
		if (seen[i] != 1)
			die("an entry is missing or there twice");
	puts("verified");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 3 || chdir(argv[2]))
		return 2;
	if (!strcmp(argv[1], "tree") && argc == 4)
		return mkdir("tree", 0755) || make_tree(atoi(argv[3]));
	if (!strcmp(argv[1], "many"))
		return many();
	if (argc == 4 && atoi(argv[3]) > 0)
		divisor = atoi(argv[3]);
	if (!strcmp(argv[1], "bench"))
		return bench();
	if (!strcmp(argv[1], "verify"))
		return verify();
	return 2;
}
