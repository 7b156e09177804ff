/* SPDX-License-Identifier: MIT */
/* The configuration that goes into a save. Main thread. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot_internal.h"
#include "vm_chardev.h"
#include "vm_internal.h"

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
	/* Without a serial it is the id, which may be longer than one. */
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

static void add_net(struct copy *k, const struct device *device)
{
	struct config_net *to = &k->c.nets[k->c.net_count++];

	*to = *(const struct config_net *)device->config;
	to->id = device->id;
	/* What a client called its descriptor names none of another process:
	 * who restores it gives it a back end. */
	if (to->fds_lent)
		to->fd = NULL;
	make_absolute(k, &to->unix_path);
}

static void add_share(struct copy *k, const struct device *device)
{
	struct config_9p *to = &k->c.shares[k->c.share_count++];

	*to = *(const struct config_9p *)device->config;
	make_absolute(k, &to->path);
}

/* Those that there are now. */
static int take_chardevs(struct copy *k, const struct vm *vm, struct error *e)
{
	struct vm_chardev_info info;
	size_t count = 0;

	while (vm_chardev_info(vm, count, &info))
		count++;
	k->c.chardevs = calloc(count + 1, sizeof(*k->c.chardevs));
	if (!k->c.chardevs)
		return error_set(e, -ENOMEM, "out of memory");
	k->c.chardev_count = 0;
	for (size_t i = 0; vm_chardev_info(vm, i, &info); i++) {
		struct config_chardev *to =
			&k->c.chardevs[k->c.chardev_count];

		if (!info.config)
			continue;
		*to = *info.config;
		make_absolute(k, &to->back.path);
		k->c.chardev_count++;
	}
	return 0;
}

static void add_device(struct copy *k, const struct device *device)
{
	switch (device->type) {
	case DEVICE_DISK:
		add_disk(k, device);
		break;
	case DEVICE_PMEM:
		add_pmem(k, device);
		break;
	case DEVICE_NET:
		add_net(k, device);
		break;
	case DEVICE_9P:
		add_share(k, device);
		break;
	case DEVICE_VSOCK:
		k->c.vsock = *(const struct config_vsock *)device->config;
		break;
	case DEVICE_RNG:
		k->c.rng_source = device->config;
		break;
	case DEVICE_BALLOON:
		k->c.balloon = *(const struct config_balloon *)device->config;
		k->c.balloon.enable = true;
		break;
	default:
		break;
	}
}

/* Is there a way to ask for such a device when a VM is made? */
static int check_device(const struct devices *devices, const struct device *d,
			struct error *e)
{
	const char *key = device_key(d);

	if (!key)
		return error_class_set(e, ERROR_NOT_SUPPORTED, -EOPNOTSUPP,
				       "save: a %s without an id cannot be saved",
				       device_type_name(d->type));
	/* What the configuration does not know has a section of its own. */
	if (d->type == DEVICE_MEM || d->type == DEVICE_SERIAL)
		return 0;
	for (struct device *i = devices_first(devices); i != d; i = i->next)
		if (i->type == d->type && !strcmp(device_key(i), key))
			return error_class_set(e, ERROR_NOT_SUPPORTED,
					       -EOPNOTSUPP, "save: a VM with "
					       "more than one %s cannot be "
					       "saved", key);
	return 0;
}

/* Room for as many of each as there are devices. */
static int make_room(struct copy *k, const struct devices *devices,
		     struct error *e)
{
	struct vm_config *c = &k->c;
	size_t count = 1;

	for (struct device *d = devices_first(devices); d; d = d->next) {
		int ret = check_device(devices, d, e);

		if (ret)
			return ret;
		count++;
	}
	c->disk_count = c->pmem_count = c->net_count = c->share_count = 0;
	c->disks = calloc(count, sizeof(*c->disks));
	c->pmems = calloc(count, sizeof(*c->pmems));
	c->nets = calloc(count, sizeof(*c->nets));
	c->shares = calloc(count, sizeof(*c->shares));
	if (!c->disks || !c->pmems || !c->nets || !c->shares)
		return error_set(e, -ENOMEM, "out of memory");
	return 0;
}

/* Devices have come and gone since the VM was configured. */
static int take_devices(struct copy *k, const struct devices *devices,
			struct error *e)
{
	bool has[DEVICE_TYPES] = { false }, root = false;
	int ret = make_room(k, devices, e);

	if (ret)
		return ret;
	for (struct device *d = devices_first(devices); d; d = d->next) {
		has[d->type] = true;
		if (k->c.rootfs.path && !strcmp(device_key(d), "rootfs"))
			root = true;
		else
			add_device(k, d);
	}
	k->c.rng = has[DEVICE_RNG];
	if (!k->c.rng)
		k->c.rng_source = NULL;
	if (!has[DEVICE_BALLOON])
		k->c.balloon = (struct config_balloon){ 0 };
	if (!has[DEVICE_VSOCK])
		k->c.vsock = (struct config_vsock){ 0 };
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
	make_absolute(k, &c->vsock.path);
	make_absolute(k, &c->serial.path);
	make_absolute(k, &c->console.path);
}

/* What another process has of its own, and how RAM was come by. */
static void leave_out(struct vm_config *c)
{
	c->monitor = (struct config_monitor){ .fd = -1 };
	c->exit_report = NULL;
	c->paused = false;
	c->incoming = INCOMING_OFF;
	c->log_level = LOG_WARN;
	c->log_file = NULL;
	c->kernel_cache = NULL;
	c->memory.path = NULL;
	c->memory.share = c->memory.prealloc = c->memory.hugepages = false;
}

int save_config_text(const struct vm *vm, char **out, struct error *e)
{
	const struct vm_config *c = vm->config;
	struct copy k = { .c = *c };
	int ret;

	/* Arrays of its own from here on. */
	k.c.disks = NULL;
	k.c.pmems = NULL;
	k.c.nets = NULL;
	k.c.shares = NULL;
	k.c.chardevs = NULL;

	k.c.initrds = calloc(c->initrd_count + 1, sizeof(*k.c.initrds));
	if (!k.c.initrds)
		return error_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < c->initrd_count; i++)
		k.c.initrds[i] = c->initrds[i];
	ret = take_devices(&k, vm->devices, e);
	if (!ret)
		ret = take_chardevs(&k, vm, e);
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
	free(k.c.disks);
	free(k.c.pmems);
	free(k.c.nets);
	free(k.c.shares);
	free(k.c.chardevs);
	free(k.c.initrds);
	return ret;
}
