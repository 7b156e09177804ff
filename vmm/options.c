/* SPDX-License-Identifier: MIT */
/* The option table and what sets and prints each option. Main thread. */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "option_9p.h"
#include "option_char.h"
#include "option_fields.h"
#include "option_net.h"
#include "option_pmem.h"
#include "suboptions.h"

static const char *const formats[] = { "raw", "vhd", NULL };
static const char *const rootfs_types[] = { "disk", "pmem", "initrd", NULL };
static const char *const reboot_actions[] = { "reboot", "exit", NULL };
static const char *const panic_actions[] = { "exit", "pause", NULL };
static const char *const log_levels[] = { "error", "warn", "info", "debug",
					  NULL };

#define FIELD(of, kind, member, ...) \
	{ .type = kind, .offset = offsetof(struct of, member), __VA_ARGS__ }

static const struct field memory_fields[] = {
	FIELD(config_memory, FIELD_SIZE, size_bytes, .name = "size"),
	FIELD(config_memory, FIELD_SIZE, max_bytes, .name = "max",
	      .argument = "SIZE",
	      .help = "what it can grow to, by virtio-mem; default SIZE"),
	FIELD(config_memory, FIELD_UINT, slots, .name = "slots"),
	FIELD(config_memory, FIELD_STRING, path, .name = "path",
	      .argument = "DIR|FILE",
	      .help = "an unnamed file in DIR; or FILE with its content,\n"
		      "mapped privately without share=on"),
	FIELD(config_memory, FIELD_BOOL, share, .name = "share",
	      .argument = "on|off",
	      .help = "other processes can map it; default off"),
	FIELD(config_memory, FIELD_BOOL, prealloc, .name = "prealloc",
	      .argument = "on|off",
	      .help = "taken from the host at once; default off"),
	FIELD(config_memory, FIELD_BOOL, hugepages, .name = "hugepages",
	      .argument = "on|off",
	      .help = "from the host's pool of huge pages; default off"),
	{ 0 },
};

static const struct field cpus_fields[] = {
	FIELD(config_cpus, FIELD_UINT, count, .name = "count"),
	FIELD(config_cpus, FIELD_UINT, max, .name = "max", .positive = true,
	      .argument = "M",
	      .help = "how many there can be by hot-plug; default N"),
	FIELD(config_cpus, FIELD_UINT, threads, .name = "threads",
	      .positive = true, .argument = "T",
	      .help = "of each core; default 1"),
	FIELD(config_cpus, FIELD_UINT, cores, .name = "cores",
	      .positive = true, .argument = "C",
	      .help = "of each socket; default: what N needs"),
	FIELD(config_cpus, FIELD_UINT, sockets, .name = "sockets",
	      .positive = true, .argument = "S",
	      .help = "in all; default 1, or what N needs"),
	{ 0 },
};

static const struct field disk_fields[] = {
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
	      .help = "1 to 16, served by as many threads; default 1"),
	FIELD(config_disk, FIELD_STRING, serial, .name = "serial",
	      .argument = "TEXT",
	      .help = "what the guest sees, up to 20 bytes; default the id"),
	{ 0 },
};

