/* SPDX-License-Identifier: MIT */
/* Ports of virtio-serial devices. Main thread. */
#include "vm_serial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/serial.h"
#include "virtio/virtio_pci.h"
#include "vm_internal.h"

struct vm_port {
	struct vm_port *next;
	char *id, *name;		/* either may be NULL */
	char *chardev;
	bool console;
	const struct device *device;
	unsigned int nr;
	struct chardev *cd;
	bool open;		/* by the guest, as clients know it */
};

/* As QEMU names it: the id of the device and ".0". */
static bool is_bus(const struct device *d, const char *bus)
{
	size_t len = d->id ? strlen(d->id) : 0;

	return !bus || (len && !strncmp(d->id, bus, len) &&
			!strcmp(bus + len, ".0"));
}

static const struct device *find_bus(const struct vm *vm, const char *bus)
{
	const struct device *d = devices_first(vm->devices);

	while (d && (d->type != DEVICE_SERIAL || !is_bus(d, bus)))
		d = d->next;
	return d;
}

static const struct vm_port *port_at(const struct vm *vm,
				     const struct device *d, unsigned int nr)
{
	const struct vm_port *p = vm->ports;

	while (p && (p->device != d || p->nr != nr))
		p = p->next;
	return p;
}

/* The number; port 0 is for a console, as drivers that know one port only take
 * it for one (VIRTIO 1.2, 5.3.2). */
static int choose_nr(const struct vm *vm, const struct device *d,
		     const struct vm_port_spec *spec, struct error *e)
{
	const struct config_serial *c = d->config;
	unsigned int nr = spec->console ? 0 : 1;

	if (spec->nr >= (int)c->max_ports)
		return error_set(e, -ERANGE, "Parameter 'nr': %d: the highest "
				 "of '%s' is %u", spec->nr, d->id ? d->id : "",
				 c->max_ports - 1);
	if (!spec->nr && !spec->console)
		return error_set(e, -EINVAL, "Parameter 'nr': 0 is reserved for "
				 "a virtconsole");
	if (spec->nr >= 0)
		return !port_at(vm, d, (unsigned int)spec->nr) ? spec->nr :
		       error_set(e, -EEXIST, "Parameter 'nr': there is a port "
				 "%d already", spec->nr);
	while (nr < c->max_ports && port_at(vm, d, nr))
		nr++;
	if (nr < c->max_ports)
		return (int)nr;
	return error_set(e, -ENOSPC, "'%s' has no room for another port: "
			 "max_ports is %u", d->id ? d->id : "", c->max_ports);
}

static int check_name(const struct vm *vm, const struct device *d,
		      const char *name, struct error *e)
{
	for (const struct vm_port *p = vm->ports; name && p; p = p->next)
		if (p->device == d && p->name && !strcmp(p->name, name))
			return error_set(e, -EEXIST, "A port already exists by "
					 "name %s", name);
	return 0;
}

/* What a saved VM's can have. */
static int check_lengths(const struct vm_port_spec *spec, struct error *e)
{
	if (spec->id && strlen(spec->id) > VM_PORT_TEXT_MAX)
		return error_set(e, -EINVAL, "Parameter 'id': at most %d bytes",
				 VM_PORT_TEXT_MAX);
	if (spec->name && strlen(spec->name) > VM_PORT_TEXT_MAX)
		return error_set(e, -EINVAL, "Parameter 'name': at most %d "
				 "bytes", VM_PORT_TEXT_MAX);
	return 0;
}

static void port_free(struct vm_port *p)
{
	free(p->id);
	free(p->name);
	free(p->chardev);
	free(p);
}

static struct vm_port *port_new(const struct vm_port_spec *spec,
				const struct device *d, unsigned int nr)
{
	struct vm_port *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->device = d;
	p->nr = nr;
	p->id = spec->id ? strdup(spec->id) : NULL;
	p->name = spec->name ? strdup(spec->name) : NULL;
	p->chardev = strdup(spec->chardev);
	p->console = spec->console;
	if ((!spec->id || p->id) && (!spec->name || p->name) && p->chardev)
		return p;
	port_free(p);
	return NULL;
}

