/* SPDX-License-Identifier: MIT */
/* The list of devices and the table of their kinds. Main thread. */
#include "devices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/kind.h"
#include "virtio/virtio_pci.h"
#include "virtio/vsock.h"

struct devices {
	struct devices_params p;
	struct device *first, **last;
	bool quiesced, was_quiesced;
};

static const struct device_kind *const kinds[DEVICE_TYPES] = {
	[DEVICE_DISK] = &device_kind_disk,
	[DEVICE_NET] = &device_kind_net,
	[DEVICE_CONSOLE] = &device_kind_console,
	[DEVICE_RNG] = &device_kind_rng,
	[DEVICE_PMEM] = &device_kind_pmem,
	[DEVICE_VSOCK] = &device_kind_vsock,
	[DEVICE_9P] = &device_kind_9p,
	[DEVICE_BALLOON] = &device_kind_balloon,
	[DEVICE_MEM] = &device_kind_mem,
	[DEVICE_SERIAL] = &device_kind_serial,
};

static int boot_one(struct devices *d, enum device_type type, const char *id,
		    const void *config, struct error *e)
{
	struct device_spec spec = {
		.type = type, .id = id, .config = config, .bus = -1,
		.slot = -1,
	};
	int ret = 0;

	if (d->p.place) {
		if (type == DEVICE_9P)
			spec.id = ((const struct config_9p *)config)->tag;
		ret = d->p.place(d->p.place_opaque, type, &spec.id, &spec.bus,
				 &spec.slot, e);
	}
	return ret ? ret : devices_add(d, &spec, NULL, e);
}

const char *device_key(const struct device *device)
{
	switch (device->type) {
	case DEVICE_DISK:
	case DEVICE_NET:
	case DEVICE_PMEM:
		return device->id;
	case DEVICE_9P:
		return ((const struct config_9p *)device->config)->tag;
	default:
		return device_type_name(device->type);
	}
}

void device_use(struct device *device, int change)
{
	device->uses += (unsigned int)change;
}

const char *device_type_name(enum device_type type)
{
	return kinds[type]->name;
}

/* ---- one device ---------------------------------------------------------- */

static void device_free(struct device *device)
{
	if (device->config)
		kinds[device->type]->config_free(device->config);
	free(device->object);
	free(device->id);
	free(device);
}

static struct device *device_new(const struct device_spec *spec)
{
	const struct device_kind *kind = kinds[spec->type];
	struct device *device = calloc(1, sizeof(*device));

	if (!device)
		return NULL;
	device->type = spec->type;
	device->uses = 1;
	if (spec->id)
		device->id = strdup(spec->id);
	if (spec->object)
		device->object = strdup(spec->object);
	if (spec->config && kind->config_copy)
		device->config = kind->config_copy(spec->config);
	if ((spec->id && !device->id) || (spec->object && !device->object) ||
	    (spec->config && kind->config_copy && !device->config)) {
		device_free(device);
		return NULL;
	}
	return device;
}

static bool has_memory(enum device_type type)
{
	return type == DEVICE_PMEM;
}

static void tell_memory_changed(struct devices *d)
{
	for (struct device *i = d->first; i; i = i->next)
		virtio_device_memory_changed(virtio_pci_device(i->pci));
}

/* From here on the guest sees it. */
static int plug(struct devices *d, struct device *device,
		struct virtio_device *v, const struct device_spec *spec,
		struct error *e)
{
	const struct devices_params *p = &d->p;
	int ret;

	pthread_mutex_lock(p->machine_lock);
	if (d->quiesced)
		virtio_device_quiesce(v);
	ret = virtio_pci_create(&device->pci, v, p->pci, p->irq, p->kvm,
				spec->bus, spec->slot, e);
	if (!ret && has_memory(spec->type))
		tell_memory_changed(d);
	/* What the guest has plugged would go with it. */
	if (!ret && spec->type == DEVICE_MEM)
		virtio_pci_function(device->pci)->stays = true;
	pthread_mutex_unlock(p->machine_lock);
	return ret;
}

int devices_add(struct devices *d, const struct device_spec *spec,
		struct device **out, struct error *e)
{
	struct virtio_device *v = NULL;
	struct device *device;
	int ret;

	if (spec->id && devices_find(d, spec->id))
		return error_config(e, -EEXIST, "there is a device '%s' "
				    "already", spec->id);
	if (spec->type == DEVICE_BALLOON && devices_first_of(d, DEVICE_BALLOON))
		return error_class_set(e, ERROR_ALREADY_SET, -EEXIST,
				       "Only one balloon device is supported");
	device = device_new(spec);
	if (!device)
		return error_set(e, -ENOMEM, "out of memory");
	ret = kinds[spec->type]->create(&v, &d->p, spec->id, spec->config, e);
	if (ret)
		goto err_device;
	ret = plug(d, device, v, spec, e);
	if (ret)
		goto err_virtio;
	*d->last = device;
	d->last = &device->next;
	if (out)
		*out = device;
	return 0;

err_virtio:
	if (kinds[spec->type]->release)
		kinds[spec->type]->release(&d->p, v);
	virtio_device_destroy(v);
err_device:
	device_free(device);
	return ret;
}

