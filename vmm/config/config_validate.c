/* SPDX-License-Identifier: MIT */
/* Validation, and what is derived; of network devices: config_net.c. Main
 * thread. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "block/vhd.h"
#include "config/config.h"

#define MIB		(1ull << 20)
#define MEMORY_MIN	(16ull << 20)
/* What a KVM memory slot holds: the RAM above 4 GiB is one. */
#define MEMORY_MAX	(8ull << 40)
#define PAGE		4096ull
#define SERIAL_MAX	20		/* VIRTIO_BLK_ID_BYTES */
#define ID_MAX		127

static int out_of_memory(struct error *e)
{
	return error_set(e, -ENOMEM, "out of memory");
}

static int find_kernel(struct vm_config *c, struct error *e)
{
	char installed[sizeof("/boot/vmlinuz-") + 65];
	const char *const places[] = { "bzImage", "arch/x86/boot/bzImage",
				       "vmlinux", installed };
	struct utsname u;
	struct stat st;

	if (c->kernel)
		return 0;
	uname(&u);
	snprintf(installed, sizeof(installed), "/boot/vmlinuz-%s", u.release);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (stat(places[i], &st) || S_ISDIR(st.st_mode))
			continue;
		c->kernel = strdup(places[i]);
		c->kernel_defaulted = true;
		return c->kernel ? 0 : out_of_memory(e);
	}
	return error_config(e, -ENOENT, "no kernel: --kernel FILE, or one of "
			    "./bzImage, ./arch/x86/boot/bzImage, ./vmlinux, %s",
			    installed);
}

static int check_memory(const struct config_memory *m, struct error *e)
{
	unsigned long long bytes = m->size_bytes;

	if (bytes < MEMORY_MIN || bytes > MEMORY_MAX)
		return error_config(e, -EINVAL, "--memory: %llu %s: from 16M "
				    "to 8T",
				    bytes % MIB ? bytes >> 10 : bytes >> 20,
				    bytes % MIB ? "KiB" : "MiB");
	if (bytes % PAGE)
		return error_config(e, -EINVAL, "--memory: %llu KiB are not "
				    "whole pages of 4 KiB", bytes >> 10);
	if (m->slots > CONFIG_MAX_DIMMS)
		return error_config(e, -EINVAL, "--memory: slots=%u: at most "
				    "%u", m->slots, CONFIG_MAX_DIMMS);
	if (m->slots && m->max_bytes <= bytes)
		return error_config(e, -EINVAL, "--memory: slots without a max "
				    "above the size");
	if (m->max_bytes && (m->max_bytes < bytes ||
			     m->max_bytes > MEMORY_MAX ||
			     (m->max_bytes - bytes) % (2 * MIB)))
		return error_config(e, -EINVAL, "--memory: max=%lluM: from the "
				    "size to 8T, in steps of 2M",
				    (unsigned long long)m->max_bytes / MIB);
	if (m->hugepages && m->max_bytes > bytes)
		return error_config(e, -EINVAL, "--memory: hugepages and max "
				    "exclude each other");
	if (m->hugepages && m->path)
		return error_config(e, -EINVAL, "--memory: hugepages and path "
				    "exclude each other");
	if (m->hugepages && m->size_bytes % (2 << 20))
		return error_config(e, -EINVAL, "--memory: with hugepages, a "
				    "multiple of 2M");
	return 0;
}