static const struct field rootfs_fields[] = {
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

static const struct field vsock_fields[] = {
	FIELD(config_vsock, FIELD_U32, cid, .name = "cid", .argument = "N",
	      .help = "the guest's context id, from 3"),
	FIELD(config_vsock, FIELD_STRING, path, .name = "path",
	      .argument = "SOCK",
	      .help = "a Unix socket: CONNECT PORT there reaches the guest;\n"
		      "the guest's port P on CID 2 is SOCK_P"),
	FIELD(config_vsock, FIELD_BOOL, vhost, .name = "vhost",
	      .argument = "on|off",
	      .help = "the host kernel's AF_VSOCK instead; default off"),
	{ 0 },
};

static const struct field monitor_fields[] = {
	FIELD(config_monitor, FIELD_STRING, path, .name = "path"),
	FIELD(config_monitor, FIELD_UINT, fd, .name = "fd"),
	{ 0 },
};

static const struct field rng_fields[] = {
	FIELD(vm_config, FIELD_BOOL, rng, .name = "enable"),
	FIELD(vm_config, FIELD_STRING, rng_source, .name = "source",
	      .argument = "PATH", .help = "entropy from there; default the "
					  "host's kernel"),
	{ 0 },
};

static const struct field balloon_fields[] = {
	FIELD(config_balloon, FIELD_BOOL, enable, .name = "enable"),
	FIELD(config_balloon, FIELD_BOOL, deflate_on_oom,
	      .name = "deflate-on-oom", .argument = "on|off",
	      .help = "the guest takes pages back before it kills;\n"
		      "default off"),
	FIELD(config_balloon, FIELD_BOOL, free_page_reporting,
	      .name = "free-page-reporting", .argument = "on|off",
	      .help = "what the guest frees goes back to the host;\n"
		      "default off"),
	{ 0 },
};

static const struct field log_fields[] = {
	FIELD(vm_config, FIELD_ENUM, log_level, .name = "level",
	      .names = log_levels),
	FIELD(vm_config, FIELD_STRING, log_file, .name = "file",
	      .argument = "PATH", .help = "appended to; default stderr"),
	{ 0 },
};

static int no_memory(struct error *e)
{
	return error_set(e, -ENOMEM, "out of memory");
}

/* ---- setters, one for each shape of option --------------------------- */

static int set_memory(struct vm_config *c, const struct option *o,
		      struct json_object *v, const char *label, struct error *e)
{
	free(c->memory.path);
	c->memory = (struct config_memory){
		.size_bytes = CONFIG_DEFAULT_MEMORY,
	};
	return option_fields_set(&c->memory, o, v, label, e);
}

static struct json_object *get_memory(const struct vm_config *c,
				      const struct option *o)
{
	return option_fields_json(&c->memory, o->fields);
}

static int set_cpus(struct vm_config *c, const struct option *o,
		    struct json_object *v, const char *label, struct error *e)
{
	c->cpus.count = 1;
	c->cpus.max = c->cpus.threads = c->cpus.cores = c->cpus.sockets = 0;
	return option_fields_set(&c->cpus, o, v, label, e);
}

static struct json_object *get_cpus(const struct vm_config *c,
				    const struct option *o)
{
	return option_fields_json(&c->cpus, o->fields);
}

static int append_string(char ***list, size_t *count, const char *text,
			 struct error *e)
{
	char **p = realloc(*list, (*count + 1) * sizeof(*p));
	char *copy = strdup(text);

	if (p)
		*list = p;
	if (!p || !copy) {
		free(copy);
		return no_memory(e);
	}
	p[(*count)++] = copy;
	return 0;
}

/* host[,+feat][,-feat]… */
static int set_cpu(struct vm_config *c, const struct option *o,
		   struct json_object *v, const char *label, struct error *e)
{
	struct suboptions s;
	char *text = NULL;
	int ret = option_get_string(v, &text, label, e);

	(void)o;
	if (!ret)
		ret = suboptions_parse(&s, text, e);
	free(text);
	if (ret)
		return ret;
	for (size_t i = 0; i < c->cpus.feature_count; i++)
		free(c->cpus.features[i]);
	c->cpus.feature_count = 0;
	for (size_t i = 0; !ret && i < s.count; i++) {
		const char *word = s.items[i].value;

		if (i == 0 && !s.items[i].key && !strcmp(word, "host"))
			continue;
		if (s.items[i].key || i == 0 ||
			 (*word != '+' && *word != '-') || !word[1])
			ret = error_config(e, -EINVAL, "%s: '%s': not of the "
					   "form host,+feature,-feature", label,
					   s.items[i].key ? s.items[i].key :
							    word);
		else
			ret = append_string(&c->cpus.features,
					    &c->cpus.feature_count, word, e);
	}
	suboptions_deinit(&s);
	return ret;
}

static struct json_object *get_cpu(const struct vm_config *c,
				   const struct option *o)
{
	struct json_object *v = NULL;
	size_t len = sizeof("host");
	char *text, *p;

	(void)o;
	for (size_t i = 0; i < c->cpus.feature_count; i++)
		len += 1 + strlen(c->cpus.features[i]);
	text = c->cpus.feature_count ? malloc(len) : NULL;
	if (!text)
		return NULL;
	p = stpcpy(text, "host");
	for (size_t i = 0; i < c->cpus.feature_count; i++)
		p = stpcpy(stpcpy(p, ","), c->cpus.features[i]);
	v = json_object_new_string(text);
	free(text);
	return v;
}

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
		return ret ? ret : no_memory(e);
	}
	c->disks = p;
	p[c->disk_count++] = d;
	return 0;
}

