/* SPDX-License-Identifier: MIT */
/*
 * A kind of device: what the configuration asks for, and how one is made. One
 * file for each; devices.c has the table of them. Main thread.
 */
#ifndef MOTE_DEVICE_KIND_H
#define MOTE_DEVICE_KIND_H

#include "devices.h"
#include "virtio/device.h"

/* Who makes the configuration's devices. */
struct device_boot {
	const struct devices_params *p;
	struct devices *devices;
	/* Makes one, in the place that it has. */
	int (*add)(struct devices *devices, enum device_type type,
		   const char *id, const void *config, struct error *e);
};

struct device_kind {
	const char *name;
	/* Adds those of the configuration; NULL: there are none. */
	int (*boot)(const struct device_boot *b, struct error *e);
	int (*create)(struct virtio_device **out,
		      const struct devices_params *p, const char *id,
		      const void *config, struct error *e);
	/* Gives back what create() took of the parameters, or NULL. */
	void (*release)(const struct devices_params *p,
			const struct virtio_device *v);
	/* NULL, both: there is no configuration to keep. */
	void *(*config_copy)(const void *config);
	void (*config_free)(void *config);
};

extern const struct device_kind device_kind_disk, device_kind_net,
	device_kind_console, device_kind_rng, device_kind_pmem,
	device_kind_vsock, device_kind_9p, device_kind_balloon,
	device_kind_mem, device_kind_serial;

static inline int device_boot(const struct device_boot *b,
			      enum device_type type, const char *id,
			      const void *config, struct error *e)
{
	return b->add(b->devices, type, id, config, e);
}

#endif
