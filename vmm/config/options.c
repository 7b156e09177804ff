/* SPDX-License-Identifier: MIT */
/* The option table and what sets and prints each option. Main thread. */
#include "config/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/option_9p.h"
#include "config/option_char.h"
#include "config/option_chardev.h"
#include "config/option_device.h"
#include "config/option_disk.h"
#include "config/option_fields.h"
#include "config/option_list.h"
#include "config/option_machine.h"
#include "config/option_net.h"
#include "config/option_pmem.h"

static const char *const incoming_kinds[] = { "off", "defer", NULL };
static const char *const reboot_actions[] = { "reboot", "exit", NULL };
static const char *const panic_actions[] = { "exit", "pause", NULL };
static const char *const log_levels[] = { "error", "warn", "info", "debug",
					  NULL };

static const struct field monitor_fields[] = {
	FIELD(config_monitor, FIELD_STRING, path, .name = "path"),
	FIELD(config_monitor, FIELD_UINT, fd, .name = "fd"),
	{ 0 },
};

static const struct field log_fields[] = {
	FIELD(vm_config, FIELD_ENUM, log_level, .name = "level",
	      .names = log_levels),
	FIELD(vm_config, FIELD_STRING, log_file, .name = "file",
	      .argument = "PATH", .help = "appended to; default stderr"),
	{ 0 },
};

/* ---- setters, one for each shape of option --------------------------- */

static int set_serial(struct vm_config *c, const struct option *o,
		      struct json_object *v, const char *label, struct error *e)
{
	(void)o;
	return option_char_set(&c->serial, v, label, e);
}

static struct json_object *get_serial(const struct vm_config *c,
				      const struct option *o)
{
	(void)o;
	return option_char_json(&c->serial);
}

static int set_console(struct vm_config *c, const struct option *o,
		       struct json_object *v, const char *label,
		       struct error *e)
{
	(void)o;
	return option_char_set(&c->console, v, label, e);
}

static struct json_object *get_console(const struct vm_config *c,
				       const struct option *o)
{
	(void)o;
	return option_char_json(&c->console);
}

static int set_monitor(struct vm_config *c, const struct option *o,
		       struct json_object *v, const char *label,
		       struct error *e)
{
	int ret;

	free(c->monitor.path);
	c->monitor = (struct config_monitor){ .fd = -1 };
	ret = option_fields_set(&c->monitor, o, v, label, e);
	if (!ret && (c->monitor.path != NULL) == (c->monitor.fd >= 0))
		ret = error_config(e, -EINVAL, "%s: either a path or fd=N",
				   label);
	return ret;
}

static struct json_object *get_monitor(const struct vm_config *c,
				       const struct option *o)
{
	struct json_object *object;

	(void)o;
	if (!c->monitor.path && c->monitor.fd < 0)
		return NULL;
	object = json_object_new_object();
	if (c->monitor.path)
		json_object_object_add(object, "path", json_object_new_string(
					       c->monitor.path));
	else
		json_object_object_add(object, "fd",
				       json_object_new_int(c->monitor.fd));
	return object;
}

static int set_log(struct vm_config *c, const struct option *o,
		   struct json_object *v, const char *label, struct error *e)
{
	free(c->log_file);
	c->log_file = NULL;
	c->log_level = LOG_WARN;
	return option_fields_set(c, o, v, label, e);
}

static struct json_object *get_log(const struct vm_config *c,
				   const struct option *o)
{
	return option_fields_json(c, o->fields);
}

/* Options that are one member of vm_config. */
static const struct field plain[] = {
	FIELD(vm_config, FIELD_STRING, kernel, .name = "kernel"),
	FIELD(vm_config, FIELD_UINT, pmem_max, .name = "pmem-max"),
	FIELD(vm_config, FIELD_SIZE, pmem_max_bytes, .name = "pmem-max-size"),
	FIELD(vm_config, FIELD_STRING, id, .name = "id"),
	FIELD(vm_config, FIELD_STRING, uuid, .name = "uuid"),
	FIELD(vm_config, FIELD_STRING, kernel_cache, .name = "kernel-cache"),
	FIELD(vm_config, FIELD_STRING, exit_report, .name = "exit-report"),
	FIELD(vm_config, FIELD_BOOL, exit_port, .name = "exit-port"),
	FIELD(vm_config, FIELD_BOOL, paused, .name = "paused"),
	FIELD(vm_config, FIELD_ENUM, incoming, .name = "incoming",
	      .names = incoming_kinds),
	FIELD(vm_config, FIELD_ENUM, on_reboot, .name = "on-reboot",
	      .names = reboot_actions),
	FIELD(vm_config, FIELD_ENUM, on_panic, .name = "on-panic",
	      .names = panic_actions),
	{ 0 },
};

static const struct field *plain_field(const struct option *o)
{
	const struct field *f = plain;

	while (strcmp(f->name, o->key))
		f++;
	return f;
}

