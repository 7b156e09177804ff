/* SPDX-License-Identifier: MIT */
/*
 * disk-add and disk-remove: whole disks, at an address of a controller's number
 * and a LUN. Each is a PCI function of its own all the same. Main thread.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "monitor/internal.h"
#include "monitor/props.h"
#include "vm_devices.h"

static const struct config_disk *disk_of(const struct device *d)
{
	return d->type == DEVICE_DISK ? d->config : NULL;
}

static struct device *find_address(const struct vm *vm, unsigned int address)
{
	for (struct device *d = vm_device_first(vm); d; d = d->next)
		if (disk_of(d) && disk_of(d)->address == address)
			return d;
	return NULL;
}

/* *count: how many there are; the first of them. */
static struct device *find_path(const struct vm *vm, const char *path,
				unsigned int *count)
{
	struct device *found = NULL;

	*count = 0;
	for (struct device *d = vm_device_first(vm); d; d = d->next) {
		if (!disk_of(d) || strcmp(disk_of(d)->path, path))
			continue;
		if (!found)
			found = d;
		++*count;
	}
	return found;
}

static int check_controller(const struct vm *vm, uint64_t controller,
			    struct error *e)
{
	unsigned int count = vm_config(vm)->disk_controllers;

	if (controller < count)
		return 0;
	return error_class_set(e, ERROR_NO_CONTROLLER, -ENODEV,
			       "there is no controller %llu: %u of them "
			       "(--disk-controllers)",
			       (unsigned long long)controller, count);
}

static int check_lun(uint64_t lun, struct error *e)
{
	if (lun < CONFIG_DISK_LUNS)
		return 0;
	return error_config(e, -ERANGE, "lun %llu is not 0 to %d",
			    (unsigned long long)lun, CONFIG_DISK_LUNS - 1);
}

/* The lowest free address that agrees with what was asked for. */
static int choose_address(const struct vm *vm, struct json_object *args,
			  unsigned int *address, struct error *e)
{
	uint64_t controller = arg_uint(args, "controller", 0);
	uint64_t lun = arg_uint(args, "lun", 0);
	unsigned int count = vm_config(vm)->disk_controllers;
	bool any = !arg_given(args, "controller");
	bool any_lun = !arg_given(args, "lun");
	int ret = check_controller(vm, controller, e);

	if (!ret)
		ret = check_lun(lun, e);
	if (ret)
		return ret;
	for (unsigned int c = 0; c < count; c++) {
		for (unsigned int l = 0; l < CONFIG_DISK_LUNS; l++) {
			*address = CONFIG_DISK_ADDRESS(c, l);
			if ((any || c == controller) &&
			    (any_lun || l == lun) &&
			    !find_address(vm, *address))
				return 0;
		}
	}
	if (!any && !any_lun)
		return error_class_set(e, ERROR_ALREADY_ATTACHED, -EBUSY,
				       "controller %llu, lun %llu is taken",
				       (unsigned long long)controller,
				       (unsigned long long)lun);
	if (any && any_lun)
		return error_class_set(e, ERROR_TOO_MANY_ATTACHMENTS, -ENOSPC,
				       "there are %u disks already",
				       count * CONFIG_DISK_LUNS);
	return error_class_set(e, ERROR_NO_AVAILABLE_LOCATION, -ENOSPC,
			       "no such address is free");
}

static struct json_object *disk_json(const struct device *d)
{
	const struct pci_function *f = device_function(d);
	unsigned int at = disk_of(d)->address - 1;
	struct json_object *o = json_object_new_object();
	char pci[32];

	snprintf(pci, sizeof(pci), "0000:%02x:%02x.0", f->bus, f->slot);
	json_object_object_add(o, "id", json_object_new_string(d->id));
	json_object_object_add(o, "controller", !disk_of(d)->address ? NULL :
			       json_object_new_int64(at / CONFIG_DISK_LUNS));
	json_object_object_add(o, "lun", !disk_of(d)->address ? NULL :
			       json_object_new_int64(at % CONFIG_DISK_LUNS));
	json_object_object_add(o, "pci", json_object_new_string(pci));
	/* The kernel in the guest names it; serial and pci are certain. */
	json_object_object_add(o, "guest-name", NULL);
	return o;
}

/* As for --disk, by the name of the file unless it is said. */
static int parse_format(struct json_object *args, const char *path,
			enum config_disk_format *out, struct error *e)
{
	const char *format = arg_string(args, "format");

	if (!format)
		format = vm_image_format(path);
	if (!strcmp(format, "raw"))
		*out = DISK_RAW;
	else if (!strcmp(format, "vhd"))
		*out = DISK_VHD;
	else
		return error_config(e, -EINVAL, "format: '%s' is neither raw "
				    "nor vhd", format);
	return 0;
}

