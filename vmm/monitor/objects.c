/* SPDX-License-Identifier: MIT */
/* object-add and object-del. Main thread. */
#include "monitor/objects.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/internal.h"
#include "vm_devices.h"
#include "vm_dimms.h"
#include "vm_mems.h"

static const struct prop rng_random_props[] = {
	{ "filename", PROP_STRING, false },
	{ 0 },
};

static const struct prop rng_builtin_props[] = { { 0 } };

/* What all memory has that means nothing here: the host's nodes, and how QEMU
 * saves it. */
#define MEMORY_PROPS                            \
	{ "share", PROP_BOOL, false },          \
	{ "prealloc", PROP_BOOL, false },       \
	{ "prealloc-threads", PROP_IGNORED, false }, \
	{ "host-nodes", PROP_IGNORED, false },  \
	{ "policy", PROP_IGNORED, false },      \
	{ "merge", PROP_IGNORED, false },       \
	{ "dump", PROP_IGNORED, false },        \
	{ "reserve", PROP_IGNORED, false },     \
	{ "x-use-canonical-path-for-ramblock-id", PROP_IGNORED, false }

/* For a virtio-pmem what it does not say is as for --pmem. */
static const struct prop memory_file_props[] = {
	MEMORY_PROPS,
	{ "mem-path", PROP_STRING, true },
	{ "size", PROP_UINT, false },
	{ "readonly", PROP_BOOL, false },
	{ "pmem", PROP_IGNORED, false },
	{ "align", PROP_IGNORED, false },
	{ "discard-data", PROP_IGNORED, false },
	{ 0 },
};

static const struct prop memory_ram_props[] = {
	MEMORY_PROPS,
	{ "size", PROP_UINT, true },
	{ 0 },
};

static const struct prop memory_memfd_props[] = {
	MEMORY_PROPS,
	{ "size", PROP_UINT, true },
	{ "hugetlb", PROP_BOOL, false },
	{ "hugetlbsize", PROP_IGNORED, false },
	{ "seal", PROP_IGNORED, false },
	{ 0 },
};

/* QEMU's words. */
static int check_memory(struct json_object *props, struct error *e)
{
	if (prop_uint(props, "size", 0))
		return 0;
	return error_set(e, -EINVAL, "property 'size' doesn't take value '0'");
}

/* For virtio-9p-pci; QEMU's -fsdev local. */
static const struct prop fsdev_local_props[] = {
	{ "path", PROP_STRING, true },
	{ "readonly", PROP_BOOL, false },
	{ "security_model", PROP_IGNORED, false },
	{ "multidevs", PROP_IGNORED, false },
	{ 0 },
};

static const struct object_type types[] = {
	{ "fsdev-local", fsdev_local_props, NULL },
	{ "memory-backend-file", memory_file_props, NULL },
	{ "memory-backend-memfd", memory_memfd_props, check_memory },
	{ "memory-backend-ram", memory_ram_props, check_memory },
	{ "rng-random", rng_random_props, NULL },
	{ "rng-builtin", rng_builtin_props, NULL },
};

static const struct prop common_props[] = {
	{ "qom-type", PROP_STRING, true },
	{ "id", PROP_STRING, true },
	{ 0 },
};

static const struct object_type *find_type(const char *name)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(types[i].name, name))
			return &types[i];
	return NULL;
}

static struct object **link_of(struct monitor *m, const char *id)
{
	struct object **link = &m->objects;

	while (*link && strcmp((*link)->id, id))
		link = &(*link)->next;
	return link;
}

static void destroy(struct object *o)
{
	json_object_put(o->props);
	free(o->id);
	free(o);
}

