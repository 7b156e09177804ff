/* SPDX-License-Identifier: MIT */
/* device_add and device_del, by a table of drivers. Main thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/drivers.h"
#include "monitor/objects.h"
#include "vm_cpus.h"
#include "vm_dimms.h"
#include "vm_serial.h"

/* ---- rng ----------------------------------------------------------------- */

static const struct prop rng_props[] = {
	{ "rng", PROP_STRING, false },
	{ "max-bytes", PROP_IGNORED, false },
	{ "period", PROP_IGNORED, false },
	{ 0 },
};

/* Without a back end: the host's generator, as for --rng. */
static int add_rng(struct session *s, struct json_object *args,
		   struct device_spec spec, struct error *e)
{
	const char *id = prop_string(args, "rng");
	const struct object *o = NULL;

	if (id) {
		o = object_find(s->monitor, id, "rng-random", "rng", NULL);
		if (!o && !object_find(s->monitor, id, "rng-builtin", "rng", e))
			return -ENOENT;
	}
	spec.type = DEVICE_RNG;
	spec.object = id;
	/* QEMU's default for rng-random. */
	spec.config = o ? prop_string(o->props, "filename") : NULL;
	if (o && !spec.config)
		spec.config = "/dev/urandom";
	return vm_device_add(s->monitor->vm, &spec, NULL, e);
}

/* ---- the table ----------------------------------------------------------- */

const struct driver drivers[] = {
	{ .name = "virtio-blk-pci", .props = driver_blk_props,
	  .add = driver_blk_add },
	{ .name = "virtio-net-pci", .props = driver_net_props,
	  .add = driver_net_add },
	{ .name = "virtio-rng-pci", .props = rng_props,
	  .add = add_rng },
	{ .name = "host-x86_64-cpu", .props = driver_cpu_props,
	  .add = driver_cpu_add },
	{ .name = "pc-dimm", .props = driver_dimm_props,
	  .no_slot = true, .add = driver_dimm_add },
	{ .name = "virtio-balloon-pci", .props = driver_balloon_props,
	  .add = driver_balloon_add },
	{ .name = "virtio-mem-pci", .props = driver_mem_props,
	  .add = driver_mem_add },
	{ .name = "vhost-vsock-pci", .props = driver_vsock_props,
	  .add = driver_vsock_add },
	{ .name = "virtio-pmem-pci", .props = driver_pmem_props,
	  .add = driver_pmem_add },
	{ .name = "virtio-9p-pci", .props = driver_9p_props,
	  .add = driver_9p_add },
	{ .name = "virtio-serial-pci", .props = driver_serial_props,
	  .add = driver_serial_add },
	{ .name = "virtserialport", .props = driver_port_props,
	  .no_slot = true, .add = driver_port_add },
	{ .name = "virtconsole", .props = driver_port_props,
	  .no_slot = true, .add = driver_virtconsole_add },
	{ 0 },
};

/* What every device has. The ignored ones are about what QEMU emulates. */
static const struct prop common_props[] = {
	{ "driver", PROP_STRING, true },
	{ "id", PROP_STRING, false },
	{ "bus", PROP_STRING, false },
	{ "addr", PROP_IGNORED, false },	/* parse_addr() */
	{ "romfile", PROP_IGNORED, false },
	{ "rombar", PROP_IGNORED, false },
	{ "share-rw", PROP_IGNORED, false },
	{ "disable-modern", PROP_IGNORED, false },
	{ "disable-legacy", PROP_IGNORED, false },
	{ "vectors", PROP_IGNORED, false },
	{ "multifunction", PROP_IGNORED, false },
	{ "bootindex", PROP_IGNORED, false },
	{ "ioeventfd", PROP_IGNORED, false },
	{ "iommu_platform", PROP_IGNORED, false },
	{ "ats", PROP_IGNORED, false },
	{ "packed", PROP_IGNORED, false },
	{ "event_idx", PROP_IGNORED, false },
	{ "indirect_desc", PROP_IGNORED, false },
	{ "page-per-vq", PROP_IGNORED, false },
	{ "acpi-index", PROP_IGNORED, false },
	{ "iothread", PROP_IGNORED, false },
	{ 0 },
};

static int parse_bus(const char *text, int *bus, struct error *e)
{
	const char *digits = text + strlen("pcie.");
	char *end;
	long n;

	if (strncmp(text, "pcie.", strlen("pcie.")) || *digits < '0' ||
	    *digits > '9')
		goto none;
	n = strtol(digits, &end, 10);
	if (*end || n >= PCI_ROOTS)
		goto none;
	*bus = (int)n;
	return 0;

none:
	return error_set(e, -ENOENT, "Bus '%s' not found: there are pcie.0 to "
			 "pcie.%d", text, PCI_ROOTS - 1);
}

/*
 * As QEMU reads it: a string is the slot in hexadecimal and perhaps a function,
 * a number is both, slot << 3 | function.
 */
