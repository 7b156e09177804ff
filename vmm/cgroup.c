/* SPDX-License-Identifier: MIT */
/* cgroup v2: cpu.max and cpu.weight. Main thread. */
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define ROOT		"/sys/fs/cgroup"
#define PERIOD_US	100000u
#define MAX_PERCENT	1000000u
#define MAX_WEIGHT	10000u
#define VALUE_BYTES	64

/* The line "0::/path" is that of the v2 hierarchy. */
static int own_group(char *path, size_t len, struct error *e)
{
	char line[PATH_MAX];
	FILE *f = fopen("/proc/self/cgroup", "re");
	int ret = -ENOENT;

	while (f && ret && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "0::/", 4) &&
		    (size_t)snprintf(path, len, ROOT "%s", line + 3) < len)
			ret = 0;
	}
	if (f)
		fclose(f);
	return ret ? error_class_set(e, ERROR_NOT_SUPPORTED, ret, "this "
				     "process is in no cgroup v2") : 0;
}

static int open_group(const char *path, struct error *e)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	if (fd < 0)
		return error_of_named(e, error_errno(e, -errno, "cgroup %s",
						     path));
	if (!fstatfs(fd, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC)
		return fd;
	close(fd);
	return error_config(e, -EINVAL, "cgroup %s: not a cgroup v2", path);
}

static int write_value(int group, const char *name, const char *value)
{
	int fd = openat(group, name, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int read_value(int group, const char *name, char *value)
{
	int fd = openat(group, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, value, VALUE_BYTES - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	value[n] = '\0';
	return 0;
}

static int check(const struct cgroup_cpu *c, struct error *e)
{
	if (c->set_limit && c->limit_percent > MAX_PERCENT)
		return error_config(e, -EINVAL, "limit: %llu: at most %u "
				    "percent of a processor",
				    (unsigned long long)c->limit_percent,
				    MAX_PERCENT);
	if (c->set_weight && (!c->weight || c->weight > MAX_WEIGHT))
		return error_config(e, -EINVAL, "weight: %llu: from 1 to %u",
				    (unsigned long long)c->weight, MAX_WEIGHT);
	return 0;
}

static int set(int group, const char *path, const struct cgroup_cpu *c,
	       struct error *e)
{
	char max[VALUE_BYTES] = "max", old[VALUE_BYTES], weight[VALUE_BYTES];
	int ret = 0;

	if (c->set_limit)
		ret = read_value(group, "cpu.max", old);
	if (!ret && c->set_limit && c->limit_percent)
		snprintf(max, sizeof(max), "%llu %u",
			 (unsigned long long)c->limit_percent * PERIOD_US / 100,
			 PERIOD_US);
	if (!ret && c->set_limit)
		ret = write_value(group, "cpu.max", max);
	if (ret)
		return error_errno(e, ret, "cgroup %s: cpu.max", path);
	snprintf(weight, sizeof(weight), "%llu", (unsigned long long)c->weight);
	if (c->set_weight)
		ret = write_value(group, "cpu.weight", weight);
	if (!ret)
		return 0;
	if (c->set_limit)
		write_value(group, "cpu.max", old);
	return error_errno(e, ret, "cgroup %s: cpu.weight", path);
}

int cgroup_set_cpu(const char *path, const struct cgroup_cpu *c,
		   struct error *e)
{
	char own[PATH_MAX];
	int ret = check(c, e), group;

	if (!ret && !path)
		ret = own_group(own, sizeof(own), e);
	if (ret)
		return ret;
	if (!path)
		path = own;
	group = open_group(path, e);
	if (group < 0)
		return group;
	ret = set(group, path, c, e);
	close(group);
	return ret;
}
