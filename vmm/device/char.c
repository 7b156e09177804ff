/* SPDX-License-Identifier: MIT */
/* The virtio console, the one with many ports, and the entropy source. */
#include "device/kind.h"

#include <stdlib.h>
#include <string.h>

#include "virtio/console.h"
#include "virtio/rng.h"
#include "virtio/serial.h"

static int boot_console(const struct device_boot *b, struct error *e)
{
	return b->p->console ?
		       device_boot(b, DEVICE_CONSOLE, "console0", NULL, e) : 0;
}

static int create_console(struct virtio_device **out,
			  const struct devices_params *p, const char *id,
			  const void *config, struct error *e)
{
	(void)id;
	(void)config;
	return virtio_console_create(out, p->console, p->mem, p->io_loop, e);
}

const struct device_kind device_kind_console = {
	.name = "console",
	.boot = boot_console,
	.create = create_console,
};

static int create_serial(struct virtio_device **out,
			 const struct devices_params *p, const char *id,
			 const void *config, struct error *e)
{
	const struct config_serial *c = config;

	(void)id;
	return virtio_serial_create(out, c->max_ports, &p->serial, p->mem,
				    p->io_loop, e);
}

static void *copy_serial(const void *config)
{
	struct config_serial *copy = malloc(sizeof(*copy));

	if (copy)
		*copy = *(const struct config_serial *)config;
	return copy;
}

const struct device_kind device_kind_serial = {
	.name = "serial",
	.create = create_serial,
	.config_copy = copy_serial,
	.config_free = free,
};

static int boot_rng(const struct device_boot *b, struct error *e)
{
	return b->p->config->rng ? device_boot(b, DEVICE_RNG, "rng0",
					      b->p->config->rng_source, e) : 0;
}

static int create_rng(struct virtio_device **out,
		      const struct devices_params *p, const char *id,
		      const void *config, struct error *e)
{
	(void)id;
	return virtio_rng_create(out, config, p->mem, p->io_loop, e);
}

static void *copy_string(const void *config)
{
	return strdup(config);
}

const struct device_kind device_kind_rng = {
	.name = "rng",
	.boot = boot_rng,
	.create = create_rng,
	.config_copy = copy_string,
	.config_free = free,
};