/* For two readers of one image there is nothing to say. */
static int check_path(const struct vm *vm, const struct config_disk *disk,
		      struct error *e)
{
	unsigned int count;
	const struct device *d = find_path(vm, disk->path, &count);

	if (!d || (disk->readonly && disk_of(d)->readonly))
		return 0;
	return error_class_set(e, ERROR_ALREADY_ATTACHED, -EBUSY,
			       "%s is disk '%s' already", disk->path,
			       d->id ? d->id : "");
}

/* A name of its own, unless the caller has one. */
static int choose_id(const struct vm *vm, struct json_object *args,
		     unsigned int address, char *buf, size_t size,
		     struct error *e)
{
	const char *id = arg_string(args, "id");
	unsigned int at = address - 1, again = 0;
	int ret;

	if (!id) {
		snprintf(buf, size, "disk-%u-%u", at / CONFIG_DISK_LUNS,
			 at % CONFIG_DISK_LUNS);
		while (vm_device_find(vm, buf))
			snprintf(buf, size, "disk-%u-%u-%u",
				 at / CONFIG_DISK_LUNS, at % CONFIG_DISK_LUNS,
				 ++again);
		return 0;
	}
	ret = id_check(id, "id", e);
	if (!ret && vm_device_find(vm, id))
		ret = error_class_set(e, ERROR_ALREADY_ATTACHED, -EEXIST,
				      "there is a device '%s' already", id);
	snprintf(buf, size, "%s", id);
	return ret;
}

static int disk_add(struct session *s, struct json_object *args,
		    struct json_object **result, struct error *e)
{
	struct vm *vm = s->monitor->vm;
	struct config_disk disk = {
		.path = (char *)arg_string(args, "path"),
		.readonly = arg_bool(args, "readonly", false),
		.direct = arg_bool(args, "direct", false),
		.no_flush = !arg_bool(args, "flush", true),
		.serial = (char *)arg_string(args, "serial"),
	};
	uint64_t queues = arg_uint(args, "queues", 1);
	struct device_spec spec = {
		.type = DEVICE_DISK, .config = &disk, .bus = -1, .slot = -1,
	};
	struct device *device;
	char id[160];
	int ret = parse_format(args, disk.path, &disk.format, e);

	if (!ret && (!queues || queues > UINT32_MAX))
		ret = error_config(e, -ERANGE, "queues is out of range");
	if (!ret)
		ret = check_path(vm, &disk, e);
	if (!ret)
		ret = choose_address(vm, args, &disk.address, e);
	if (!ret)
		ret = choose_id(vm, args, disk.address, id, sizeof(id), e);
	if (ret)
		return ret;
	disk.queues = (unsigned int)queues;
	disk.id = id;
	spec.id = id;
	ret = error_of_named(e, vm_device_add(vm, &spec, &device, e));
	ret = attached_error(vm, disk.path, ret, e);
	if (!ret)
		*result = disk_json(device);
	return ret;
}

static int no_disk(const char *what, const char *value, struct error *e)
{
	return error_class_set(e, ERROR_NOT_ATTACHED, -ENOENT,
			       "there is no disk with the %s %s", what, value);
}

static int find_by_address(struct vm *vm, struct json_object *args,
			   struct device **out, struct error *e)
{
	uint64_t controller = arg_uint(args, "controller", 0);
	uint64_t lun = arg_uint(args, "lun", 0);
	char text[64];
	int ret;

	if (!arg_given(args, "controller") || !arg_given(args, "lun"))
		return error_class_set(e, ERROR_MISSING_PARAMETER, -EINVAL,
				       "which disk: id, or path, or controller "
				       "and lun");
	ret = check_controller(vm, controller, e);
	if (!ret)
		ret = check_lun(lun, e);
	if (ret)
		return ret;
	*out = find_address(vm, (unsigned int)CONFIG_DISK_ADDRESS(controller,
								  lun));
	snprintf(text, sizeof(text), "%llu:%llu",
		 (unsigned long long)controller, (unsigned long long)lun);
	return *out ? 0 : no_disk("address", text, e);
}

static int find_by_path(struct vm *vm, const char *path, struct device **out,
			struct error *e)
{
	unsigned int count;

	*out = find_path(vm, path, &count);
	if (count > 1)
		return error_config(e, -EINVAL, "%u disks have the path %s: say "
				    "which by its id", count, path);
	/* Made by device_add without an id: QEMU, too, keeps it for ever. */
	if (*out && !(*out)->id)
		*out = NULL;
	return *out ? 0 : no_disk("path", path, e);
}

/* All that is said of it must hold, or it is not the one that is meant. */
static int disk_find(struct vm *vm, struct json_object *args, const char *path,
		     struct device **out, struct error *e)
{
	bool placed = arg_given(args, "controller") || arg_given(args, "lun");
	const char *id = arg_string(args, "id");
	struct device *at = NULL;
	int ret;