/* Threads × cores × sockets must make exactly max vCPUs. */
static int check_cpus(struct config_cpus *c, struct error *e)
{
	unsigned long long product = 1;
	unsigned int *parts[] = { &c->threads, &c->cores, &c->sockets };
	unsigned int given = 0;

	if (!c->count || c->count > CONFIG_MAX_CPUS)
		return error_config(e, -EINVAL, "--cpus: %u: from 1 to %u",
				    c->count, CONFIG_MAX_CPUS);
	if (c->max && (c->max < c->count || c->max > CONFIG_MAX_CPUS))
		return error_config(e, -EINVAL, "--cpus: max=%u: from %u, the "
				    "vCPUs at the start, to %u", c->max,
				    c->count, CONFIG_MAX_CPUS);
	if (!c->max)
		c->max = c->count;
	for (size_t i = 0; i < 3; i++) {
		if (*parts[i] > CONFIG_MAX_CPUS)
			return error_config(e, -EINVAL, "--cpus: %u threads, "
					    "cores or sockets: at most %u",
					    *parts[i], CONFIG_MAX_CPUS);
		if (*parts[i]) {
			given++;
			product *= *parts[i];
		}
	}
	/* Of what is not given cores, or else sockets, fill; the rest is 1. */
	if (given < 3 && c->max % product == 0) {
		unsigned int *rest = !c->cores ? &c->cores :
				     !c->sockets ? &c->sockets : &c->threads;

		*rest = (unsigned int)(c->max / product);
		product = c->max;
	}
	if (product != c->max)
		return error_config(e, -EINVAL, "--cpus: threads, cores and "
				    "sockets make %llu, not %u", product,
				    c->max);
	for (size_t i = 0; i < 3; i++)
		if (!*parts[i])
			*parts[i] = 1;
	return 0;
}

static bool id_taken(const struct vm_config *c, const char *id)
{
	for (size_t i = 0; i < c->disk_count; i++)
		if (c->disks[i].id && !strcmp(c->disks[i].id, id))
			return true;
	for (size_t i = 0; i < c->pmem_count; i++)
		if (c->pmems[i].id && !strcmp(c->pmems[i].id, id))
			return true;
	return false;
}

/* The first of kind0, kind1 … that is free, where there is no id. */
static int fill_id(const struct vm_config *c, const char *kind, char **out,
		   struct error *e)
{
	char id[24];

	for (unsigned int n = 0; !*out; n++) {
		snprintf(id, sizeof(id), "%s%u", kind, n);
		if (id_taken(c, id))
			continue;
		*out = strdup(id);
		if (!*out)
			return out_of_memory(e);
	}
	return 0;
}

/* Ids stand in error texts, replies and sub-option lists. */
static int check_id(const struct vm_config *c, const char *option,
		    const char *id, struct error *e)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-";

	if (!*id || strlen(id) > ID_MAX || id[strspn(id, allowed)])
		return error_config(e, -EINVAL, "%s: id '%s': up to %u "
				    "letters, digits and ._:-", option, id,
				    ID_MAX);
	if (c->rootfs.path && !strcmp(id, "rootfs"))
		return error_config(e, -EINVAL, "%s: id 'rootfs' is that of "
				    "--rootfs", option);
	return 0;
}

static int check_disk_id(const struct vm_config *c,
			 const struct config_disk *d, struct error *e)
{
	for (const struct config_disk *p = c->disks; p < d; p++)
		if (p->id && !strcmp(p->id, d->id))
			return error_config(e, -EINVAL, "--disk: id '%s' is "
					    "given twice", d->id);
	return check_id(c, "--disk", d->id, e);
}

static int check_pmem_id(const struct vm_config *c,
			 const struct config_pmem *d, struct error *e)
{
	for (const struct config_pmem *p = c->pmems; p < d; p++)
		if (p->id && !strcmp(p->id, d->id))
			return error_config(e, -EINVAL, "--pmem: id '%s' is "
					    "given twice", d->id);
	for (size_t i = 0; i < c->disk_count; i++)
		if (c->disks[i].id && !strcmp(c->disks[i].id, d->id))
			return error_config(e, -EINVAL, "--pmem: id '%s' is "
					    "that of a --disk", d->id);
	return check_id(c, "--pmem", d->id, e);
}

static int check_disk(struct vm_config *c, struct config_disk *d,
		      struct error *e)
{
	int ret = d->id ? check_disk_id(c, d, e) : 0;

