/* SPDX-License-Identifier: MIT */
/* blockdev-add and blockdev-del. Main thread. */
#include "monitor/block_nodes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/internal.h"
#include "monitor/props.h"
#include "vm_devices.h"

#define NAME_MAX_BYTES 31	/* QEMU's bound for node names */

struct block_node *block_node_find(const struct monitor *m, const char *name)
{
	for (struct block_node *n = m->block_nodes; n; n = n->next)
		if (!strcmp(n->name, name))
			return n;
	return NULL;
}

static const struct block_node *node_over(const struct monitor *m,
					  const struct block_node *node)
{
	for (const struct block_node *n = m->block_nodes; n; n = n->next)
		if (n->child && !strcmp(n->child, node->name))
			return n;
	return NULL;
}

const struct device *block_node_user(const struct monitor *m,
				     const struct block_node *node)
{
	for (; node; node = node_over(m, node)) {
		for (const struct device *d = vm_device_first(m->vm); d;
		     d = d->next) {
			const struct config_disk *disk = d->config;

			if (d->type == DEVICE_DISK && disk->node &&
			    !strcmp(disk->node, node->name))
				return d;
		}
	}
	return NULL;
}

static void destroy(struct block_node *n)
{
	free(n->name);
	free(n->driver);
	free(n->child);
	config_disk_deinit(&n->disk);
	free(n);
}

void block_nodes_destroy(struct monitor *m)
{
	struct block_node *next;

	for (struct block_node *n = m->block_nodes; n; n = next) {
		next = n->next;
		destroy(n);
	}
	m->block_nodes = NULL;
}

/* ---- blockdev-add -------------------------------------------------------- */

/* Of a protocol node, and of a format node over it: "file" is apart. */
static const struct prop node_props[] = {
	{ "driver", PROP_STRING, true },
	{ "node-name", PROP_STRING, false },
	{ "read-only", PROP_BOOL, false },
	{ "auto-read-only", PROP_IGNORED, false },
	{ "force-share", PROP_IGNORED, false },
	{ "discard", PROP_IGNORED, false },
	{ "detect-zeroes", PROP_IGNORED, false },
	{ "cache", PROP_IGNORED, false },	/* parse_cache() */
	{ 0 },
};

static const struct prop protocol_props[] = {
	{ "filename", PROP_STRING, true },
	{ "aio", PROP_IGNORED, false },
	{ "locking", PROP_IGNORED, false },
	{ 0 },
};

static const struct prop raw_props[] = {
	{ "file", PROP_IGNORED, true },		/* parse_file() */
	{ 0 },
};

static const struct prop cache_props[] = {
	{ "direct", PROP_BOOL, false },
	{ "no-flush", PROP_BOOL, false },
	{ 0 },
};

static int no_memory(struct error *e)
{
	return error_set(e, -ENOMEM, "out of memory");
}

static int set(char **out, const char *text, struct error *e)
{
	free(*out);
	*out = strdup(text);
	return *out ? 0 : no_memory(e);
}

static int parse_cache(struct json_object *args, struct block_node *n,
		       struct error *e)
{
	struct json_object *cache;
	int ret;

	if (!json_object_object_get_ex(args, "cache", &cache))
		return 0;
	if (!json_object_is_type(cache, json_type_object))
		return error_set(e, -EINVAL, "Invalid parameter type for "
				 "'cache', expected: object");
	ret = props_check(cache, "cache", cache_props, NULL, e);
	if (ret)
		return ret;
	n->disk.direct = prop_bool(cache, "direct", n->disk.direct);
	n->disk.no_flush = prop_bool(cache, "no-flush", n->disk.no_flush);
	return 0;
}

static int parse_protocol(struct json_object *args, struct block_node *n,
			  struct error *e)
{
	const char *driver = prop_string(args, "driver");
	int ret;

	if (!driver || (strcmp(driver, "file") && strcmp(driver, "host_device")))
		return error_set(e, -EINVAL, "Unknown driver '%s': there are "
				 "raw, file and host_device",
				 driver ? driver : "null");
	ret = props_check(args, driver, node_props, protocol_props, e);
	if (!ret)
		ret = set(&n->driver, driver, e);
	if (!ret)
		ret = set(&n->disk.path, prop_string(args, "filename"), e);
	if (!ret)
		n->disk.readonly = prop_bool(args, "read-only",
					     n->disk.readonly);
	return ret ? ret : parse_cache(args, n, e);
}

/* "file" of a raw node: a node's name, or a protocol node on the spot. */
static int parse_file(const struct monitor *m, struct json_object *args,
		      struct block_node *n, struct error *e)
{
	struct json_object *file = json_object_object_get(args, "file");
	const char *name = prop_string(args, "file");
	const struct block_node *child;
	int ret;

