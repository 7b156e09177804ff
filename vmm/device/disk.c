/* SPDX-License-Identifier: MIT */
/* Disks: the root image first, then in their order. */
#include "device/kind.h"

#include <stdlib.h>

#include "block/vhd.h"
#include "virtio/blk.h"

/* As disk-add would have placed it; 0: there is no room for it. */
static unsigned int boot_address(const struct vm_config *c, unsigned int n)
{
	return n < c->disk_controllers * CONFIG_DISK_LUNS ?
		       CONFIG_DISK_ADDRESS(0, n) : 0;
}

/* The root disk is /dev/vda: before all others. */
static int boot_disks(const struct device_boot *b, struct error *e)
{
	const struct vm_config *c = b->p->config;
	struct config_disk disk = {
		.path = c->rootfs.path, .id = "rootfs", .queues = 1,
		.address = boot_address(c, 0), .readonly = c->rootfs.readonly,
		.format = c->rootfs.path && vhd_is_name(c->rootfs.path) ?
				  DISK_VHD : DISK_RAW,
	};
	unsigned int n = 0;
	int ret = 0;

	if (disk.path && c->rootfs.type == ROOTFS_DISK) {
		ret = device_boot(b, DEVICE_DISK, disk.id, &disk, e);
		n++;
	}
	for (size_t i = 0; !ret && i < c->disk_count; i++) {
		disk = c->disks[i];
		disk.address = boot_address(c, n++);
		ret = device_boot(b, DEVICE_DISK, disk.id, &disk, e);
	}
	return ret;
}

static int create_disk(struct virtio_device **out,
		       const struct devices_params *p, const char *id,
		       const void *config, struct error *e)
{
	const struct config_disk *disk = config;
	struct loop *loops[VIRTIO_MAX_QUEUES] = { NULL };
	unsigned int count = 0;
	int ret;

	(void)id;	/* config has one that need not be the device's */
	while (count < disk->queues && count < VIRTIO_MAX_QUEUES)
		loops[count++] = iothread_pool_take(p->io);
	ret = virtio_blk_create(out, disk, p->mem, loops, e);
	while (ret && count)
		iothread_pool_put(p->io, loops[--count]);
	return ret;
}

static void release_disk(const struct devices_params *p,
			 const struct virtio_device *v)
{
	for (unsigned int i = 0; i < v->queue_count; i++)
		iothread_pool_put(p->io, v->queues[i].loop);
}

static void *copy_disk(const void *config)
{
	struct config_disk *copy = calloc(1, sizeof(*copy));

	if (copy && config_disk_copy(copy, config)) {
		free(copy);
		copy = NULL;
	}
	return copy;
}

static void free_disk(void *config)
{
	config_disk_deinit(config);
	free(config);
}

const struct device_kind device_kind_disk = {
	.name = "disk",
	.boot = boot_disks,
	.create = create_disk,
	.release = release_disk,
	.config_copy = copy_disk,
	.config_free = free_disk,
};
