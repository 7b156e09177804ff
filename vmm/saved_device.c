/* SPDX-License-Identifier: MIT */
/* Which device a section is about, and where it goes. Main thread. */
#include <errno.h>
#include <string.h>

#include "pci/pci.h"
#include "snapshot_internal.h"
#include "vm_devices.h"

/* What a virtio-pmem adds ends its section: an address and a size. */
#define PMEM_PLACE_BYTES 16

#define DISK_ADDRESSES CONFIG_DISK_ADDRESS(CONFIG_DISK_CONTROLLERS - 1, \
					   CONFIG_DISK_LUNS - 1)

/* What only its kind has: struct saved_device's address or uses. */
static uint32_t number_of(const struct device *device)
{
	switch (device->type) {
	case DEVICE_DISK:
		return ((const struct config_disk *)device->config)->address;
	case DEVICE_PMEM:
		return 1 + vm_pmem_slot(device);
	case DEVICE_9P:
		return device->uses;
	default:
		return 0;
	}
}

void saved_device_put(struct state_writer *w, const struct device *device)
{
	const struct pci_function *f = device_function(device);

	state_put_string(w, device_type_name(device->type));
	state_put_string(w, device_key(device));
	state_put_string(w, device->id ? device->id : "");
	state_put_u8(w, f->bus);
	state_put_u8(w, f->slot);
	state_put_bool(w, device->removing);
	state_put_u32(w, number_of(device));
}

static uint64_t pmem_base(const struct state_reader *section)
{
	const size_t len = section->len_bytes;
	struct state_reader r;

	if (len - section->pos < PMEM_PLACE_BYTES)
		return 0;
	state_reader_init(&r, section->data + len - PMEM_PLACE_BYTES,
			  PMEM_PLACE_BYTES);
	return state_get_u64(&r);
}

static int take_number(struct saved_device *d, uint32_t number,
		       const struct state_reader *r)
{
	uint32_t most = d->type == DEVICE_PMEM ? CONFIG_MAX_PMEM :
						 DISK_ADDRESSES;

	d->address = d->uses = 0;
	d->base = d->type == DEVICE_PMEM ? pmem_base(r) : 0;
	if (d->type == DEVICE_9P)
		d->uses = number;
	else
		d->address = number;
	return d->address > most || d->uses > INT32_MAX ? -EPROTO : 0;
}

int saved_device_get(struct saved_device *d, struct state_reader *r)
{
	char type[32];
	uint32_t number;

	state_get_string(r, type, sizeof(type));
	state_get_string(r, d->key, sizeof(d->key));
	state_get_string(r, d->id, sizeof(d->id));
	d->bus = state_get_u8(r);
	d->slot = state_get_u8(r);
	d->removing = state_get_bool(r);
	number = state_get_u32(r);
	if (state_reader_error(r))
		return state_reader_error(r);
	if (!d->key[0] || d->bus >= PCI_ROOTS || d->slot >= PCI_SLOTS)
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
	return take_number(d, number, r);
}

void saved_device_place_pmems(const struct saved_device *devices, size_t count,
			      struct vm_config *c)
{
	for (size_t i = 0; i < count; i++) {
		const struct saved_device *d = &devices[i];

		for (size_t n = 0; n < c->pmem_count; n++) {
			struct config_pmem *p = &c->pmems[n];

			if (d->type != DEVICE_PMEM || strcmp(p->id, d->id))
				continue;
			p->base = d->base;
			p->has_slot = d->address;
			p->slot = d->address ? d->address - 1 : 0;
		}
	}
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
