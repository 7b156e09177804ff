/* SPDX-License-Identifier: MIT */
/* Files that the configuration names twice. Main thread. */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "config/config.h"

struct named {
	const char *option;
	const char *path;	/* NULL: none */
};

/* Of a file that is still to be made: where, and under which name. */
static bool same_new_file(const char *a, const char *b)
{
	char dir_a[PATH_MAX], dir_b[PATH_MAX], name_a[PATH_MAX], name_b[PATH_MAX];
	struct stat sa, sb;

	if (strlen(a) >= PATH_MAX || strlen(b) >= PATH_MAX)
		return false;
	strcpy(dir_a, a);
	strcpy(dir_b, b);
	strcpy(name_a, a);
	strcpy(name_b, b);
	return !strcmp(basename(name_a), basename(name_b)) &&
	       !stat(dirname(dir_a), &sa) && !stat(dirname(dir_b), &sb) &&
	       sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* Whatever a descriptor leads to: who names it twice means it. */
static bool is_descriptor(const char *path)
{
	return !strncmp(path, "/dev/std", 8) ||
	       !strncmp(path, "/dev/fd/", 8) || !strncmp(path, "/proc/", 6);
}

static bool same_file(const char *a, const char *b)
{
	struct stat sa, sb;
	bool have_a = !stat(a, &sa), have_b = !stat(b, &sb);

	if (is_descriptor(a) || is_descriptor(b))
		return false;
	if (!have_a && !have_b)
		return same_new_file(a, b);
	/* Devices and pipes, /dev/null above all, take more than one user. */
	return have_a && have_b && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino &&
	       (S_ISREG(sa.st_mode) || S_ISSOCK(sa.st_mode));
}

/* Is one of what mote writes to or replaces the file of this option? */
static int check_one(const struct named *outputs, size_t count,
		     const struct named *n, struct error *e)
{
	for (size_t i = 0; n->path && i < count; i++)
		if (outputs[i].path && same_file(outputs[i].path, n->path))
			return error_config(e, -EINVAL, "%s and %s: both are "
					    "%s", outputs[i].option, n->option,
					    n->path);
	return 0;
}

/* The same of what mote reads: a chardev, too, would empty it. */
static int check_input(const struct vm_config *c, const struct named *outputs,
		       size_t count, const char *option, const char *path,
		       struct error *e)
{
	const struct named n = { option, path };
	int ret = check_one(outputs, count, &n, e);

	for (size_t i = 0; !ret && i < c->chardev_count; i++)
		ret = check_one(&(struct named){ "--chardev",
				c->chardevs[i].back.path }, 1, &n, e);
	return ret;
}

int config_check_paths(const struct vm_config *c, struct error *e)
{
	const struct named outputs[] = {
		{ "--serial", c->serial.path },
		{ "--console", c->console.path },
		{ "--monitor", c->monitor.path },
		{ "--exit-report", c->exit_report },
	};
	const size_t count = sizeof(outputs) / sizeof(outputs[0]);
	const struct named inputs[] = {
		{ "--kernel", c->kernel },
		{ "--rootfs", c->rootfs.path },
		{ "--memory", c->memory.path },
	};
	int ret = 0;

	for (size_t i = 0; !ret && i < c->chardev_count; i++)
		ret = check_one(outputs, count, &(struct named){
				"--chardev", c->chardevs[i].back.path }, e);
	for (size_t i = 1; !ret && i < count; i++)
		ret = check_one(outputs, i, &outputs[i], e);
	for (size_t i = 0; !ret && i < sizeof(inputs) / sizeof(inputs[0]); i++)
		ret = check_input(c, outputs, count, inputs[i].option,
				  inputs[i].path, e);
	for (size_t i = 0; !ret && i < c->initrd_count; i++)
		ret = check_input(c, outputs, count, "--initrd", c->initrds[i],
				  e);
	for (size_t i = 0; !ret && i < c->disk_count; i++)
		ret = check_input(c, outputs, count, "--disk",
				  c->disks[i].path, e);
	for (size_t i = 0; !ret && i < c->pmem_count; i++)
		ret = check_input(c, outputs, count, "--pmem",
				  c->pmems[i].path, e);
	return ret;
}
