/* SPDX-License-Identifier: MIT */
/* Saving virtio-serial devices and their ports, and making them anew; their
 * chardevs are the configuration's. Main thread. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "snapshot_internal.h"
#include "virtio/serial.h"
#include "vm_chardev.h"
#include "vm_internal.h"

#define DEVICES_MAX	(PCI_ROOTS * PCI_SLOTS)

/* A port as the section has it. */
struct saved_port {
	uint32_t device, nr;
	char id[VM_PORT_TEXT_MAX + 1];		/* empty: none */
	char name[VM_PORT_TEXT_MAX + 1];
	char chardev[VM_CHARDEV_ID_MAX + 1];
	bool named, console;
};

static const struct device *next_serial(const struct device *d)
{
	while (d && d->type != DEVICE_SERIAL)
		d = d->next;
	return d;
}

static const struct device *first_serial(const struct vm *vm)
{
	return next_serial(devices_first(vm->devices));
}

bool vm_ports_any(const struct vm *vm)
{
	return first_serial(vm);
}

static uint32_t number_of(const struct vm *vm, const struct device *device)
{
	uint32_t n = 0;

	for (const struct device *d = first_serial(vm); d != device;
	     d = next_serial(d->next))
		n++;
	return n;
}

void vm_ports_save(const struct vm *vm, struct state_writer *w)
{
	const struct device *d = first_serial(vm);
	struct vm_port_spec p;
	uint32_t count = 0;

	for (; d; d = next_serial(d->next))
		count++;
	state_put_u32(w, count);
	for (d = first_serial(vm); d; d = next_serial(d->next))
		state_put_u32(w, ((const struct config_serial *)d->config)->
				 max_ports);
	for (count = 0; vm_port_info(vm, count, &d, &p);)
		count++;
	state_put_u32(w, count);
	for (size_t i = 0; vm_port_info(vm, i, &d, &p); i++) {
		state_put_u32(w, number_of(vm, d));
		state_put_u32(w, (uint32_t)p.nr);
		state_put_string(w, p.id ? p.id : "");
		state_put_bool(w, p.name);
		state_put_string(w, p.name ? p.name : "");
		state_put_bool(w, p.console);
		state_put_string(w, p.chardev);
	}
}

/* Into r at the first port; how many devices there are, and ports of the n-th. */
static int open_section(const struct saved_vm *s, struct state_reader *r,
			uint32_t *count, unsigned int n, uint32_t *max_ports)
{
	const struct state_section *section =
		state_view_find(&s->view, TAG_PORTS, 0);

	*count = 0;
	if (!section)
		return -ENOENT;
	state_reader_init(r, section->data, section->len_bytes);
	*count = state_get_u32(r);
	for (uint32_t i = 0; i < *count && i < DEVICES_MAX; i++) {
		uint32_t max = state_get_u32(r);

		if (max_ports && i == n)
			*max_ports = max;
		if (!max || max > SERIAL_MAX_PORTS)
			return -EPROTO;
	}
	return *count > DEVICES_MAX ? -EPROTO : state_reader_error(r);
}

int vm_ports_device(const struct saved_vm *s, unsigned int n,
		    struct config_serial *out, struct error *e)
{
	struct state_reader r;
	uint32_t count, max = 0;
	int ret = open_section(s, &r, &count, n, &max);

	if (!ret && n >= count)
		ret = -EPROTO;
	if (ret)
		return error_errno(e, ret, "section '%s'", TAG_PORTS);
	out->max_ports = max;
	return 0;
}

static void get_port(struct saved_port *p, struct state_reader *r)
{
	p->device = state_get_u32(r);
	p->nr = state_get_u32(r);
	state_get_string(r, p->id, sizeof(p->id));
	p->named = state_get_bool(r);
	state_get_string(r, p->name, sizeof(p->name));
	p->console = state_get_bool(r);
	state_get_string(r, p->chardev, sizeof(p->chardev));
}

static int malformed(int ret, struct error *e)
{
	return error_errno(e, ret, "malformed");
}

/* fn() for each port of the section; how many there are. */
static int for_each(struct vm *vm, const struct saved_vm *s,
		    int (*fn)(struct vm *vm, const struct device *d,
			      const struct saved_port *p, struct error *e),
		    struct error *e)
{
	uint32_t devices, count;
	struct state_reader r;
	struct saved_port p;
	int ret = open_section(s, &r, &devices, 0, NULL);

	if (ret == -ENOENT)
		return 0;
	count = ret ? 0 : state_get_u32(&r);
	for (uint32_t i = 0; !ret && i < count; i++) {
		const struct device *d = first_serial(vm);

		get_port(&p, &r);
		for (uint32_t n = 0; d && n < p.device; n++)
			d = next_serial(d->next);
		ret = state_reader_error(&r);
		if (!ret && (!d || p.nr > INT_MAX))
			ret = -EPROTO;
		ret = ret ? malformed(ret, e) : fn(vm, d, &p, e);
		if (ret)
			return ret;
	}
	if (!ret)
		ret = state_reader_finish(&r);
	return ret ? malformed(ret, e) : (int)count;
}

static int load_one(struct vm *vm, const struct device *d,
		    const struct saved_port *p, struct error *e)
{
	const struct vm_port_spec spec = {
		.id = *p->id ? p->id : NULL,
		.nr = (int)p->nr,
		.name = p->named ? p->name : NULL,
		.chardev = p->chardev,
		.console = p->console,
	};

	if (spec.id && (vm_port_exists(vm, spec.id) ||
			devices_find(vm->devices, spec.id)))
		return error_set(e, -EEXIST, "there is a device '%s' already",
				 spec.id);
	return vm_port_add_to(vm, d, &spec, e);
}

int vm_ports_load(struct vm *vm, struct error *e)
{
	int ret = for_each(vm, vm->saved, load_one, e);

	return ret < 0 ? saved_vm_section_error(vm->saved, TAG_PORTS, 0, ret,
						e) : 0;
}

static int check_one(struct vm *vm, const struct device *d,
		     const struct saved_port *saved, struct error *e)
{
	const struct device *at;
	struct vm_port_spec p;

	for (size_t i = 0; vm_port_info(vm, i, &at, &p); i++)
		if (at == d && p.nr == (int)saved->nr &&
		    p.console == saved->console && saved->named == !!p.name &&
		    (!p.name || !strcmp(p.name, saved->name)))
			return 0;
	return error_config(e, -ENOENT, "the VM that comes in has a port %u "
			    "'%s', this one has not", saved->nr, saved->name);
}

int vm_ports_check(struct vm *vm, const struct saved_vm *s,
		   struct error *e)
{
	const struct device *d = first_serial(vm);
	struct vm_port_spec p;
	struct config_serial c;
	int ret = 0;

	for (unsigned int n = 0; !ret && d; d = next_serial(d->next), n++) {
		ret = vm_ports_device(s, n, &c, e);
		if (!ret && c.max_ports !=
		    ((const struct config_serial *)d->config)->max_ports)
			ret = error_config(e, -EINVAL, "the VM that comes in "
					   "has a virtio-serial-pci with "
					   "max_ports=%u", c.max_ports);
	}
	if (!ret)
		ret = for_each(vm, s, check_one, e);
	if (ret < 0)
		return ret;
	if (vm_port_info(vm, (size_t)ret, &d, &p))
		return error_config(e, -ENOENT, "this VM has more ports than "
				    "the one that comes in");
	return 0;
}