static int set_plain(struct vm_config *c, const struct option *o,
		     struct json_object *v, const char *label, struct error *e)
{
	const struct field *f = plain_field(o);
	void *member = (char *)c + f->offset;

	if (f->type == FIELD_STRING)
		return option_get_string(v, member, label, e);
	if (f->type == FIELD_ENUM)
		return option_get_enum(v, f->names, member, label, e);
	if (f->type == FIELD_UINT)
		return option_get_uint(v, member, label, e);
	if (f->type == FIELD_SIZE)
		return option_get_size(v, member, label, e);
	return option_get_bool(v, member, label, e);
}

static struct json_object *get_plain(const struct vm_config *c,
				     const struct option *o)
{
	struct field one[2] = { *plain_field(o), { 0 } };
	struct json_object *object = option_fields_json(c, one), *v = NULL;

	if (json_object_object_get_ex(object, o->key, &v))
		json_object_get(v);
	json_object_put(object);
	return v;
}

/* ---- the table -------------------------------------------------------- */

const struct option options[] = {
	{ .name = "kernel", .letter = 'k', .key = "kernel", .argument = "FILE",
	  .help = "bzImage (gzip, bzip2, lzma, xz, lz4, zstd or lzo payload),\n"
		  "ELF vmlinux or PVH ELF; default: the first there is of\n"
		  "./bzImage, ./arch/x86/boot/bzImage, ./vmlinux,\n"
		  "/boot/vmlinuz-$(uname -r)",
	  .set = set_plain, .get = get_plain },
	{ .name = "initrd", .letter = 'i', .key = "initrd", .argument = "FILE",
	  .help = "initial ramdisk; several are concatenated",
	  .repeatable = true, .set = option_initrd_set, .get = option_initrd_get },
	{ .name = "params", .letter = 'p', .key = "params",
	  .argument = "STRING",
	  .help = "appended to the generated kernel command line",
	  .repeatable = true, .set = option_params_set, .get = option_params_get },
	{ .name = "memory", .letter = 'm', .key = "memory",
	  .argument = "SIZE[,...]",
	  .help = "RAM: K, M, G, T; a bare number is MiB; default 512M",
	  .bare = "size", .fields = option_memory_fields,
	  .set = option_memory_set, .get = option_memory_get },
	{ .name = "cpus", .letter = 'c', .key = "cpus",
	  .argument = "N[,...]",
	  .help = "vCPUs, 1 to 255, default 1; the topology the guest sees",
	  .bare = "count", .fields = option_cpus_fields,
	  .set = option_cpus_set, .get = option_cpus_get },
	{ .name = "cpu", .key = "cpu", .argument = "host[,+FEAT][,-FEAT]...",
	  .help = "CPU features by their names in /proc/cpuinfo",
	  .set = option_cpu_set, .get = option_cpu_get },
	{ .name = "disk", .letter = 'd', .key = "disks",
	  .argument = "[path=]FILE[,...]",
	  .help = "virtio-blk, in this order from /dev/vda",
	  .repeatable = true, .bare = "path", .fields = option_disk_fields,
	  .set = option_disk_set, .get = option_disk_get },
	{ .name = "disk-controllers", .key = "disk-controllers",
	  .argument = "N",
	  .help = "0 to 4, default 4: controller numbers that the monitor's\n"
		  "disk-add may use, 64 disks each",
	  .set = option_controllers_set, .get = option_controllers_get },
	{ .name = "rootfs", .key = "rootfs", .argument = "FILE[,...]",
	  .help = "root image; *.vhd: a fixed VHD",
	  .bare = "path", .fields = option_rootfs_fields,
	  .set = option_rootfs_set, .get = option_rootfs_get },
	{ .name = "pmem", .key = "pmem", .argument = "[path=]FILE[,...]",
	  .help = "virtio-pmem, in this order from /dev/pmem0 (from /dev/pmem1\n"
		  "behind --rootfs FILE,type=pmem); the guest sees the size\n"
		  "rounded up to 2 MiB",
	  .repeatable = true, .bare = "path", .fields = option_pmem_fields,
	  .set = option_pmem_set, .get = option_pmem_get },
	{ .name = "pmem-max", .key = "pmem-max", .argument = "N",
	  .help = "how many pmem devices there may be, 1 to 128; default 64",
	  .set = set_plain, .get = get_plain },
	{ .name = "pmem-max-size", .key = "pmem-max-size", .argument = "SIZE",
	  .help = "how large each of them may be; default: any size",
	  .set = set_plain, .get = get_plain },
	{ .name = "net", .letter = 'n', .key = "nets",
	  .argument = "user|none|tap=NAME|fd=N|unix=PATH[,...]",
	  .help = "virtio-net; user is passt, which needs no privileges;\n"
		  "default none",
	  .repeatable = true, .bare = "backend", .fields = option_net_fields,
	  .set = option_net_set, .get = option_net_get },
	{ .name = "9p", .key = "9p",
	  .argument = "[path=]DIR,tag=TAG[,...]",
	  .help = "a directory of the host: mount -t 9p -o trans=virtio TAG",
	  .repeatable = true, .bare = "path", .fields = option_9p_fields,
	  .set = option_9p_set, .get = option_9p_get },
	{ .name = "serial", .key = "serial",
	  .argument = "stdio|null|file=PATH|unix=PATH|pty",
	  .help = "the first serial port; default stdio",
	  .set = set_serial, .get = get_serial },
	{ .name = "console", .key = "console",
	  .argument = "stdio|null|file=PATH|unix=PATH|pty",
	  .help = "a virtio console", .set = set_console, .get = get_console },
	{ .name = "chardev", .key = "chardevs",
	  .argument = "unix|connect|file|pty|null,id=ID[,...]",
	  .help = "the host's end of a port that the monitor adds", .bare = "type",
	  .repeatable = true, .fields = option_chardev_fields,
	  .set = option_chardev_set, .get = option_chardev_get },
	{ .name = "rng", .key = "rng", .argument = "[on|off|source=PATH]",
	  .value_optional = true, .help = "virtio-rng; default on",
	  .bare = "enable",
	  .fields = option_rng_fields, .set = option_rng_set, .get = option_rng_get },
	{ .name = "balloon", .key = "balloon",
	  .argument = "[on|off|deflate-on-oom=on|free-page-reporting=on]",
	  .value_optional = true,
	  .help = "virtio-balloon; default off", .bare = "enable",
	  .fields = option_balloon_fields, .set = option_balloon_set, .get = option_balloon_get },
	{ .name = "vsock", .key = "vsock",
	  .argument = "cid=N[,path=SOCK|vhost=on]",
	  .help = "virtio-vsock", .fields = option_vsock_fields,
	  .set = option_vsock_set, .get = option_vsock_get },
	{ .name = "monitor", .key = "monitor", .argument = "PATH|fd=N",
	  .help = "QMP socket: made at PATH, or an inherited listening socket",
	  .bare = "path", .fields = monitor_fields,
	  .set = set_monitor, .get = get_monitor },
	{ .name = "id", .key = "id", .argument = "ID",
	  .help = "the VM's name", .set = set_plain, .get = get_plain },
	{ .name = "uuid", .key = "uuid", .argument = "UUID",
	  .help = "generated when absent", .set = set_plain, .get = get_plain },
	{ .name = "kernel-cache", .key = "kernel-cache", .argument = "DIR|off",
	  .help = "where unpacked kernels are kept; default "
		  "$XDG_CACHE_HOME/mote/kernels",
	  .set = set_plain, .get = get_plain },
	{ .name = "exit-report", .key = "exit-report", .argument = "FILE",
	  .help = "JSON: how and when the VM ended, also when mote failed to start\n"
		  "it (host-error); not with exit status 2",
	  .set = set_plain, .get = get_plain },
	{ .name = "exit-port", .key = "exit-port",
	  .help = "a byte n that the guest writes to I/O port 0xf4 ends the VM\n"
		  "with exit status 64 + (n & 63)",
	  .set = set_plain, .get = get_plain },
	{ .name = "paused", .key = "paused",
	  .help = "make everything, run nothing until the monitor's cont",
	  .set = set_plain, .get = get_plain },
	{ .name = "incoming", .key = "incoming", .argument = "defer",
	  .help = "wait for the monitor's migrate-incoming, which says where the\n"
		  "VM comes from that another mote has sent",
	  .set = set_plain, .get = get_plain },
	{ .name = "on-reboot", .key = "on-reboot", .argument = "reboot|exit",
	  .help = "what a reboot of the guest does; default reboot",
	  .set = set_plain, .get = get_plain },
	{ .name = "on-panic", .key = "on-panic", .argument = "exit|pause",
	  .help = "what a panic of the guest does; default exit",
	  .set = set_plain, .get = get_plain },
	{ .name = "log", .key = "log",
	  .argument = "error|warn|info|debug[,...]",
	  .help = "default warn, to stderr", .bare = "level",
	  .fields = log_fields, .set = set_log, .get = get_log },
	{ 0 },
};

const struct option *option_by_name(const char *name)
{
	for (const struct option *o = options; o->name; o++)
		if (!strcmp(o->name, name))
			return o;
	return NULL;
}

const struct option *option_by_letter(char letter)
{
	for (const struct option *o = options; o->name; o++)
		if (letter && o->letter == letter)
			return o;
	return NULL;
}

const struct option *option_by_key(const char *key)
{
	for (const struct option *o = options; o->name; o++)
		if (!strcmp(o->key, key))
			return o;
	return NULL;
}