	if (ret)
		return ret;
	if (!d->queues || d->queues > CONFIG_MAX_DISK_QUEUES)
		return error_config(e, -EINVAL, "--disk: queues=%u: from 1 to "
				    "%u", d->queues,
				    CONFIG_MAX_DISK_QUEUES);
	if (d->serial && strlen(d->serial) > SERIAL_MAX)
		return error_config(e, -EINVAL, "--disk: serial '%s' is longer "
				    "than %u bytes", d->serial, SERIAL_MAX);
	if (d->format == DISK_BY_NAME)
		d->format = vhd_is_name(d->path) ? DISK_VHD : DISK_RAW;
	return fill_id(c, "disk", &d->id, e);
}

static int check_pmems(struct vm_config *c, struct error *e)
{
	bool root = c->rootfs.path && c->rootfs.type == ROOTFS_PMEM;
	size_t count = c->pmem_count + root;
	int ret = 0;

	if (!c->pmem_max || c->pmem_max > CONFIG_MAX_PMEM)
		return error_config(e, -EINVAL, "--pmem-max: %u: from 1 to %u",
				    c->pmem_max, CONFIG_MAX_PMEM);
	if (count > c->pmem_max)
		return error_config(e, -EINVAL, "--pmem: %zu devices%s, more "
				    "than --pmem-max %u", count,
				    root ? " with --rootfs" : "", c->pmem_max);
	for (size_t i = 0; !ret && i < c->pmem_count; i++)
		if (c->pmems[i].id)
			ret = check_pmem_id(c, &c->pmems[i], e);
	for (size_t i = 0; !ret && i < c->pmem_count; i++)
		ret = fill_id(c, "pmem", &c->pmems[i].id, e);
	return ret;
}

/* allowed= names entries, separated by colons. */
static bool names_are_good(const char *names)
{
	for (;;) {
		size_t len = strcspn(names, ":");

		if (!len || memchr(names, '/', len) ||
		    (len <= 2 && !strncmp(names, "..", len)))
			return false;
		if (!names[len])
			return true;
		names += len + 1;
	}
}

int config_check_share(const struct config_9p *s, struct error *e)
{
	if (!s->tag)
		return error_config(e, -EINVAL, "%s has no tag", s->path);
	if (strlen(s->tag) > CONFIG_TAG_MAX)
		return error_config(e, -EINVAL, "tag '%s' is longer than "
				    "%u bytes", s->tag, CONFIG_TAG_MAX);
	for (const char *p = s->tag; *p; p++)
		if (iscntrl((unsigned char)*p))
			return error_config(e, -EINVAL, "a control character "
					    "in a tag");
	if (s->msize_bytes && (s->msize_bytes < 4096 ||
			       s->msize_bytes > MIB))
		return error_config(e, -EINVAL, "msize=%llu: from 4K to 1M",
				    (unsigned long long)s->msize_bytes);
	if (s->allowed && !names_are_good(s->allowed))
		return error_config(e, -EINVAL, "allowed=%s: names of entries, "
				    "separated by colons", s->allowed);
	return 0;
}

static int check_shares(const struct vm_config *c, struct error *e)
{
	for (size_t i = 0; i < c->share_count; i++) {
		const struct config_9p *s = &c->shares[i], *p = c->shares;
		int ret = config_check_share(s, e);

		if (ret)
			return error_prefix(e, ret, "--9p");
		ret = s->id ? check_id(c, "--9p", s->id, e) : 0;
		if (ret)
			return ret;
		while (strcmp(p->tag, s->tag))
			p++;
		if (p != s)
			return error_config(e, -EINVAL, "--9p: tag '%s' is "
					    "given twice", s->tag);
	}
	return 0;
}

static int check_boot(const struct vm_config *c, struct error *e)
{
	for (size_t i = 0; i < c->param_count; i++)
		if (strpbrk(c->params[i], "\n\r"))
			return error_config(e, -EINVAL,
					    "--params: a line break inside");
	if (!c->rootfs.path)
		return 0;
	if (c->rootfs.type == ROOTFS_INITRD && c->initrd_count)
		return error_config(e, -EINVAL, "--rootfs type=initrd and "
				    "--initrd exclude each other");
	if (c->rootfs.type == ROOTFS_INITRD && c->rootfs.readonly)
		return error_config(e, -EINVAL, "--rootfs type=initrd and "
				    "readonly=on exclude each other");
	return 0;
}

