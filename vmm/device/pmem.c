/* SPDX-License-Identifier: MIT */
/* Persistent memory: a root image first, in slot 0. */
#include "device/kind.h"

#include <stdlib.h>

#include "block/vhd.h"
#include "virtio/pmem.h"

/* A root image is /dev/pmem0: in slot 0. */
static int boot_pmems(const struct device_boot *b, struct error *e)
{
	const struct vm_config *c = b->p->config;
	const struct config_pmem root = {
		.path = c->rootfs.path, .id = "rootfs",
		.readonly = c->rootfs.readonly,
		.format = c->rootfs.path && vhd_is_name(c->rootfs.path) ?
				  DISK_VHD : DISK_RAW,
	};
	int ret = 0;

	if (root.path && c->rootfs.type == ROOTFS_PMEM)
		ret = device_boot(b, DEVICE_PMEM, root.id, &root, e);
	for (size_t i = 0; !ret && i < c->pmem_count; i++)
		ret = device_boot(b, DEVICE_PMEM, c->pmems[i].id,
				  &c->pmems[i], e);
	return ret;
}

static int create_pmem(struct virtio_device **out,
		       const struct devices_params *p, const char *id,
		       const void *config, struct error *e)
{
	struct pmem_region *region;
	int ret = pmem_region_create(&region, p->pmem, config, e);

	(void)id;
	if (ret)
		return ret;
	ret = virtio_pmem_create(out, region, p->mem, p->io_loop, e);
	if (ret) {
		pthread_mutex_lock(p->machine_lock);
		pmem_region_destroy(region);
		pthread_mutex_unlock(p->machine_lock);
	}
	return ret;
}

static void *copy_pmem(const void *config)
{
	struct config_pmem *copy = calloc(1, sizeof(*copy));

	if (copy && config_pmem_copy(copy, config)) {
		free(copy);
		copy = NULL;
	}
	return copy;
}

static void free_pmem(void *config)
{
	config_pmem_deinit(config);
	free(config);
}

const struct device_kind device_kind_pmem = {
	.name = "pmem",
	.boot = boot_pmems,
	.create = create_pmem,
	.config_copy = copy_pmem,
	.config_free = free_pmem,
};
