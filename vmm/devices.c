/* SPDX-License-Identifier: MIT */
/* Device kinds and the list of devices. Main thread. */
#include "devices.h"

#include <errno.h>
#include <stdlib.h>

#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/rng.h"
#include "virtio/virtio_pci.h"

struct device {
	struct device *next;
	struct virtio_pci *pci;
};

struct devices {
	struct devices_params p;
	struct device *first, **last;
	size_t count;
};

/* A kind: how many the configuration asks for, and how to make one. */
struct device_kind {
	size_t (*count)(const struct devices_params *p);
	int (*create)(struct virtio_device **out,
		      const struct devices_params *p, size_t index,
		      struct error *e);
};

/* The root disk is /dev/vda: before all others. */
static size_t count_rootfs(const struct devices_params *p)
{
	return p->config->rootfs.path && p->config->rootfs.type == ROOTFS_DISK;
}

static int create_rootfs(struct virtio_device **out,
			 const struct devices_params *p, size_t index,
			 struct error *e)
{
	const struct config_disk disk = {
		.path = p->config->rootfs.path,
		.id = "rootfs",
		.queues = 1,
	};

	(void)index;
	return virtio_blk_create(out, &disk, p->mem, p->io_loop, e);
}

static size_t count_disks(const struct devices_params *p)
{
	return p->config->disk_count;
}

static int create_disk(struct virtio_device **out,
		       const struct devices_params *p, size_t index,
		       struct error *e)
{
	return virtio_blk_create(out, &p->config->disks[index], p->mem,
				 p->io_loop, e);
}

static size_t count_console(const struct devices_params *p)
{
	return p->console != NULL;
}

static int create_console(struct virtio_device **out,
			  const struct devices_params *p, size_t index,
			  struct error *e)
{
	(void)index;
	return virtio_console_create(out, p->console, p->mem, p->io_loop, e);
}

static size_t count_rng(const struct devices_params *p)
{
	return p->config->rng;
}

static int create_rng(struct virtio_device **out,
		      const struct devices_params *p, size_t index,
		      struct error *e)
{
	(void)index;
	return virtio_rng_create(out, p->config->rng_source, p->mem, p->io_loop,
				 e);
}

/* In the order of their places on the bus. */
static const struct device_kind kinds[] = {
	{ count_rootfs, create_rootfs },
	{ count_disks, create_disk },
	{ count_console, create_console },
	{ count_rng, create_rng },
};

static int add(struct devices *d, const struct device_kind *kind, size_t index,
	       struct error *e)
{
	struct device *entry = calloc(1, sizeof(*entry));
	struct virtio_device *v = NULL;
	int ret;

	if (!entry)
		return error_set(e, -ENOMEM, "out of memory");
	ret = kind->create(&v, &d->p, index, e);
	if (ret)
		goto err_free;
	ret = virtio_pci_create(&entry->pci, v, d->p.pci, d->p.irq, d->p.kvm,
				-1, -1, e);
	if (ret)
		goto err_device;
	*d->last = entry;
	d->last = &entry->next;
	d->count++;
	return 0;

err_device:
	virtio_device_destroy(v);
err_free:
	free(entry);
	return ret;
}

int devices_create(struct devices **out, const struct devices_params *p,
		   struct error *e)
{
	struct devices *d = calloc(1, sizeof(*d));
	int ret = 0;

	if (!d)
		return error_set(e, -ENOMEM, "out of memory");
	d->p = *p;
	d->last = &d->first;
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
		for (size_t i = 0; !ret && i < kinds[k].count(p); i++)
			ret = add(d, &kinds[k], i, e);
	if (ret) {
		devices_destroy(d);
		return ret;
	}
	*out = d;
	return 0;
}

void devices_destroy(struct devices *d)
{
	struct device *next;

	if (!d)
		return;
	for (struct device *entry = d->first; entry; entry = next) {
		next = entry->next;
		virtio_pci_destroy(entry->pci);
		free(entry);
	}
	free(d);
}

void devices_quiesce(struct devices *d)
{
	for (struct device *entry = d->first; entry; entry = entry->next)
		virtio_device_quiesce(virtio_pci_device(entry->pci));
}

void devices_resume(struct devices *d)
{
	for (struct device *entry = d->first; entry; entry = entry->next)
		virtio_device_resume(virtio_pci_device(entry->pci));
}

void devices_reset(struct devices *d)
{
	for (struct device *entry = d->first; entry; entry = entry->next)
		virtio_pci_reset(entry->pci);
}

size_t devices_count(const struct devices *d)
{
	return d->count;
}
