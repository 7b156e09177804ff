/* SPDX-License-Identifier: MIT */
/* The vsock. */
#include "device/kind.h"

#include <stdlib.h>
#include <string.h>

#include "virtio/vsock.h"

static int boot_vsock(const struct device_boot *b, struct error *e)
{
	const struct config_vsock *c = &b->p->config->vsock;

	return c->cid ? device_boot(b, DEVICE_VSOCK, "vsock0", c, e) : 0;
}

static int create_vsock(struct virtio_device **out,
			const struct devices_params *p, const char *id,
			const void *config, struct error *e)
{
	(void)id;
	return virtio_vsock_create(out, config, p->mem, p->io_loop, e);
}

static void *copy_vsock(const void *config)
{
	const struct config_vsock *c = config;
	struct config_vsock *copy = calloc(1, sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *c;
	copy->vhost_fd = 0;	/* for the creation only */
	copy->path = c->path ? strdup(c->path) : NULL;
	if (c->path && !copy->path) {
		free(copy);
		return NULL;
	}
	return copy;
}

static void free_vsock(void *config)
{
	free(((struct config_vsock *)config)->path);
	free(config);
}

const struct device_kind device_kind_vsock = {
	.name = "vsock",
	.boot = boot_vsock,
	.create = create_vsock,
	.config_copy = copy_vsock,
	.config_free = free_vsock,
};