/* 0, 1 and 2 mean the hypervisor, local and the host (vsock(7)). */
static int check_vsock(const struct vm_config *c, struct error *e)
{
	const struct config_vsock *v = &c->vsock;

	if (!v->cid && !v->path && !v->vhost)
		return 0;
	if (v->cid < 3 || v->cid == UINT32_MAX)
		return error_config(e, -EINVAL, "--vsock: cid=%u: from 3 to "
				    "4294967294", v->cid);
	if (v->path && v->vhost)
		return error_config(e, -EINVAL, "--vsock: path and vhost=on "
				    "exclude each other");
	if (v->path && ((c->serial.path && !strcmp(v->path, c->serial.path)) ||
			(c->console.path &&
			 !strcmp(v->path, c->console.path)) ||
			(c->monitor.path &&
			 !strcmp(v->path, c->monitor.path))))
		return error_config(e, -EINVAL, "--vsock: %s is the monitor's "
				    "or a console's path too", v->path);
	return 0;
}

static int check_consoles(const struct vm_config *c, struct error *e)
{
	if (c->serial.kind == CHAR_STDIO && c->console.kind == CHAR_STDIO)
		return error_config(e, -EINVAL, "--serial and --console: only "
				    "one can be stdio (try --serial null)");
	return 0;
}

static int check_names(const struct vm_config *c, struct error *e)
{
	for (const char *p = c->id; p && *p; p++)
		if (iscntrl((unsigned char)*p))
			return error_config(e, -EINVAL,
					    "--id: a control character inside");
	if (!c->rng && c->rng_source)
		return error_config(e, -EINVAL, "--rng: off and source exclude "
				    "each other");
	return 0;
}

/* RFC 4122: version 4, variant 1. */
static int make_uuid(struct vm_config *c, struct error *e)
{
	uint8_t b[16];
	char text[37];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		return error_errno(e, -errno, "--uuid: getrandom");
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	snprintf(text, sizeof(text), "%02x%02x%02x%02x-%02x%02x-%02x%02x-"
		 "%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
		 b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
		 b[13], b[14], b[15]);
	c->uuid = strdup(text);
	return c->uuid ? 0 : out_of_memory(e);
}

static int check_uuid(struct vm_config *c, struct error *e)
{
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	size_t i = 0;

	if (!c->uuid)
		return make_uuid(c, e);
	while (shape[i] && (shape[i] == 'x' ?
			    isxdigit((unsigned char)c->uuid[i]) != 0 :
			    c->uuid[i] == '-'))
		i++;
	if (shape[i] || c->uuid[i])
		return error_config(e, -EINVAL, "--uuid: '%s' is not of the "
				    "form %s", c->uuid, shape);
	for (char *p = c->uuid; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return 0;
}

static int check_incoming(const struct vm_config *c, struct error *e)
{
	if (c->incoming == INCOMING_OFF || c->monitor.path ||
	    c->monitor.fd >= 0)
		return 0;
	return error_config(e, -EINVAL, "--incoming: without --monitor nothing "
			    "can come in");
}

int config_validate(struct vm_config *c, struct error *e)
{
	int ret = check_memory(&c->memory, e);

	if (!ret)
		ret = check_cpus(&c->cpus, e);
	for (size_t i = 0; !ret && i < c->disk_count; i++)
		ret = check_disk(c, &c->disks[i], e);
	if (!ret)
		ret = check_shares(c, e);
	if (!ret)
		ret = check_pmems(c, e);
	if (!ret)
		ret = check_boot(c, e);
	if (!ret)
		ret = check_consoles(c, e);
	if (!ret)
		ret = config_check_chardevs(c, e);
	if (!ret)
		ret = check_incoming(c, e);
	if (!ret)
		ret = check_vsock(c, e);
	if (!ret)
		ret = check_names(c, e);
	if (!ret)
		ret = check_uuid(c, e);
	if (!ret)
		ret = config_check_nets(c, e);
	if (!ret)
		ret = find_kernel(c, e);
	if (!ret)
		ret = config_check_paths(c, e);
	return ret;
}
