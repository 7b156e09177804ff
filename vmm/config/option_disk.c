/* SPDX-License-Identifier: MIT */
/* --disk, --rootfs, --disk-controllers: reading and printing them. Main thread. */
#include "config/option_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/option_fields.h"
#include "config/option_list.h"

static const char *const formats[] = { "raw", "vhd", NULL };

static const char *const rootfs_types[] = { "disk", "pmem", "initrd", NULL };

const struct field option_disk_fields[] = {
	FIELD(config_disk, FIELD_STRING, path, .name = "path",
	      .argument = "FILE", .help = "an image or a block device"),
	FIELD(config_disk, FIELD_STRING, id, .name = "id", .argument = "ID",
	      .help = "default disk0, disk1, ..."),
	FIELD(config_disk, FIELD_ENUM, format, .name = "format",
	      .names = formats, .argument = "raw|vhd",
	      .help = "vhd: a fixed VHD; default vhd for *.vhd, else raw"),
	FIELD(config_disk, FIELD_BOOL, readonly, .name = "readonly",
	      .argument = "on|off", .help = "default off; ro is readonly=on"),
	FIELD(config_disk, FIELD_BOOL, direct, .name = "direct",
	      .argument = "on|off",
	      .help = "on: past the host's page cache; default off"),
	FIELD(config_disk, FIELD_BOOL, no_flush, .name = "flush",
	      .inverted = true, .argument = "on|off",
	      .help = "off: the guest's flushes do nothing; default on"),
	FIELD(config_disk, FIELD_UINT, queues, .name = "queues",
	      .argument = "N",
	      .help = "1 to 64, served by up to 16 threads; default 1"),
	FIELD(config_disk, FIELD_STRING, serial, .name = "serial",
	      .argument = "TEXT",
	      .help = "what the guest sees, up to 20 bytes; default the id"),
	{ 0 },
};

const struct field option_rootfs_fields[] = {
	FIELD(config_rootfs, FIELD_STRING, path, .name = "path"),
	FIELD(config_rootfs, FIELD_ENUM, type, .name = "type",
	      .names = rootfs_types, .argument = "disk|pmem|initrd",
	      .help = "disk (default): /dev/vda; pmem:\n"
		      "/dev/pmem0; initrd: as --initrd does"),
	FIELD(config_rootfs, FIELD_BOOL, readonly, .name = "readonly",
	      .argument = "on|off",
	      .help = "for the disk or pmem; default off"),
	{ 0 },
};

static int set_one_disk(struct vm_config *c, const struct option *o,
			struct json_object *v, const char *label,
			struct error *e)
{
	struct config_disk d = { .format = DISK_BY_NAME, .queues = 1 }, *p;
	int ret = option_fields_set(&d, o, v, label, e);

	if (!ret && !d.path)
		ret = error_config(e, -EINVAL, "%s: no path", label);
	p = ret ? NULL : realloc(c->disks, (c->disk_count + 1) * sizeof(*p));
	if (!p) {
		config_disk_deinit(&d);
		return ret ? ret : error_set(e, -ENOMEM, "out of memory");
	}
	c->disks = p;
	p[c->disk_count++] = d;
	return 0;
}

/* A list in a document, one at a time on the command line. */
int option_disk_set(struct vm_config *c, const struct option *o,
		    struct json_object *v, const char *label, struct error *e)
{
	return option_list_set(c, o, v, label, set_one_disk, e);
}

static struct config_disk *find_disk(const struct vm_config *c, size_t from,
				     size_t to, const char *id)
{
	for (size_t i = from; id && i < to; i++)
		if (c->disks[i].id && !strcmp(c->disks[i].id, id))
			return &c->disks[i];
	return NULL;
}

int option_disk_fold(struct vm_config *c, size_t first, struct error *e)
{
	size_t count = c->disk_count, kept = first;
	struct config_disk *old;

	for (size_t i = first; i < count; i++)
		if (find_disk(c, first, i, c->disks[i].id))
			return error_config(e, -EINVAL, "--disk: id '%s' is "
					    "given twice", c->disks[i].id);
	for (size_t i = first; i < count; i++) {
		old = find_disk(c, 0, first, c->disks[i].id);
		if (old)
			config_disk_deinit(old);
		else
			old = &c->disks[kept++];
		*old = c->disks[i];
	}
	c->disk_count = kept;
	return 0;
}

struct json_object *option_disk_get(const struct vm_config *c,
				    const struct option *o)
{
	return option_list_json(c->disks, c->disk_count, sizeof(*c->disks),
				o->fields);
}

int option_rootfs_set(struct vm_config *c, const struct option *o,
		      struct json_object *v, const char *label, struct error *e)
{
	int ret;

	free(c->rootfs.path);
	c->rootfs = (struct config_rootfs){ 0 };
	ret = option_fields_set(&c->rootfs, o, v, label, e);
	if (!ret && !c->rootfs.path)
		ret = error_config(e, -EINVAL, "%s: no path", label);
	return ret;
}

struct json_object *option_rootfs_get(const struct vm_config *c,
				      const struct option *o)
{
	return c->rootfs.path ? option_fields_json(&c->rootfs, o->fields) :
				NULL;
}

int option_controllers_set(struct vm_config *c, const struct option *o,
			   struct json_object *v, const char *label,
			   struct error *e)
{
	const char *text = json_object_get_string(v);

	(void)o;
	if (!text || text[0] < '0' || text[0] > '0' + CONFIG_DISK_CONTROLLERS ||
	    text[1])
		return error_config(e, -EINVAL, "%s: '%s' is not 0 to %d", label,
				    text ? text : "null",
				    CONFIG_DISK_CONTROLLERS);
	c->disk_controllers = (unsigned int)(text[0] - '0');
	return 0;
}

struct json_object *option_controllers_get(const struct vm_config *c,
					   const struct option *o)
{
	(void)o;
	return c->disk_controllers == CONFIG_DISK_CONTROLLERS ? NULL :
	       json_object_new_int64(c->disk_controllers);
}