	if (!id && !placed && path)
		return find_by_path(vm, path, out, e);
	ret = id && !placed ? 0 : find_by_address(vm, args, &at, e);
	if (ret)
		return ret;
	*out = id ? vm_device_find(vm, id) : at;
	if (!*out || !disk_of(*out))
		return no_disk("id", id, e);
	if (placed && *out != at)
		return error_class_set(e, ERROR_NOT_ATTACHED, -ENOENT,
				       "disk '%s' is not at that address", id);
	if (path && strcmp(disk_of(*out)->path, path))
		return error_class_set(e, ERROR_NOT_ATTACHED, -ENOENT,
				       "disk '%s' is %s, not %s", (*out)->id,
				       disk_of(*out)->path, path);
	return 0;
}

static int disk_remove(struct session *s, struct json_object *args,
		       struct json_object **result, struct error *e)
{
	struct device *device;
	int ret = disk_find(s->monitor->vm, args, arg_string(args, "path"),
			    &device, e);

	(void)result;
	return ret ? ret : wait_remove_device(
				   s, device,
				   arg_uint(args, "timeout-ms",
					    REMOVE_TIMEOUT_MS),
				   arg_bool(args, "force", false), e);
}

/* Another image, or another size of the one that is there. */
static int disk_update(struct session *s, struct json_object *args,
		       struct json_object **result, struct error *e)
{
	struct vm *vm = s->monitor->vm;
	const char *path = arg_string(args, "path");
	uint64_t size = arg_uint(args, "size", 0);
	struct config_disk disk = { .path = (char *)path };
	struct device *device;
	int ret;

	/* Its path is the new image's. */
	if (!arg_string(args, "id") &&
	    !json_object_object_get_ex(args, "controller", NULL))
		return error_class_set(e, ERROR_MISSING_PARAMETER, -EINVAL,
				       "which disk: id, or controller and lun");
	ret = disk_find(vm, args, NULL, &device, e);
	if (!ret && !path == !json_object_object_get_ex(args, "size", NULL))
		ret = error_class_set(e, ERROR_MISSING_PARAMETER, -EINVAL,
				      "either a path or a size");
	if (!ret && !path)
		ret = vm_disk_resize(vm, device->id, size, e);
	if (ret || !path)
		return ret;
	disk.readonly = arg_bool(args, "readonly", disk_of(device)->readonly);
	disk.direct = disk_of(device)->direct;
	ret = parse_format(args, path, &disk.format, e);
	if (!ret)
		ret = check_path(vm, &disk, e);
	if (!ret)
		ret = error_of_named(e, vm_disk_replace(vm, device, &disk, e));
	ret = attached_error(vm, path, ret, e);
	if (!ret)
		*result = disk_json(device);
	return ret;
}

static const struct command_arg add_args[] = {
	{ "path", ARG_STRING, true },
	{ "controller", ARG_UINT, false },
	{ "lun", ARG_UINT, false },
	{ "id", ARG_STRING, false },
	{ "format", ARG_STRING, false },
	{ "readonly", ARG_BOOL, false },
	{ "direct", ARG_BOOL, false },
	{ "flush", ARG_BOOL, false },
	{ "queues", ARG_UINT, false },
	{ "serial", ARG_STRING, false },
	{ 0 },
};

static const struct command_arg remove_args[] = {
	{ "path", ARG_STRING, false },
	{ "controller", ARG_UINT, false },
	{ "lun", ARG_UINT, false },
	{ "id", ARG_STRING, false },
	{ "timeout-ms", ARG_UINT, false },
	{ "force", ARG_BOOL, false },
	{ 0 },
};

static const struct command_arg update_args[] = {
	{ "controller", ARG_UINT, false },
	{ "lun", ARG_UINT, false },
	{ "id", ARG_STRING, false },
	{ "path", ARG_STRING, false },
	{ "format", ARG_STRING, false },
	{ "readonly", ARG_BOOL, false },
	{ "size", ARG_UINT, false },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "disk-add",
		.help = "Add a disk: path, [controller], [lun], [id], "
			"[readonly], ...",
		.args = add_args,
		.resource = true,
		.run = disk_add,
	}, {
		.name = "disk-remove",
		.help = "Take a disk away: id, path or controller and lun, "
			"[timeout-ms] (30 s), [force]",
		.args = remove_args,
		.resource = true,
		.run = disk_remove,
	}, {
		.name = "disk-update",
		.help = "Change a disk, id or controller and lun: another path, "
			"[format], [readonly], or another size in bytes",
		.args = update_args,
		.resource = true,
		.run = disk_update,
	},
};

const struct command_group disk_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
