/* SPDX-License-Identifier: MIT */
/* query-block. Main thread. */
#include <stdio.h>

#include "monitor/internal.h"
#include "vm_devices.h"

static void put_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static void put_bool(struct json_object *o, const char *key, bool value)
{
	json_object_object_add(o, key, json_object_new_boolean(value));
}

static void put_number(struct json_object *o, const char *key, uint64_t n)
{
	json_object_object_add(o, key, json_object_new_uint64(n));
}

/* Disks of the command line have no node name; QEMU makes one up, too. */
void query_block_put_node(struct json_object *o, const struct device *d)
{
	const struct config_disk *disk = d->config;
	char name[160];

	snprintf(name, sizeof(name), "#%s", d->id ? d->id : "");
	put_text(o, "node-name", disk->node ? disk->node : name);
}

static struct json_object *image_json(const struct config_disk *disk,
				      uint64_t size_bytes)
{
	static const char *const formats[] = {
		[DISK_RAW] = "raw", [DISK_VHD] = "vpc",
	};
	struct json_object *o = json_object_new_object();

	put_text(o, "filename", disk->path);
	put_text(o, "format", formats[disk->format]);
	put_number(o, "virtual-size", size_bytes);
	return o;
}

static struct json_object *inserted_json(struct vm *vm, const struct device *d)
{
	static const char *const limits[] = {
		"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr",
	};
	const struct config_disk *disk = d->config;
	struct json_object *o = json_object_new_object();
	struct json_object *cache = json_object_new_object();
	struct json_object *image;

	image = image_json(disk, vm_disk_size_bytes(vm, d));
	put_text(o, "file", disk->path);
	query_block_put_node(o, d);
	put_bool(o, "ro", disk->readonly);
	put_text(o, "drv", "raw");
	put_number(o, "backing_file_depth", 0);
	put_bool(o, "encrypted", false);
	put_text(o, "detect_zeroes", "off");
	put_number(o, "write_threshold", 0);
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		put_number(o, limits[i], 0);
	put_bool(cache, "writeback", true);
	put_bool(cache, "direct", disk->direct);
	put_bool(cache, "no-flush", disk->no_flush);
	json_object_object_add(o, "cache", cache);
	json_object_object_add(o, "image", image);
	return o;
}

void query_block_put_device(struct json_object *o, const struct device *d)
{
	char path[200];

	put_text(o, "device", "");
	snprintf(path, sizeof(path), "/machine/peripheral%s%s/virtio-backend",
		 d->id ? "/" : "-anon", d->id ? d->id : "");
	put_text(o, "qdev", path);
}

static int query_block(struct session *s, struct json_object *args,
		       struct json_object **result, struct error *e)
{
	struct vm *vm = s->monitor->vm;

	(void)args;
	(void)e;
	*result = json_object_new_array();
	for (const struct device *d = vm_device_first(vm); d; d = d->next) {
		struct json_object *o;

		if (d->type != DEVICE_DISK)
			continue;
		o = json_object_new_object();
		query_block_put_device(o, d);
		put_text(o, "type", "unknown");
		put_text(o, "io-status", "ok");
		put_bool(o, "removable", false);
		put_bool(o, "locked", false);
		json_object_object_add(o, "inserted", inserted_json(vm, d));
		json_object_array_add(*result, o);
	}
	return 0;
}

static const struct command commands[] = {
	{
		.name = "query-block",
		.help = "The disks and their images",
		.run = query_block,
	},
};

const struct command_group query_block_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
