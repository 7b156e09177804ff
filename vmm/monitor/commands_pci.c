/* SPDX-License-Identifier: MIT */
/* query-pci. Main thread. */
#include <linux/pci_regs.h>

#include "monitor/internal.h"
#include "vm_devices.h"

static struct json_object *number(uint64_t n)
{
	return json_object_new_uint64(n);
}

static uint64_t get(const struct vm_pci_slot *f, unsigned int at,
		    unsigned int len)
{
	return bus_get_le(f->config + at, len);
}

/* PCI Code and ID Assignment 1.11, 1; QEMU's words. */
static const char *class_name(uint64_t class)
{
	switch (class >> 8) {
	case 0x01:
		return "Mass storage controller";
	case 0x02:
		return "Network controller";
	case 0x05:
		return "Memory controller";
	case 0x06:
		return class == 0x0600 ? "Host bridge" : "Bridge";
	case 0x07:
		return "Communication controller";
	default:
		return NULL;
	}
}

static struct json_object *class_json(const struct vm_pci_slot *f)
{
	struct json_object *o = json_object_new_object();
	uint64_t class = get(f, PCI_CLASS_DEVICE, 2);
	const char *name = class_name(class);

	json_object_object_add(o, "class", number(class));
	if (name)
		json_object_object_add(o, "desc", json_object_new_string(name));
	return o;
}

static struct json_object *id_json(const struct vm_pci_slot *f)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "device", number(get(f, PCI_DEVICE_ID, 2)));
	json_object_object_add(o, "vendor", number(get(f, PCI_VENDOR_ID, 2)));
	json_object_object_add(o, "subsystem",
			       number(get(f, PCI_SUBSYSTEM_ID, 2)));
	json_object_object_add(o, "subsystem-vendor",
			       number(get(f, PCI_SUBSYSTEM_VENDOR_ID, 2)));
	return o;
}

static struct json_object *regions_json(const struct vm_pci_slot *f)
{
	struct json_object *list = json_object_new_array();

	for (unsigned int i = 0; i < PCI_BARS; i++) {
		struct json_object *o;

		if (!f->bars[i].len_bytes)
			continue;
		o = json_object_new_object();
		json_object_object_add(o, "bar", number(i));
		json_object_object_add(o, "type",
				       json_object_new_string("memory"));
		json_object_object_add(o, "address",
				       number(f->bars[i].address));
		json_object_object_add(o, "size", number(f->bars[i].len_bytes));
		json_object_object_add(o, "prefetch", json_object_new_boolean(
					       f->bars[i].prefetchable));
		json_object_object_add(o, "mem_type_64",
				       json_object_new_boolean(
					       f->bars[i].is_64bit));
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *slot_json(const struct vm_pci_slot *f,
				     unsigned int bus, unsigned int slot)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "bus", number(bus));
	json_object_object_add(o, "slot", number(slot));
	json_object_object_add(o, "function", number(0));
	json_object_object_add(o, "class_info", class_json(f));
	json_object_object_add(o, "id", id_json(f));
	json_object_object_add(o, "irq", number(get(f, PCI_INTERRUPT_LINE, 1)));
	json_object_object_add(o, "irq_pin",
			       number(get(f, PCI_INTERRUPT_PIN, 1)));
	json_object_object_add(o, "qdev_id",
			       json_object_new_string(f->id ? f->id : ""));
	json_object_object_add(o, "regions", regions_json(f));
	return o;
}

/* Root buses with a device; bus 0 always has one. */
static int query_pci(struct session *s, struct json_object *args,
		     struct json_object **result, struct error *e)
{
	struct json_object *buses = json_object_new_array();

	(void)args;
	(void)e;
	for (unsigned int bus = 0; bus < PCI_ROOTS; bus++) {
		struct json_object *devices = json_object_new_array(), *o;
		struct vm_pci_slot f;

		for (unsigned int slot = 0; slot < PCI_SLOTS; slot++)
			if (vm_pci_slot(s->monitor->vm, bus, slot, &f))
				json_object_array_add(
					devices, slot_json(&f, bus, slot));
		if (!json_object_array_length(devices)) {
			json_object_put(devices);
			continue;
		}
		o = json_object_new_object();
		json_object_object_add(o, "bus", number(bus));
		json_object_object_add(o, "devices", devices);
		json_object_array_add(buses, o);
	}
	*result = buses;
	return 0;
}

static const struct command commands[] = {
	{
		.name = "query-pci",
		.help = "What is in the PCI slots",
		.run = query_pci,
	},
};

const struct command_group pci_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
