/* SPDX-License-Identifier: MIT */
/* pmem-add, pmem-remove, and device_add virtio-pmem-pci. Main thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "monitor/drivers.h"
#include "monitor/objects.h"

static const struct config_pmem *pmem_of(const struct device *d)
{
	return d->type == DEVICE_PMEM ? d->config : NULL;
}

static struct device *find_slot(struct vm *vm, uint64_t slot)
{
	for (struct device *d = vm_device_first(vm); d; d = d->next)
		if (pmem_of(d) && vm_pmem_slot(d) == slot)
			return d;
	return NULL;
}

static struct device *find_path(struct vm *vm, const char *path)
{
	for (struct device *d = vm_device_first(vm); d; d = d->next)
		if (pmem_of(d) && !strcmp(pmem_of(d)->path, path))
			return d;
	return NULL;
}

/* The format goes by the file's name: what is said must agree. */
static int check_format(struct json_object *args, const char *path,
			struct error *e)
{
	const char *format = arg_string(args, "format");
	const char *found = vm_image_format(path);

	if (!format || !strcmp(format, found))
		return 0;
	if (strcmp(format, "raw") && strcmp(format, "vhd"))
		return error_config(e, -EINVAL, "format: '%s' is neither raw "
				    "nor vhd", format);
	return error_class_set(e, ERROR_NOT_SUPPORTED, -EINVAL,
			       "format: by its name %s is %s", path, found);
}

/* The slot: the one asked for, or the lowest that is free. */
static int choose_slot(struct vm *vm, struct json_object *args,
		       unsigned int *slot, struct error *e)
{
	unsigned int count = vm_config(vm)->pmem_max;
	uint64_t wanted = arg_uint(args, "slot", 0);
	bool given = arg_given(args, "slot");

	if (given && wanted >= count)
		return error_config(e, -ERANGE, "slot %llu is not 0 to %u "
				    "(--pmem-max)", (unsigned long long)wanted,
				    count - 1);
	if (given && find_slot(vm, wanted))
		return error_class_set(e, ERROR_ALREADY_ATTACHED, -EBUSY,
				       "slot %llu is taken",
				       (unsigned long long)wanted);
	if (given) {
		*slot = (unsigned int)wanted;
		return 0;
	}
	for (*slot = 0; *slot < count; ++*slot)
		if (!find_slot(vm, *slot))
			return 0;
	return error_class_set(e, ERROR_TOO_MANY_ATTACHMENTS, -ENOSPC,
			       "there are %u pmem devices already", count);
}

static int choose_id(struct vm *vm, struct json_object *args, unsigned int slot,
		     char *buf, size_t size, struct error *e)
{
	const char *id = arg_string(args, "id");
	unsigned int again = 0;
	int ret = id_check(id, "id", e);

	if (!ret && id && vm_device_find(vm, id))
		ret = error_class_set(e, ERROR_ALREADY_ATTACHED, -EEXIST,
				      "there is a device '%s' already", id);
	if (id)
		snprintf(buf, size, "%s", id);
	else
		snprintf(buf, size, "pmem-%u", slot);
	while (!id && vm_device_find(vm, buf))
		snprintf(buf, size, "pmem-%u-%u", slot, ++again);
	return ret;
}

static struct json_object *pmem_json(const struct device *d)
{
	const struct pci_function *f = device_function(d);
	struct json_object *o = json_object_new_object();
	char pci[32];

	snprintf(pci, sizeof(pci), "0000:%02x:%02x.0", f->bus, f->slot);
	json_object_object_add(o, "id", json_object_new_string(d->id));
	json_object_object_add(o, "slot",
			       json_object_new_int64(vm_pmem_slot(d)));
	json_object_object_add(o, "pci", json_object_new_string(pci));
	json_object_object_add(o, "guest-name", NULL);
	return o;
}

static int pmem_add(struct session *s, struct json_object *args,
		    struct json_object **result, struct error *e)
{
	struct vm *vm = s->monitor->vm;
	struct config_pmem pmem = {
		.path = (char *)arg_string(args, "path"),
		.readonly = arg_bool(args, "readonly", false),
		.has_slot = true,
	};
	struct device_spec spec = {
		.type = DEVICE_PMEM, .config = &pmem, .bus = -1, .slot = -1,
	};
	const struct device *there = find_path(vm, pmem.path);
	struct device *device;
	char id[160];
	int ret = check_format(args, pmem.path, e);