static int parse_addr(struct json_object *v, int *slot, struct error *e)
{
	const char *text = json_object_get_string(v);
	unsigned long n = 0, function = 0;
	char *end = NULL;

	if (json_object_is_type(v, json_type_int)) {
		int64_t devfn = json_object_get_int64(v);

		if (devfn < 0 || devfn > 255)
			goto bad;
		n = (unsigned long)devfn >> 3;
		function = devfn & 7;
	} else {
		if (!json_object_is_type(v, json_type_string) || *text == '-')
			goto bad;
		n = strtoul(text, &end, 16);
		if (end != text && *end == '.' && end[1])
			function = strtoul(end + 1, &end, 16);
		if (end == text || *end || n >= PCI_SLOTS)
			goto bad;
	}
	if (function)
		return error_set(e, -EINVAL, "Parameter 'addr': %s: devices "
				 "have function 0 only (a slot is written as a "
				 "string)", text);
	*slot = (int)n;
	return 0;

bad:
	return error_set(e, -EINVAL, "Parameter 'addr': '%s' is no slot from "
			 "0 to 1f", text ? text : "null");
}

static int parse_place(struct json_object *args, struct device_spec *spec,
		       struct error *e)
{
	const char *bus = prop_string(args, "bus");
	struct json_object *addr;
	int ret = bus ? parse_bus(bus, &spec->bus, e) : 0;

	if (ret || !json_object_object_get_ex(args, "addr", &addr))
		return ret;
	/* govmm sends an empty one when it has none. */
	if (json_object_is_type(addr, json_type_string) &&
	    !json_object_get_string_len(addr))
		return 0;
	/* An address without a bus is one of the first. */
	if (spec->bus < 0)
		spec->bus = 0;
	return parse_addr(addr, &spec->slot, e);
}

/* Of QEMU's drivers those that clients ask for and will not find here. */
static int no_driver(const char *name, struct error *e)
{
	static const char *const known[] = {
		"nvdimm", "vfio-pci", "vfio-ap", "vhost-user-blk-pci",
		"vhost-user-fs-pci", "vhost-user-scsi-pci",
		"vhost-user-vsock-pci", "virtio-scsi-pci", "scsi-hd", "scsi-cd",
		"virtio-iommu-pci", "pcie-root-port", "pci-bridge", "pvpanic",
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(known[i], name))
			return error_class_set(e, ERROR_NOT_SUPPORTED, -EINVAL,
					       "device model '%s' is not "
					       "supported", name);
	return error_set(e, -EINVAL, "'%s' is not a valid device model name",
			 name);
}

static const struct driver *find_driver(const char *name)
{
	for (const struct driver *d = drivers; d->name; d++)
		if (!strcmp(d->name, name))
			return d;
	return NULL;
}

static bool id_taken(const struct vm *vm, const char *id)
{
	return vm_device_find(vm, id) || vm_cpu_find(vm, id) >= 0 ||
	       vm_dimm_find(vm, id) || vm_port_exists(vm, id);
}

static int device_add(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	const char *name = arg_string(args, "driver");
	const struct driver *driver = find_driver(name);
	struct device_spec spec = { .bus = -1, .slot = -1 };
	int ret;

	(void)result;
	if (!driver)
		return no_driver(name, e);
	ret = props_check(args, name, common_props, driver->props, e);
	if (ret)
		return ret;
	spec.id = prop_string(args, "id");
	ret = id_check(spec.id, "id", e);
	if (!ret && spec.id && id_taken(s->monitor->vm, spec.id))
		ret = error_set(e, -EEXIST, "Duplicate device ID '%s'",
				spec.id);
	if (!ret && !driver->no_slot)
		ret = parse_place(args, &spec, e);
	return ret ? ret : driver->add(s, args, spec, e);
}

static int device_del(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	const char *id = arg_string(args, "id");
	struct device *device;
	int cpu;

	(void)result;
	/* QEMU takes the path, too. */
	if (!strncmp(id, "/machine/peripheral/", 20))
		id += 20;
	cpu = vm_cpu_find(s->monitor->vm, id);
	if (cpu >= 0)
		return vm_cpu_remove(s->monitor->vm, (unsigned int)cpu, e);
	if (vm_dimm_find(s->monitor->vm, id))
		return vm_dimm_remove(s->monitor->vm,
				      vm_dimm_find(s->monitor->vm, id), e);
	if (vm_port_exists(s->monitor->vm, id)) {
		vm_port_remove(s->monitor->vm, id);
		return 0;
	}
	device = vm_device_find(s->monitor->vm, id);
	if (!device)
		return error_class_set(e, ERROR_DEVICE_NOT_FOUND, -ENOENT,
				       "Device '%s' not found", id);
	return vm_device_remove(s->monitor->vm, device, e);
}

static const struct command_arg add_args[] = {
	{ "driver", ARG_STRING, true },
	{ "id", ARG_STRING, false },
	{ "bus", ARG_STRING, false },
	{ 0 },
};

static const struct command_arg del_args[] = {
	{ "id", ARG_STRING, true },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "device_add",
		.help = "Plug a device in: driver, [id], [bus], [addr], ...",
		.args = add_args,
		.open = true,
		.run = device_add,
	}, {
		.name = "device_del",
		.help = "Ask the guest to let a device go, id; then "
			"DEVICE_DELETED",
		.args = del_args,
		.run = device_del,
	},
};

const struct command_group device_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