int vm_port_add_to(struct vm *vm, const struct device *d,
		   const struct vm_port_spec *spec, struct error *e)
{
	int nr = check_lengths(spec, e);
	struct vm_port *p;

	if (nr >= 0)
		nr = choose_nr(vm, d, spec, e);
	if (nr >= 0 && check_name(vm, d, spec->name, e))
		nr = -EEXIST;
	if (nr < 0)
		return nr;
	p = port_new(spec, d, (unsigned int)nr);
	if (!p)
		return error_set(e, -ENOMEM, "out of memory");
	p->cd = vm_chardev_claim(vm, spec->chardev, e);
	if (!p->cd) {
		port_free(p);
		return -ENOENT;
	}
	if (virtio_serial_add(virtio_pci_device(d->pci), p->nr, p->name,
			      spec->console, p->cd)) {
		vm_chardev_release(vm, p->cd);
		port_free(p);
		return error_set(e, -ENOMEM, "out of memory");
	}
	p->next = vm->ports;
	vm->ports = p;
	return 0;
}

int vm_port_add(struct vm *vm, const struct vm_port_spec *spec,
		struct error *e)
{
	const struct device *d = find_bus(vm, spec->bus);

	if (!d && spec->bus)
		return error_set(e, -ENOENT, "Bus '%s' not found", spec->bus);
	if (!d)
		return error_set(e, -ENOENT, "No 'virtio-serial-bus' bus found: "
				 "there is no virtio-serial-pci");
	return vm_port_add_to(vm, d, spec, e);
}

bool vm_port_info(const struct vm *vm, size_t index, const struct device **d,
		  struct vm_port_spec *spec)
{
	const struct vm_port *p = vm->ports;

	while (p && index--)
		p = p->next;
	if (!p)
		return false;
	*d = p->device;
	*spec = (struct vm_port_spec){
		.id = p->id, .nr = (int)p->nr, .name = p->name,
		.chardev = p->chardev, .console = p->console,
	};
	return true;
}

/* Unlinked by the caller. */
static void remove_port(struct vm *vm, struct vm_port *p)
{
	virtio_serial_remove(virtio_pci_device(p->device->pci), p->nr);
	vm_chardev_release(vm, p->cd);
	vm_emit(vm, VM_EVENT_DEVICE_DELETED, false, p->id);
	port_free(p);
}

static struct vm_port **link_of(const struct vm *vm, const char *id)
{
	struct vm_port **link = (struct vm_port **)&vm->ports;

	while (*link && (!(*link)->id || strcmp((*link)->id, id)))
		link = &(*link)->next;
	return link;
}

bool vm_port_exists(const struct vm *vm, const char *id)
{
	return *link_of(vm, id);
}

void vm_port_remove(struct vm *vm, const char *id)
{
	struct vm_port **link = link_of(vm, id), *p = *link;

	*link = p->next;
	remove_port(vm, p);
}

void vm_ports_drop(struct vm *vm, const struct device *device)
{
	struct vm_port **link = &vm->ports, *p;

	while ((p = *link)) {
		if (p->device != device) {
			link = &p->next;
			continue;
		}
		*link = p->next;
		remove_port(vm, p);
	}
}

/* ---- the guest's side ---------------------------------------------------- */

void vm_port_changed(void *opaque)
{
	vm_notice_set(&((struct vm *)opaque)->port_notice);
}

static void tell(struct vm *vm)
{
	for (struct vm_port *p = vm->ports; p; p = p->next) {
		bool open = virtio_serial_guest_open(
			virtio_pci_device(p->device->pci), p->nr);

		if (open == p->open)
			continue;
		p->open = open;
		if (p->id)
			vm_emit(vm, VM_EVENT_PORT_CHANGE, true, p->id);
	}
}

bool vm_port_is_open(const struct vm *vm, const char *id)
{
	return (*link_of(vm, id))->open;
}

int vm_ports_init(struct vm *vm, struct error *e)
{
	int ret = vm_notice_init(&vm->port_notice, vm, vm->loop, tell);

	return ret ? error_errno(e, ret, "timer") : 0;
}

void vm_ports_deinit(struct vm *vm)
{
	struct vm_port *next;

	for (struct vm_port *p = vm->ports; p; p = next) {
		next = p->next;
		port_free(p);
	}
	vm->ports = NULL;
	vm_notice_deinit(&vm->port_notice);
}