	if (!ret && there && !(pmem.readonly && pmem_of(there)->readonly))
		ret = error_class_set(e, ERROR_ALREADY_ATTACHED, -EBUSY,
				      "%s is in slot %u already", pmem.path,
				      vm_pmem_slot(there));
	if (!ret)
		ret = choose_slot(vm, args, &pmem.slot, e);
	if (!ret)
		ret = choose_id(vm, args, pmem.slot, id, sizeof(id), e);
	if (ret)
		return ret;
	pmem.id = id;
	spec.id = id;
	ret = error_of_named(e, vm_device_add(vm, &spec, &device, e));
	ret = attached_error(vm, pmem.path, ret, e);
	if (!ret)
		*result = pmem_json(device);
	return ret;
}

/* All that is said of it must hold, or it is not the one that is meant. */
static int check_agrees(const struct device *d, struct json_object *args,
			struct error *e)
{
	const char *path = arg_string(args, "path");
	unsigned int slot = vm_pmem_slot(d);

	if (arg_uint(args, "slot", slot) == slot &&
	    (!path || !strcmp(pmem_of(d)->path, path)))
		return 0;
	return error_class_set(e, ERROR_NOT_ATTACHED, -ENOENT,
			       "pmem device '%s' is %s, in slot %u", d->id,
			       pmem_of(d)->path, slot);
}

static int pmem_remove(struct session *s, struct json_object *args,
		       struct json_object **result, struct error *e)
{
	struct vm *vm = s->monitor->vm;
	const char *id = arg_string(args, "id");
	const char *path = arg_string(args, "path");
	bool placed = arg_given(args, "slot");
	struct device *d;
	int ret;

	(void)result;
	if (!id && !path && !placed)
		return error_class_set(e, ERROR_MISSING_PARAMETER, -EINVAL,
				       "which pmem device: id, path or slot");
	d = id ? vm_device_find(vm, id) :
	    placed ? find_slot(vm, arg_uint(args, "slot", 0)) :
		     find_path(vm, path);
	if (!d || !pmem_of(d) || !d->id)
		return error_class_set(e, ERROR_NOT_ATTACHED, -ENOENT,
				       "there is no such pmem device: %s",
				       id ? id : placed ? "that slot is free" :
							  path);
	ret = check_agrees(d, args, e);
	return ret ? ret : wait_remove_device(
				   s, d, arg_uint(args, "timeout-ms",
						  REMOVE_TIMEOUT_MS),
				   arg_bool(args, "force", false), e);
}

/* ---- device_add ---------------------------------------------------------- */

const struct prop driver_pmem_props[] = {
	{ "memdev", PROP_STRING, true },
	{ 0 },
};

int driver_pmem_add(struct session *s, struct json_object *args,
		    struct device_spec spec, struct error *e)
{
	const struct object *o = object_find(s->monitor,
					     prop_string(args, "memdev"),
					     "memory-backend-file", "memdev",
					     e);
	struct config_pmem pmem = { .id = (char *)spec.id };
	int ret;

	if (!o)
		return -ENOENT;
	pmem.readonly = prop_bool(o->props, "readonly", false);
	/* It is the file that the guest writes to: never a private copy. */
	if (!prop_bool(o->props, "share", true) && !pmem.readonly)
		return error_class_set(e, ERROR_NOT_SUPPORTED, -EINVAL,
				       "memdev: '%s': share off is not "
				       "supported", o->id);
	pmem.path = (char *)prop_string(o->props, "mem-path");
	ret = choose_slot(s->monitor->vm, args, &pmem.slot, e);
	if (ret)
		return ret;
	pmem.has_slot = true;
	spec.type = DEVICE_PMEM;
	spec.object = o->id;
	spec.config = &pmem;
	return vm_device_add(s->monitor->vm, &spec, NULL, e);
}

static const struct command_arg add_args[] = {
	{ "path", ARG_STRING, true },
	{ "slot", ARG_UINT, false },
	{ "id", ARG_STRING, false },
	{ "readonly", ARG_BOOL, false },
	{ "format", ARG_STRING, false },
	{ 0 },
};

static const struct command_arg remove_args[] = {
	{ "path", ARG_STRING, false },
	{ "slot", ARG_UINT, false },
	{ "id", ARG_STRING, false },
	{ "timeout-ms", ARG_UINT, false },
	{ "force", ARG_BOOL, false },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "pmem-add",
		.help = "Add a persistent memory device: path, [slot], [id], "
			"[readonly], [format]",
		.args = add_args,
		.resource = true,
		.run = pmem_add,
	}, {
		.name = "pmem-remove",
		.help = "Take one away: id, path or slot, [timeout-ms] (30 s), "
			"[force]",
		.args = remove_args,
		.resource = true,
		.run = pmem_remove,
	},
};

const struct command_group pmem_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