	if (json_object_is_type(file, json_type_object))
		return parse_protocol(file, n, e);
	child = name ? block_node_find(m, name) : NULL;
	if (!child)
		return error_set(e, -ENOENT, "Cannot find device='' nor "
				 "node-name='%s'", name ? name : "null");
	if (node_over(m, child) || block_node_user(m, child))
		return error_set(e, -EBUSY, "Node '%s' is in use", name);
	ret = set(&n->child, name, e);
	if (!ret)
		ret = set(&n->driver, child->driver, e);
	if (!ret)
		ret = set(&n->disk.path, child->disk.path, e);
	n->disk.readonly = child->disk.readonly;
	n->disk.direct = child->disk.direct;
	n->disk.no_flush = child->disk.no_flush;
	return ret;
}

static int parse(const struct monitor *m, struct json_object *args,
		 struct block_node *n, struct error *e)
{
	const char *driver = prop_string(args, "driver");
	bool readonly;
	int ret;

	if (!driver || strcmp(driver, "raw"))
		return parse_protocol(args, n, e);
	ret = props_check(args, driver, node_props, raw_props, e);
	if (!ret)
		ret = parse_file(m, args, n, e);
	if (ret)
		return ret;
	readonly = prop_bool(args, "read-only", n->disk.readonly);
	if (n->disk.readonly && !readonly)
		return error_set(e, -EINVAL, "Block node is read-only");
	n->disk.readonly = readonly;
	return parse_cache(args, n, e);
}

static int check_name(const struct monitor *m, const char *name,
		      struct error *e)
{
	if (!name)
		return error_set(e, -EINVAL, "'node-name' must be specified "
				 "for the root node");
	if (!id_valid(name) || strlen(name) > NAME_MAX_BYTES)
		return error_set(e, -EINVAL, "Invalid node-name: '%s'", name);
	if (block_node_find(m, name))
		return error_set(e, -EEXIST,
				 "Duplicate nodes with node-name='%s'", name);
	return 0;
}

/* /dev/fdset/N is what add-fd gave. */
static int resolve_path(struct monitor *m, struct block_node *n,
			struct error *e)
{
	unsigned int set_id;
	char path[64];
	int fd, len = 0;

	if (sscanf(n->disk.path, "/dev/fdset/%u%n", &set_id, &len) != 1 ||
	    n->disk.path[len])
		return 0;
	fd = fdset_fd(m, set_id, n->disk.readonly);
	if (fd < 0)
		return error_set(e, fd, "Could not open '%s': no such "
				 "descriptor", n->disk.path);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return set(&n->disk.path, path, e);
}

static int blockdev_add(struct session *s, struct json_object *args,
			struct json_object **result, struct error *e)
{
	struct monitor *m = s->monitor;
	const char *name = prop_string(args, "node-name");
	struct block_node *n;
	int ret = check_name(m, name, e);

	(void)result;
	if (ret)
		return ret;
	n = calloc(1, sizeof(*n));
	if (!n)
		return no_memory(e);
	ret = set(&n->name, name, e);
	if (!ret)
		ret = set(&n->disk.node, name, e);
	if (!ret)
		ret = parse(m, args, n, e);
	if (!ret)
		ret = resolve_path(m, n, e);
	if (!ret)
		ret = vm_disk_check(&n->disk, e);
	if (ret) {
		destroy(n);
		return ret;
	}
	n->disk.queues = 1;
	n->next = m->block_nodes;
	m->block_nodes = n;
	return 0;
}

static int blockdev_del(struct session *s, struct json_object *args,
			struct json_object **result, struct error *e)
{
	struct monitor *m = s->monitor;
	const char *name = arg_string(args, "node-name");
	struct block_node *n = block_node_find(m, name), **link;

	(void)result;
	if (!n)
		return error_set(e, -ENOENT, "Failed to find node with "
				 "node-name='%s'", name);
	if (node_over(m, n) || block_node_user(m, n))
		return error_set(e, -EBUSY, "Node %s is in use", name);
	for (link = &m->block_nodes; *link != n;)
		link = &(*link)->next;
	*link = n->next;
	destroy(n);
	return 0;
}

static const struct command_arg add_args[] = {
	{ "driver", ARG_STRING, true },
	{ "node-name", ARG_STRING, false },
	{ 0 },
};

static const struct command_arg del_args[] = {
	{ "node-name", ARG_STRING, true },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "blockdev-add",
		.help = "Name an image: driver=raw node-name file.driver=file "
			"file.filename",
		.args = add_args,
		.open = true,
		.run = blockdev_add,
	}, {
		.name = "blockdev-del",
		.help = "Forget an image that no device uses, node-name",
		.args = del_args,
		.run = blockdev_del,
	},
};

const struct command_group block_node_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