/* Others may be just reading or writing what goes, or have their rings there; the
 * kernel's back ends get a list of what there is when they start. */
void devices_begin_memory(struct devices *d)
{
	d->was_quiesced = d->quiesced;
	if (!d->quiesced)
		devices_quiesce(d);
}

void devices_end_memory(struct devices *d)
{
	tell_memory_changed(d);
	guest_mem_forget(d->p.mem);
	if (!d->was_quiesced)
		devices_resume(d);
}

void devices_remove(struct devices *d, struct device *device)
{
	bool memory = has_memory(device->type);
	struct device **link = &d->first;

	while (*link != device)
		link = &(*link)->next;
	*link = device->next;
	if (!device->next)
		d->last = link;
	pthread_mutex_lock(d->p.machine_lock);
	if (memory)
		devices_begin_memory(d);
	if (kinds[device->type]->release)
		kinds[device->type]->release(&d->p,
					    virtio_pci_device(device->pci));
	virtio_pci_destroy(device->pci);
	if (memory)
		devices_end_memory(d);
	pthread_mutex_unlock(d->p.machine_lock);
	device_free(device);
}

void *devices_copy_config(const struct device *device, const void *config)
{
	return kinds[device->type]->config_copy(config);
}

void devices_set_config(struct device *device, void *copy, bool keep)
{
	void *gone = keep ? device->config : copy;

	if (keep)
		device->config = copy;
	kinds[device->type]->config_free(gone);
}

void devices_mark_removing(struct device *device)
{
	device->removing = true;
}

struct vsock *devices_vsock(const struct devices *d)
{
	struct vsock *v = NULL;

	for (struct device *i = d->first; i && !v; i = i->next)
		v = virtio_vsock_host(virtio_pci_device(i->pci));
	return v;
}

struct virtio_device *devices_first_of(const struct devices *d,
				       enum device_type type)
{
	for (struct device *i = d->first; i; i = i->next)
		if (i->type == type)
			return virtio_pci_device(i->pci);
	return NULL;
}

const struct pci_function *device_function(const struct device *device)
{
	return virtio_pci_function(device->pci);
}

/* ---- all of them --------------------------------------------------------- */

int devices_create(struct devices **out, const struct devices_params *p,
		   struct error *e)
{
	struct devices *d = calloc(1, sizeof(*d));
	struct device_boot boot = { .p = p, .add = boot_one };
	int ret = 0;

	if (!d)
		return error_set(e, -ENOMEM, "out of memory");
	d->p = *p;
	d->last = &d->first;
	boot.devices = d;
	for (size_t k = 0; !ret && k < DEVICE_TYPES; k++)
		if (kinds[k]->boot)
			ret = kinds[k]->boot(&boot, e);
	if (ret) {
		devices_destroy(d);
		return ret;
	}
	*out = d;
	return 0;
}

void devices_destroy(struct devices *d)
{
	if (!d)
		return;
	/* Some hold addresses in the memory of others. */
	pthread_mutex_lock(d->p.machine_lock);
	devices_quiesce(d);
	pthread_mutex_unlock(d->p.machine_lock);
	while (d->first)
		devices_remove(d, d->first);
	free(d);
}

struct device *devices_first(const struct devices *d)
{
	return d->first;
}

struct device *devices_find(const struct devices *d, const char *id)
{
	for (struct device *i = d->first; i; i = i->next)
		if (i->id && !strcmp(i->id, id))
			return i;
	return NULL;
}

struct device *devices_at(const struct devices *d, unsigned int bus,
			  unsigned int slot)
{
	for (struct device *i = d->first; i; i = i->next)
		if (device_function(i)->bus == bus &&
		    device_function(i)->slot == slot)
			return i;
	return NULL;
}

void devices_quiesce(struct devices *d)
{
	d->quiesced = true;
	for (struct device *i = d->first; i; i = i->next)
		virtio_device_quiesce(virtio_pci_device(i->pci));
}

void devices_resume(struct devices *d)
{
	d->quiesced = false;
	for (struct device *i = d->first; i; i = i->next)
		virtio_device_resume(virtio_pci_device(i->pci));
}

void devices_reset(struct devices *d)
{
	for (struct device *i = d->first; i; i = i->next)
		virtio_pci_reset(i->pci);
}