/* A list in a document, one at a time on the command line. */
static int set_disks(struct vm_config *c, const struct option *o,
		     struct json_object *v, const char *label, struct error *e)
{
	char where[64];
	int ret = 0;

	if (!json_object_is_type(v, json_type_array))
		return set_one_disk(c, o, v, label, e);
	for (size_t i = 0; !ret && i < json_object_array_length(v); i++) {
		snprintf(where, sizeof(where), "%s[%zu]", label, i);
		ret = set_one_disk(c, o, json_object_array_get_idx(v, i),
				   where, e);
	}
	return ret;
}

static struct config_disk *find_disk(const struct vm_config *c, size_t from,
				     size_t to, const char *id)
{
	for (size_t i = from; id && i < to; i++)
		if (c->disks[i].id && !strcmp(c->disks[i].id, id))
			return &c->disks[i];
	return NULL;
}

int option_fold_disks(struct vm_config *c, size_t first, struct error *e)
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

static struct json_object *get_disks(const struct vm_config *c,
				     const struct option *o)
{
	struct json_object *list;

	if (!c->disk_count)
		return NULL;
	list = json_object_new_array();
	for (size_t i = 0; i < c->disk_count; i++)
		json_object_array_add(list, option_fields_json(&c->disks[i],
							   o->fields));
	return list;
}

