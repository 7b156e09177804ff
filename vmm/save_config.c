/* SPDX-License-Identifier: MIT */
/* The configuration that goes into a save. Main thread. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot_internal.h"

/* A copy whose paths are absolute; what it points to beyond that is shared. */
struct copy {
	struct vm_config c;
	char **made;		/* paths to be freed */
	size_t made_count;
	bool failed;		/* out of memory */
};

static void make_absolute(struct copy *k, char **path)
{
	char **made, *real;

	if (!*path)
		return;
	real = realpath(*path, NULL);
	if (!real)
		return;
	made = realloc(k->made, (k->made_count + 1) * sizeof(*made));
	if (!made) {
		free(real);
		k->failed = true;
		return;
	}
	k->made = made;
	made[k->made_count++] = real;
	*path = real;
}

static void add_disk(struct copy *k, const struct device *device)
{
	const struct config_disk *from = device->config;
	struct config_disk *to = &k->c.disks[k->c.disk_count++];

	*to = *from;
	if (!to->serial)
		to->serial = from->id;
	to->id = device->id;
	make_absolute(k, &to->path);
}

static void add_pmem(struct copy *k, const struct device *device)
{
	struct config_pmem *to = &k->c.pmems[k->c.pmem_count++];

	*to = *(const struct config_pmem *)device->config;
	to->id = device->id;
	make_absolute(k, &to->path);
}

/* Devices have come and gone since the VM was configured. */
static int take_devices(struct copy *k, const struct devices *devices,
			struct error *e)
{
	bool root = false, rng = false;
	size_t count = 0;

	for (struct device *d = devices_first(devices); d; d = d->next) {
		if (!d->id)
			return error_class_set(e, ERROR_NOT_SUPPORTED,
					       -EOPNOTSUPP, "a %s without an id "
					       "cannot be saved",
					       device_type_name(d->type));
		count++;
	}
	k->c.disks = calloc(count + 1, sizeof(*k->c.disks));
	k->c.pmems = calloc(count + 1, sizeof(*k->c.pmems));
	k->c.disk_count = k->c.pmem_count = 0;
	if (!k->c.disks || !k->c.pmems)
		return error_set(e, -ENOMEM, "out of memory");
	for (struct device *d = devices_first(devices); d; d = d->next) {
		rng = rng || d->type == DEVICE_RNG;
		if (k->c.rootfs.path && !strcmp(d->id, "rootfs"))
			root = true;
		else if (d->type == DEVICE_DISK)
			add_disk(k, d);
		else if (d->type == DEVICE_PMEM)
			add_pmem(k, d);
	}
	k->c.rng = rng;
	if (!rng)
		k->c.rng_source = NULL;
	if (!root && k->c.rootfs.type != ROOTFS_INITRD)
		k->c.rootfs = (struct config_rootfs){ 0 };
	return 0;
}

static void take_paths(struct copy *k)
{
	struct vm_config *c = &k->c;

	make_absolute(k, &c->kernel);
	for (size_t i = 0; i < c->initrd_count; i++)
		make_absolute(k, &c->initrds[i]);
	make_absolute(k, &c->rootfs.path);
	make_absolute(k, &c->rng_source);
	make_absolute(k, &c->serial.path);
	make_absolute(k, &c->console.path);
}

/* What another process has of its own, and how RAM was come by. */
static void leave_out(struct vm_config *c)
{
	c->monitor = (struct config_monitor){ .fd = -1 };
	c->exit_report = NULL;
	c->paused = false;
	c->log_level = LOG_WARN;
	c->log_file = NULL;
	c->kernel_cache = NULL;
	c->memory.path = NULL;
	c->memory.share = c->memory.prealloc = c->memory.hugepages = false;
}

int save_config_text(const struct vm_config *c, const struct devices *devices,
		     char **out, struct error *e)
{
	struct copy k = { .c = *c };
	int ret;

	k.c.initrds = calloc(c->initrd_count + 1, sizeof(*k.c.initrds));
	if (!k.c.initrds)
		return error_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < c->initrd_count; i++)
		k.c.initrds[i] = c->initrds[i];
	ret = take_devices(&k, devices, e);
	if (!ret) {
		take_paths(&k);
		leave_out(&k.c);
		*out = k.failed ? NULL : config_json_print(&k.c);
		if (!*out)
			ret = error_set(e, -ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < k.made_count; i++)
		free(k.made[i]);
	free(k.made);
	if (k.c.disks != c->disks)
		free(k.c.disks);
	if (k.c.pmems != c->pmems)
		free(k.c.pmems);
	free(k.c.initrds);
	return ret;
}
