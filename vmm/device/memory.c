/* SPDX-License-Identifier: MIT */
/* Memory that the guest gives and takes: balloon and virtio-mem. */
#include "device/kind.h"

#include <stdlib.h>

#include "virtio/balloon.h"
#include "virtio/mem.h"

static int boot_balloon(const struct device_boot *b, struct error *e)
{
	const struct config_balloon *c = &b->p->config->balloon;

	return c->enable ? device_boot(b, DEVICE_BALLOON, "balloon0", c, e) : 0;
}

static int create_balloon(struct virtio_device **out,
			  const struct devices_params *p, const char *id,
			  const void *config, struct error *e)
{
	const struct config_balloon *c = config;
	const struct balloon_params params = {
		.deflate_on_oom = c->deflate_on_oom,
		.free_page_reporting = c->free_page_reporting,
	};

	(void)id;
	return virtio_balloon_create(out, &params, &p->balloon, p->mem,
				     p->io_loop, e);
}

static void *copy_balloon(const void *config)
{
	struct config_balloon *copy = malloc(sizeof(*copy));

	if (copy)
		*copy = *(const struct config_balloon *)config;
	return copy;
}

const struct device_kind device_kind_balloon = {
	.name = "balloon",
	.boot = boot_balloon,
	.create = create_balloon,
	.config_copy = copy_balloon,
	.config_free = free,
};

static int boot_mem(const struct device_boot *b, struct error *e)
{
	return b->p->hot_memory.bytes ?
		       device_boot(b, DEVICE_MEM, "memory0", &b->p->hot_memory,
				   e) : 0;
}

static int create_mem(struct virtio_device **out,
		      const struct devices_params *p, const char *id,
		      const void *config, struct error *e)
{
	const struct device_mem *m = config;

	(void)id;
	return virtio_mem_create(out, m->base, m->bytes, &m->host, p->mem,
				 p->io_loop, e);
}

const struct device_kind device_kind_mem = {
	.name = "mem",
	.boot = boot_mem,
	.create = create_mem,
};
