/* SPDX-License-Identifier: MIT */
/* Which device a section is about, and where it goes. Main thread. */
#include <errno.h>
#include <string.h>

#include "pci/pci.h"
#include "snapshot_internal.h"

#define DISK_ADDRESSES CONFIG_DISK_ADDRESS(CONFIG_DISK_CONTROLLERS - 1, \
					   CONFIG_DISK_LUNS - 1)

void saved_device_put(struct state_writer *w, const struct device *device)
{
	const struct pci_function *f = device_function(device);

	state_put_string(w, device_type_name(device->type));
	state_put_string(w, device_key(device));
	state_put_string(w, device->id ? device->id : "");
	state_put_u8(w, f->bus);
	state_put_u8(w, f->slot);
	state_put_bool(w, device->removing);
	state_put_u32(w, device->type != DEVICE_DISK ? 0 :
		      ((const struct config_disk *)device->config)->address);
}

int saved_device_get(struct saved_device *d, struct state_reader *r)
{
	char type[32];

	state_get_string(r, type, sizeof(type));
	state_get_string(r, d->key, sizeof(d->key));
	state_get_string(r, d->id, sizeof(d->id));
	d->bus = state_get_u8(r);
	d->slot = state_get_u8(r);
	d->removing = state_get_bool(r);
	d->address = state_get_u32(r);
	if (state_reader_error(r))
		return state_reader_error(r);
	if (!d->key[0] || d->address > DISK_ADDRESSES ||
	    d->bus >= PCI_ROOTS || d->slot >= PCI_SLOTS)
		return -EPROTO;
	for (d->type = 0; d->type < DEVICE_TYPES; d->type++)
		if (!strcmp(type, device_type_name(d->type)))
			break;
	if (d->type == DEVICE_TYPES)
		return -EPROTO;
	/* What these are known by is their id (device_key()). */
	if ((d->type == DEVICE_DISK || d->type == DEVICE_NET ||
	     d->type == DEVICE_PMEM) && strcmp(d->id, d->key))
		return -EPROTO;
	return 0;
}

int saved_vm_place(const void *opaque, enum device_type type, const char **id,
		   int *bus, int *slot, struct error *e)
{
	const struct saved_vm *s = opaque;
	bool named = type == DEVICE_DISK || type == DEVICE_NET ||
		     type == DEVICE_PMEM || type == DEVICE_9P;
	const char *key = named ? *id : device_type_name(type);

	for (size_t i = 0; i < s->device_count; i++)
		if (s->devices[i].type == type &&
		    !strcmp(s->devices[i].key, key)) {
			*id = *s->devices[i].id ? s->devices[i].id : NULL;
			*bus = s->devices[i].bus;
			*slot = s->devices[i].slot;
			return 0;
		}
	return error_config(e, -ENOENT, "the saved VM has no %s '%s'",
			    device_type_name(type), key);
}
