/* SPDX-License-Identifier: MIT */
/* device_add of a pc-dimm, and the objects that its memory is. Main thread. */
#include <errno.h>
#include <string.h>

#include "monitor/drivers.h"
#include "monitor/objects.h"
#include "vm_dimms.h"

const struct prop driver_dimm_props[] = {
	{ "memdev", PROP_STRING, true },
	{ "slot", PROP_UINT, false },
	/* There is one node, and no label area. */
	{ "node", PROP_IGNORED, false },
	{ "label-size", PROP_IGNORED, false },
	{ "unarmed", PROP_IGNORED, false },
	{ 0 },
};

/* The object of one of the types that are memory. */
static const struct object *find_memory(const struct monitor *m,
					const char *id, struct error *e)
{
	static const char *const types[] = {
		"memory-backend-memfd", "memory-backend-file",
	};
	const struct object *o = NULL;

	for (size_t i = 0; !o && i < sizeof(types) / sizeof(types[0]); i++)
		o = object_find(m, id, types[i], "memdev", NULL);
	return o ? o : object_find(m, id, "memory-backend-ram", "memdev", e);
}

int object_memory(const struct monitor *m, const char *id,
		  struct config_memory *out, struct error *e)
{
	const struct object *o = find_memory(m, id, e);

	if (!o)
		return -ENOENT;
	*out = (struct config_memory){
		.size_bytes = prop_uint(o->props, "size", 0),
		.path = (char *)prop_string(o->props, "mem-path"),
		/* QEMU's default for a memfd. */
		.share = prop_bool(o->props, "share",
				   !strcmp(o->type->name,
					   "memory-backend-memfd")),
		.prealloc = prop_bool(o->props, "prealloc", false),
		.hugepages = prop_bool(o->props, "hugetlb", false),
	};
	if (prop_bool(o->props, "readonly", false))
		return error_class_set(e, ERROR_NOT_SUPPORTED, -EINVAL,
				       "memdev: '%s' is read-only", id);
	if (!out->size_bytes)
		return error_set(e, -EINVAL, "memdev: '%s' has no size", id);
	return 0;
}

/* Where in the guest's address space; for PCI devices it is something else. */
static int parse_address(struct json_object *args, gpa_t *out, struct error *e)
{
	static const struct prop addr = { "addr", PROP_UINT, false };
	struct json_object *v;
	int ret = 0;

	if (json_object_object_get_ex(args, "addr", &v))
		ret = prop_check(&addr, v, e);
	*out = prop_uint(args, "addr", 0);
	return ret;
}

int driver_dimm_add(struct session *s, struct json_object *args,
		    struct device_spec spec, struct error *e)
{
	const char *memdev = prop_string(args, "memdev");
	struct dimm_spec dimm = {
		.id = spec.id, .memdev = memdev,
		.has_slot = json_object_object_get_ex(args, "slot", NULL),
		.slot = prop_uint(args, "slot", 0),
	};
	int ret = parse_address(args, &dimm.base, e);

	if (!ret)
		ret = object_memory(s->monitor, memdev, &dimm.backing, e);
	return ret ? ret : vm_dimm_add(s->monitor->vm, &dimm, e);
}
