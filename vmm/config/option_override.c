/* SPDX-License-Identifier: MIT */
/* Overrides of a saved configuration. Main thread. */
#include "config/option_override.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/vhd.h"

bool option_is_override(const char *name)
{
	static const char *const names[] = {
		"disk", "pmem", "serial", "console", "monitor", "id", "uuid",
		"kernel-cache", "exit-report", "paused", "on-reboot",
		"on-panic", "log", "net", "vsock", "9p", "chardev",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

static int no_such(const char *option, const char *id, struct error *e)
{
	if (!id)
		return error_config(e, -EINVAL, "%s: no id: which of the saved "
				    "VM's is it?", option);
	return error_config(e, -ENOENT, "%s: the saved VM has none with the id "
			    "'%s'", option, id);
}

/* The path moves from one to the other. */
static void move_path(char **to, char **from)
{
	free(*to);
	*to = *from;
	*from = NULL;
}

/* The guest was told of it, so it stays; ignored, it would seem to be done. */
static int fixed(const char *option, const char *id, const char *name,
		 struct error *e)
{
	return error_config(e, -EINVAL, "%s: '%s': %s is as it was saved",
			    option, id, name);
}

static bool differs(const char *given, const char *saved)
{
	return given && (!saved || strcmp(given, saved));
}

static int check_disk(const struct config_disk *d,
		      const struct config_disk *given, struct error *e)
{
	const char *name = given->format != DISK_BY_NAME &&
			   given->format != d->format ? "format" :
			   given->readonly && !d->readonly ? "readonly" :
			   given->queues > 1 && given->queues != d->queues ?
			   "queues" :
			   differs(given->serial, d->serial ? d->serial :
						  d->id) ? "serial" : NULL;

	return name ? fixed("--disk", d->id, name, e) : 0;
}

static int check_pmem(const struct config_pmem *p,
		      const struct config_pmem *given, struct error *e)
{
	if (!given->readonly || p->readonly)
		return 0;
	return fixed("--pmem", p->id, "readonly", e);
}

static int check_net(const struct config_net *n,
		     const struct config_net *given, struct error *e)
{
	if (!given->queues || given->queues == n->queues)
		return 0;
	return fixed("--net", n->id, "queues", e);
}

/* Open files were found by what there was to be seen. */
static int check_share(const struct config_9p *s,
		       const struct config_9p *given, struct error *e)
{
	const char *name = given->readonly && !s->readonly ? "readonly" :
			   differs(given->allowed, s->allowed) ? "allowed" :
			   given->msize_bytes &&
			   given->msize_bytes != s->msize_bytes ? "msize" :
			   NULL;

	return name ? fixed("--9p", s->tag, name, e) : 0;
}

static bool is_root(const struct vm_config *c, enum config_rootfs_type type,
		    const char *id)
{
	return c->rootfs.path && c->rootfs.type == type && id &&
	       !strcmp(id, "rootfs");
}

static int override_disk(struct vm_config *c, size_t count,
			 struct config_disk *given, struct error *e)
{
	int ret;

	if (is_root(c, ROOTFS_DISK, given->id)) {
		/* Its format goes by its name. */
		const struct config_disk root = {
			.id = given->id,
			.format = vhd_is_name(given->path) ? DISK_VHD :
							     DISK_RAW,
			.readonly = c->rootfs.readonly, .queues = 1,
		};

		ret = check_disk(&root, given, e);
		if (!ret && (given->direct || given->no_flush))
			ret = fixed("--disk", given->id, given->direct ?
				    "direct" : "flush", e);
		if (ret)
			return ret;
		move_path(&c->rootfs.path, &given->path);
		return 0;
	}
	for (size_t i = 0; given->id && i < count; i++) {
		if (strcmp(c->disks[i].id, given->id))
			continue;
		ret = check_disk(&c->disks[i], given, e);
		if (ret)
			return ret;
		move_path(&c->disks[i].path, &given->path);
		c->disks[i].direct |= given->direct;
		c->disks[i].no_flush |= given->no_flush;
		return 0;
	}
	return no_such("--disk", given->id, e);
}

static int override_pmem(struct vm_config *c, size_t count,
			 struct config_pmem *given, struct error *e)
{
	int ret;

	if (is_root(c, ROOTFS_PMEM, given->id)) {
		if (given->readonly && !c->rootfs.readonly)
			return fixed("--pmem", given->id, "readonly", e);
		move_path(&c->rootfs.path, &given->path);
		return 0;
	}
	for (size_t i = 0; given->id && i < count; i++) {
		if (strcmp(c->pmems[i].id, given->id))
			continue;
		ret = check_pmem(&c->pmems[i], given, e);
		if (ret)
			return ret;
		move_path(&c->pmems[i].path, &given->path);
		return 0;
	}
	return no_such("--pmem", given->id, e);
}

/* Another back end; the guest's side stays as it was saved. */
static int override_net(struct vm_config *c, size_t count,
			struct config_net *given, struct error *e)
{
	int ret;

	for (size_t i = 0; given->id && i < count; i++) {
		struct config_net *n = &c->nets[i];

		if (strcmp(n->id, given->id))
			continue;
		ret = check_net(n, given, e);
		if (ret)
			return ret;
		n->user = given->user;
		n->vhost = given->vhost;
		move_path(&n->tap, &given->tap);
		move_path(&n->fd, &given->fd);
		move_path(&n->unix_path, &given->unix_path);
		if (given->mac)
			move_path(&n->mac, &given->mac);
		return 0;
	}
	return no_such("--net", given->id, e);
}

static int override_share(struct vm_config *c, size_t count,
			  struct config_9p *given, struct error *e)
{
	int ret;

	for (size_t i = 0; given->tag && i < count; i++) {
		if (strcmp(c->shares[i].tag, given->tag))
			continue;
		ret = check_share(&c->shares[i], given, e);
		if (ret)
			return ret;
		move_path(&c->shares[i].path, &given->path);
		return 0;
	}
	return no_such("--9p", given->tag, e);
}

static int override_chardev(struct vm_config *c, size_t count,
			    struct config_chardev *given, struct error *e)
{
	for (size_t i = 0; i < count; i++) {
		struct config_char *back = &c->chardevs[i].back;

		if (strcmp(c->chardevs[i].id, given->id))
			continue;
		if (given->back.kind != CHAR_NONE) {
			free(back->path);
			*back = given->back;
			given->back = (struct config_char){ 0 };
		} else {
			move_path(&back->path, &given->back.path);
			back->append |= given->back.append;
			if (given->back.reconnect_s)
				back->reconnect_s = given->back.reconnect_s;
		}
		return 0;
	}
	return no_such("--chardev", given->id, e);
}

static int twice(const char *option, const char *id, struct error *e)
{
	return error_config(e, -EINVAL, "%s: id '%s' is given twice", option,
			    id);
}

struct option_saved option_saved(const struct vm_config *c)
{
	return (struct option_saved){
		.disks = c->disk_count, .pmems = c->pmem_count,
		.nets = c->net_count, .shares = c->share_count,
		.chardevs = c->chardev_count,
	};
}

/* All of one kind; override_one() is that for one of it. */
#define OVERRIDE(option, list, count, first, name, override_one)		\
	for (size_t i = first; !ret && i < count; i++) {			\
		for (size_t k = first; !ret && k < i; k++)			\
			if (list[i].name && list[k].name &&			\
			    !strcmp(list[i].name, list[k].name))		\
				ret = twice(option, list[i].name, e);		\
		if (!ret)							\
			ret = override_one(c, first, &list[i], e);		\
	}

int option_override(struct vm_config *c, const struct option_saved *saved,
		    struct error *e)
{
	int ret = 0;

	OVERRIDE("--disk", c->disks, c->disk_count, saved->disks, id,
		 override_disk);
	OVERRIDE("--pmem", c->pmems, c->pmem_count, saved->pmems, id,
		 override_pmem);
	OVERRIDE("--net", c->nets, c->net_count, saved->nets, id, override_net);
	OVERRIDE("--9p", c->shares, c->share_count, saved->shares, tag,
		 override_share);
	OVERRIDE("--chardev", c->chardevs, c->chardev_count, saved->chardevs,
		 id, override_chardev);
	while (c->disk_count > saved->disks)
		config_disk_deinit(&c->disks[--c->disk_count]);
	while (c->pmem_count > saved->pmems)
		config_pmem_deinit(&c->pmems[--c->pmem_count]);
	while (c->net_count > saved->nets)
		config_net_deinit(&c->nets[--c->net_count]);
	while (c->share_count > saved->shares)
		config_9p_deinit(&c->shares[--c->share_count]);
	while (c->chardev_count > saved->chardevs)
		config_chardev_deinit(&c->chardevs[--c->chardev_count]);
	return ret;
}