static int set_rootfs(struct vm_config *c, const struct option *o,
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

static struct json_object *get_rootfs(const struct vm_config *c,
				      const struct option *o)
{
	return c->rootfs.path ? option_fields_json(&c->rootfs, o->fields) :
				NULL;
}

static int set_list(char ***list, size_t *count, struct json_object *v,
		    const char *label, struct error *e)
{
	char *text = NULL;
	int ret = 0;

	if (json_object_is_type(v, json_type_array)) {
		for (size_t i = 0; !ret && i < json_object_array_length(v); i++)
			ret = set_list(list, count,
				       json_object_array_get_idx(v, i), label,
				       e);
		return ret;
	}
	ret = option_get_string(v, &text, label, e);
	if (!ret)
		ret = append_string(list, count, text, e);
	free(text);
	return ret;
}

static struct json_object *get_list(char *const *list, size_t count)
{
	struct json_object *array;

	if (!count)
		return NULL;
	array = json_object_new_array();
	for (size_t i = 0; i < count; i++)
		json_object_array_add(array, json_object_new_string(list[i]));
	return array;
}

static int set_initrd(struct vm_config *c, const struct option *o,
		      struct json_object *v, const char *label, struct error *e)
{
	(void)o;
	return set_list(&c->initrds, &c->initrd_count, v, label, e);
}

static struct json_object *get_initrd(const struct vm_config *c,
				      const struct option *o)
{
	(void)o;
	return get_list(c->initrds, c->initrd_count);
}

static int set_params(struct vm_config *c, const struct option *o,
		      struct json_object *v, const char *label, struct error *e)
{
	(void)o;
	/* -p '' is what scripts pass for "none". */
	if (json_object_is_type(v, json_type_string) &&
	    !json_object_get_string_len(v))
		return 0;
	return set_list(&c->params, &c->param_count, v, label, e);
}

static struct json_object *get_params(const struct vm_config *c,
				      const struct option *o)
{
	(void)o;
	return get_list(c->params, c->param_count);
}

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

/* on (or nothing), off, source=PATH. */
static int set_rng(struct vm_config *c, const struct option *o,
		   struct json_object *v, const char *label, struct error *e)
{
	free(c->rng_source);
	c->rng_source = NULL;
	c->rng = true;
	if (json_object_is_type(v, json_type_boolean))
		return option_get_bool(v, &c->rng, label, e);
	return option_fields_set(c, o, v, label, e);
}

static struct json_object *get_rng(const struct vm_config *c,
				   const struct option *o)
{
	(void)o;
	if (!c->rng_source)
		return json_object_new_boolean(c->rng);
	return option_fields_json(c, rng_fields + 1);
}

/* on (or nothing), off, sub-options. */
static int set_balloon(struct vm_config *c, const struct option *o,
		       struct json_object *v, const char *label,
		       struct error *e)
{
	c->balloon = (struct config_balloon){ .enable = true };
	if (json_object_is_type(v, json_type_boolean))
		return option_get_bool(v, &c->balloon.enable, label, e);
	return option_fields_set(&c->balloon, o, v, label, e);
}

static struct json_object *get_balloon(const struct vm_config *c,
				       const struct option *o)
{
	if (!c->balloon.enable)
		return NULL;
	return option_fields_json(&c->balloon, o->fields);
}

static int set_vsock(struct vm_config *c, const struct option *o,
		     struct json_object *v, const char *label, struct error *e)
{
	int ret;

	free(c->vsock.path);
	c->vsock = (struct config_vsock){ 0 };
	ret = option_fields_set(&c->vsock, o, v, label, e);
	if (!ret && !c->vsock.cid)
		ret = error_config(e, -EINVAL, "%s: cid=N, from 3 on, is "
				   "needed", label);
	return ret;
}

static struct json_object *get_vsock(const struct vm_config *c,
				     const struct option *o)
{
	return c->vsock.cid ? option_fields_json(&c->vsock, o->fields) : NULL;
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

static int set_disk_controllers(struct vm_config *c, const struct option *o,
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

static struct json_object *get_disk_controllers(const struct vm_config *c,
						const struct option *o)
{
	(void)o;
	return c->disk_controllers == CONFIG_DISK_CONTROLLERS ? NULL :
	       json_object_new_int64(c->disk_controllers);
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
	  .repeatable = true, .set = set_initrd, .get = get_initrd },
	{ .name = "params", .letter = 'p', .key = "params",
	  .argument = "STRING",
	  .help = "appended to the generated kernel command line",
	  .repeatable = true, .set = set_params, .get = get_params },
	{ .name = "memory", .letter = 'm', .key = "memory",
	  .argument = "SIZE[,...]",
	  .help = "RAM: K, M, G, T; a bare number is MiB; default 512M",
	  .bare = "size", .fields = memory_fields,
	  .set = set_memory, .get = get_memory },
	{ .name = "cpus", .letter = 'c', .key = "cpus",
	  .argument = "N[,...]",
	  .help = "vCPUs, 1 to 255, default 1; the topology the guest sees",
	  .bare = "count", .fields = cpus_fields,
	  .set = set_cpus, .get = get_cpus },
	{ .name = "cpu", .key = "cpu", .argument = "host[,+FEAT][,-FEAT]...",
	  .help = "CPU features by their names in /proc/cpuinfo",
	  .set = set_cpu, .get = get_cpu },
	{ .name = "disk", .letter = 'd', .key = "disks",
	  .argument = "[path=]FILE[,...]",
	  .help = "virtio-blk, in this order from /dev/vda",
	  .repeatable = true, .bare = "path", .fields = disk_fields,
	  .set = set_disks, .get = get_disks },
	{ .name = "disk-controllers", .key = "disk-controllers",
	  .argument = "N",
	  .help = "0 to 4, default 4: controller numbers that the monitor's\n"
		  "disk-add may use, 64 disks each",
	  .set = set_disk_controllers, .get = get_disk_controllers },
	{ .name = "rootfs", .key = "rootfs", .argument = "FILE[,...]",
	  .help = "root image; *.vhd: a fixed VHD",
	  .bare = "path", .fields = rootfs_fields,
	  .set = set_rootfs, .get = get_rootfs },
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
	{ .name = "rng", .key = "rng", .argument = "[on|off|source=PATH]",
	  .value_optional = true, .help = "virtio-rng; default on",
	  .bare = "enable",
	  .fields = rng_fields, .set = set_rng, .get = get_rng },
	{ .name = "balloon", .key = "balloon",
	  .argument = "[on|off|deflate-on-oom=on|free-page-reporting=on]",
	  .value_optional = true,
	  .help = "virtio-balloon; default off", .bare = "enable",
	  .fields = balloon_fields, .set = set_balloon, .get = get_balloon },
	{ .name = "vsock", .key = "vsock",
	  .argument = "cid=N[,path=SOCK|vhost=on]",
	  .help = "virtio-vsock", .fields = vsock_fields,
	  .set = set_vsock, .get = get_vsock },
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

const char *const options_planned[] = {
	"incoming", NULL,
};

bool option_is_planned(const char *name)
{
	for (size_t i = 0; options_planned[i]; i++)
		if (!strcmp(options_planned[i], name))
			return true;
	return false;
}
