/* SPDX-License-Identifier: MIT */
/* Overrides of a saved configuration. Main thread. */
#include "option_override.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool option_is_override(const char *name)
{
	static const char *const names[] = {
		"disk", "pmem", "serial", "console", "monitor", "id", "uuid",
		"kernel-cache", "exit-report", "paused", "on-reboot",
		"on-panic", "log", "net", "vsock", "9p",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

static int no_such(const char *option, const char *id, struct error *e)
{
	if (!id)
		return error_config(e, -EINVAL, "%s: no id: which of the saved "
				    "VM's is it?", option);
	return error_config(e, -ENOENT, "%s: the saved VM has none with the id "
			    "'%s'", option, id);
}

/* The path moves from one to the other. */
static void move_path(char **to, char **from)
{
	free(*to);
	*to = *from;
	*from = NULL;
}

static bool is_root(const struct vm_config *c, enum config_rootfs_type type,
		    const char *id)
{
	return c->rootfs.path && c->rootfs.type == type && id &&
	       !strcmp(id, "rootfs");
}

static int override_disk(struct vm_config *c, size_t count,
			 struct config_disk *given, struct error *e)
{
	if (is_root(c, ROOTFS_DISK, given->id)) {
		move_path(&c->rootfs.path, &given->path);
		return 0;
	}
	for (size_t i = 0; given->id && i < count; i++) {
		if (strcmp(c->disks[i].id, given->id))
			continue;
		move_path(&c->disks[i].path, &given->path);
		c->disks[i].direct |= given->direct;
		c->disks[i].no_flush |= given->no_flush;
		return 0;
	}
	return no_such("--disk", given->id, e);
}

static int override_pmem(struct vm_config *c, size_t count,
			 struct config_pmem *given, struct error *e)
{
	if (is_root(c, ROOTFS_PMEM, given->id)) {
		move_path(&c->rootfs.path, &given->path);
		return 0;
	}
	for (size_t i = 0; given->id && i < count; i++) {
		if (strcmp(c->pmems[i].id, given->id))
			continue;
		move_path(&c->pmems[i].path, &given->path);
		return 0;
	}
	return no_such("--pmem", given->id, e);
}

static int twice(const char *option, const char *id, struct error *e)
{
	return error_config(e, -EINVAL, "%s: id '%s' is given twice", option,
			    id);
}

int option_override(struct vm_config *c, size_t first_disk, size_t first_pmem,
		    struct error *e)
{
	int ret = 0;

	for (size_t i = first_disk; !ret && i < c->disk_count; i++) {
		for (size_t k = first_disk; !ret && k < i; k++)
			if (c->disks[i].id && !strcmp(c->disks[i].id,
						      c->disks[k].id))
				ret = twice("--disk", c->disks[i].id, e);
		if (!ret)
			ret = override_disk(c, first_disk, &c->disks[i], e);
	}
	for (size_t i = first_pmem; !ret && i < c->pmem_count; i++) {
		for (size_t k = first_pmem; !ret && k < i; k++)
			if (c->pmems[i].id && !strcmp(c->pmems[i].id,
						      c->pmems[k].id))
				ret = twice("--pmem", c->pmems[i].id, e);
		if (!ret)
			ret = override_pmem(c, first_pmem, &c->pmems[i], e);
	}
	while (c->disk_count > first_disk)
		config_disk_deinit(&c->disks[--c->disk_count]);
	while (c->pmem_count > first_pmem)
		config_pmem_deinit(&c->pmems[--c->pmem_count]);
	return ret;
}