const struct object *object_find(const struct monitor *m, const char *id,
				 const char *type, const char *property,
				 struct error *e)
{
	for (const struct object *o = m->objects; o; o = o->next) {
		if (strcmp(o->id, id))
			continue;
		if (!strcmp(o->type->name, type))
			return o;
		error_set(e, -EINVAL, "Property '%s': '%s' is a %s", property,
			  id, o->type->name);
		return NULL;
	}
	error_class_set(e, ERROR_DEVICE_NOT_FOUND, -ENOENT,
			"Property '%s': there is no object '%s'", property, id);
	return NULL;
}

/*
 * Until QEMU 6.0 the properties were in an object of their own, `props`; both
 * forms are taken.
 */
static struct json_object *flatten(struct json_object *args)
{
	struct json_object *flat = json_object_new_object(), *props;

	json_object_object_foreach(args, key, value) {
		if (!strcmp(key, "props"))
			continue;
		json_object_object_add(flat, key, json_object_get(value));
	}
	if (json_object_object_get_ex(args, "props", &props) &&
	    json_object_is_type(props, json_type_object)) {
		json_object_object_foreach(props, name, v) {
			json_object_object_add(flat, name, json_object_get(v));
		}
	}
	return flat;
}

static int add(struct monitor *m, struct json_object *props, struct error *e)
{
	const char *type_name = prop_string(props, "qom-type");
	const char *id = prop_string(props, "id");
	const struct object_type *type;
	struct object *o;
	int ret;

	type = type_name ? find_type(type_name) : NULL;
	if (!type)
		return error_set(e, -EINVAL, "Invalid parameter '%s'",
				 type_name ? type_name : "qom-type");
	ret = props_check(props, type->name, common_props, type->props, e);
	if (!ret)
		ret = id_check(id, "id", e);
	if (!ret && *link_of(m, id))
		ret = error_set(e, -EEXIST, "attempt to add duplicate property "
				"'%s' to object (type 'container')", id);
	if (!ret && type->check)
		ret = type->check(props, e);
	if (ret)
		return ret;
	o = calloc(1, sizeof(*o));
	if (!o)
		return error_set(e, -ENOMEM, "out of memory");
	o->id = strdup(id);
	if (!o->id) {
		free(o);
		return error_set(e, -ENOMEM, "out of memory");
	}
	o->type = type;
	o->props = json_object_get(props);
	o->next = m->objects;
	m->objects = o;
	return 0;
}

static int object_add(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	struct json_object *props = flatten(args);
	int ret = add(s->monitor, props, e);

	(void)result;
	json_object_put(props);
	return ret;
}

static bool in_use(struct vm *vm, const char *id)
{
	for (const struct device *d = vm_device_first(vm); d; d = d->next)
		if (d->object && !strcmp(d->object, id))
			return true;
	return vm_dimm_of(vm, id) || vm_mem_of(vm, id) >= 0;
}

static int object_del(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	const char *id = arg_string(args, "id");
	struct object **link = link_of(s->monitor, id), *o = *link;

	(void)result;
	if (!o)
		return error_set(e, -ENOENT, "object '%s' not found", id);
	if (in_use(s->monitor->vm, id))
		return error_set(e, -EBUSY, "object '%s' is in use, can not be "
				 "deleted", id);
	*link = o->next;
	destroy(o);
	return 0;
}

void objects_destroy(struct monitor *m)
{
	struct object *next;

	for (struct object *o = m->objects; o; o = next) {
		next = o->next;
		destroy(o);
	}
	m->objects = NULL;
}

static const struct command_arg id_args[] = {
	{ "id", ARG_STRING, true },
	{ 0 },
};

static const struct command_arg add_args[] = {
	{ "qom-type", ARG_STRING, true },
	{ "id", ARG_STRING, true },
	{ "props", ARG_OBJECT, false },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "object-add",
		.help = "Make a back end: qom-type (rng-random, memory-backend-ram, "
			"…), id, what it has",
		.args = add_args,
		.open = true,
		.run = object_add,
	}, {
		.name = "object-del",
		.help = "Forget a back end, id",
		.args = id_args,
		.run = object_del,
	},
};

const struct command_group object_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
