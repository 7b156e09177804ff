/* SPDX-License-Identifier: MIT */
/* Device kinds and the list of devices. Main thread. */
#include "devices.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "block/vhd.h"
#include "virtio/9p.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/net.h"
#include "virtio/pmem.h"
#include "virtio/rng.h"
#include "virtio/virtio_pci.h"
#include "virtio/vsock.h"

#define MAX_FILES (1u << 20)

struct devices {
	struct devices_params p;
	struct device *first, **last;
	bool quiesced;
};

/* A kind: what the configuration asks for, and how to make one. */
struct device_kind {
	const char *name;
	/* Adds those of the configuration. */
	int (*boot)(struct devices *d, struct error *e);
	int (*create)(struct virtio_device **out,
		      const struct devices_params *p, const char *id,
		      const void *config, struct error *e);
	/* Gives back what create() took of the parameters, or NULL. */
	void (*release)(const struct devices_params *p,
			const struct virtio_device *v);
	/* NULL, both: there is no configuration to keep. */
	void *(*config_copy)(const void *config);
	void (*config_free)(void *config);
};

static const char *key_of(enum device_type type, const char *id,
			  const void *config)
{
	if (!id && type == DEVICE_9P)
		return ((const struct config_9p *)config)->tag;
	return id;
}

static int boot_device(struct devices *d, enum device_type type,
		       const char *id, const void *config, struct error *e)
{
	struct device_spec spec = {
		.type = type, .id = id, .config = config, .bus = -1,
		.slot = -1,
	};
	int ret = d->p.place ? d->p.place(d->p.place_opaque, type,
					  key_of(type, id, config),
					  &spec.bus, &spec.slot, e) : 0;

	return ret ? ret : devices_add(d, &spec, NULL, e);
}

/* ---- disks --------------------------------------------------------------- */

/* As disk-add would have placed it; 0: there is no room for it. */
static unsigned int boot_address(const struct vm_config *c, unsigned int n)
{
	return n < c->disk_controllers * CONFIG_DISK_LUNS ?
		       CONFIG_DISK_ADDRESS(0, n) : 0;
}

/* The root disk is /dev/vda: before all others. */
static int boot_disks(struct devices *d, struct error *e)
{
	const struct vm_config *c = d->p.config;
	struct config_disk disk = {
		.path = c->rootfs.path, .id = "rootfs", .queues = 1,
		.address = boot_address(c, 0), .readonly = c->rootfs.readonly,
		.format = c->rootfs.path && vhd_is_name(c->rootfs.path) ?
				  DISK_VHD : DISK_RAW,
	};
	unsigned int n = 0;
	int ret = 0;

	if (disk.path && c->rootfs.type == ROOTFS_DISK) {
		ret = boot_device(d, DEVICE_DISK, disk.id, &disk, e);
		n++;
	}
	for (size_t i = 0; !ret && i < c->disk_count; i++) {
		disk = c->disks[i];
		disk.address = boot_address(c, n++);
		ret = boot_device(d, DEVICE_DISK, disk.id, &disk, e);
	}
	return ret;
}

static int create_disk(struct virtio_device **out,
		       const struct devices_params *p, const char *id,
		       const void *config, struct error *e)
{
	const struct config_disk *disk = config;
	struct loop *loops[VIRTIO_MAX_QUEUES] = { NULL };
	unsigned int count = 0;
	int ret;

	(void)id;	/* config has one that need not be the device's */
	while (count < disk->queues && count < VIRTIO_MAX_QUEUES)
		loops[count++] = iothread_pool_take(p->io);
	ret = virtio_blk_create(out, disk, p->mem, loops, e);
	while (ret && count)
		iothread_pool_put(p->io, loops[--count]);
	return ret;
}

static void release_disk(const struct devices_params *p,
			 const struct virtio_device *v)
{
	for (unsigned int i = 0; i < v->queue_count; i++)
		iothread_pool_put(p->io, v->queues[i].loop);
}

static void *copy_disk(const void *config)
{
	struct config_disk *copy = calloc(1, sizeof(*copy));

	if (copy && config_disk_copy(copy, config)) {
		free(copy);
		copy = NULL;
	}
	return copy;
}

static void free_disk(void *config)
{
	config_disk_deinit(config);
	free(config);
}

/* ---- network ------------------------------------------------------------- */

static int boot_nets(struct devices *d, struct error *e)
{
	const struct vm_config *c = d->p.config;
	int ret = 0;

	for (size_t i = 0; !ret && i < c->net_count; i++)
		ret = boot_device(d, DEVICE_NET, c->nets[i].id, &c->nets[i], e);
	return ret;
}

static int adopt_tap(struct net_backend **out, const struct config_net *n,
		     struct error *e)
{
	int fds[CONFIG_MAX_NET_QUEUES], ret = 0;
	unsigned int count = 0;

	if (!n->fds_lent)
		return net_tap_adopt(out, n->fds, n->fd_count, !n->vhost, e);
	for (; !ret && count < n->fd_count; count++) {
		fds[count] = fcntl(n->fds[count], F_DUPFD_CLOEXEC, 0);
		if (fds[count] < 0)
			ret = error_errno(e, -errno, "descriptor %d",
					  n->fds[count]);
	}
	if (!ret)
		ret = net_tap_adopt(out, fds, count, !n->vhost, e);
	while (ret && count--)
		if (fds[count] >= 0)
			close(fds[count]);
	return ret;
}

int devices_open_net(struct net_backend **out, const struct config_net *n,
		     struct error *e)
{
	if (n->tap)
		return net_tap_create(out, n->tap, n->queues, !n->vhost, e);
	if (n->fd)
		return adopt_tap(out, n, e);
	if (n->unix_path)
		return net_stream_connect(out, n->unix_path, e);
	return net_passt_create(out, e);
}

static int create_net(struct virtio_device **out,
		      const struct devices_params *p, const char *id,
		      const void *config, struct error *e)
{
	const struct config_net *n = config;
	struct virtio_net_params net = {
		.id = n->id, .vhost = n->vhost,
		.vhost_fds = n->vhost_fd_count ? n->vhost_fds : NULL,
	};
	int ret = devices_open_net(&net.backend, n, e);

	(void)id;
	if (ret)
		return error_prefix(e, ret, "net %s", n->id);
	memcpy(net.mac, n->mac_bytes, sizeof(net.mac));
	ret = virtio_net_create(out, &net, p->mem, p->io_loop, e);
	if (ret) {
		net_backend_destroy(net.backend);
		error_prefix(e, ret, "net %s", n->id);
	}
	return ret;
}

static void *copy_net(const void *config)
{
	struct config_net *copy = calloc(1, sizeof(*copy));

	if (copy && config_net_copy(copy, config)) {
		free(copy);
		copy = NULL;
	}
	return copy;
}

static void free_net(void *config)
{
	config_net_deinit(config);
	free(config);
}

/* ---- console ------------------------------------------------------------- */

static int boot_console(struct devices *d, struct error *e)
{
	return d->p.console ?
		       boot_device(d, DEVICE_CONSOLE, "console0", NULL, e) : 0;
}

static int create_console(struct virtio_device **out,
			  const struct devices_params *p, const char *id,
			  const void *config, struct error *e)
{
	(void)id;
	(void)config;
	return virtio_console_create(out, p->console, p->mem, p->io_loop, e);
}

/* ---- rng ----------------------------------------------------------------- */

static int boot_rng(struct devices *d, struct error *e)
{
	return d->p.config->rng ? boot_device(d, DEVICE_RNG, "rng0",
					      d->p.config->rng_source, e) : 0;
}

static int create_rng(struct virtio_device **out,
		      const struct devices_params *p, const char *id,
		      const void *config, struct error *e)
{
	(void)id;
	return virtio_rng_create(out, config, p->mem, p->io_loop, e);
}

static void *copy_string(const void *config)
{
	return strdup(config);
}

/* ---- pmem ---------------------------------------------------------------- */

/* A root image is /dev/pmem0: in slot 0. */
static int boot_pmems(struct devices *d, struct error *e)
{
	const struct vm_config *c = d->p.config;
	const struct config_pmem root = {
		.path = c->rootfs.path, .id = "rootfs",
		.readonly = c->rootfs.readonly,
		.format = c->rootfs.path && vhd_is_name(c->rootfs.path) ?
				  DISK_VHD : DISK_RAW,
	};
	int ret = 0;

	if (root.path && c->rootfs.type == ROOTFS_PMEM)
		ret = boot_device(d, DEVICE_PMEM, root.id, &root, e);
	for (size_t i = 0; !ret && i < c->pmem_count; i++)
		ret = boot_device(d, DEVICE_PMEM, c->pmems[i].id,
				  &c->pmems[i], e);
	return ret;
}

static int create_pmem(struct virtio_device **out,
		       const struct devices_params *p, const char *id,
		       const void *config, struct error *e)
{
	struct pmem_region *region;
	int ret = pmem_region_create(&region, p->pmem, config, e);

	(void)id;
	if (ret)
		return ret;
	ret = virtio_pmem_create(out, region, p->mem, p->io_loop, e);
	if (ret) {
		pthread_mutex_lock(p->machine_lock);
		pmem_region_destroy(region);
		pthread_mutex_unlock(p->machine_lock);
	}
	return ret;
}

static void *copy_pmem(const void *config)
{
	struct config_pmem *copy = calloc(1, sizeof(*copy));

	if (copy && config_pmem_copy(copy, config)) {
		free(copy);
		copy = NULL;
	}
	return copy;
}

static void free_pmem(void *config)
{
	config_pmem_deinit(config);
	free(config);
}

/* ---- vsock --------------------------------------------------------------- */

static int boot_vsock(struct devices *d, struct error *e)
{
	const struct config_vsock *c = &d->p.config->vsock;

	return c->cid ? boot_device(d, DEVICE_VSOCK, "vsock0", c, e) : 0;
}

static int create_vsock(struct virtio_device **out,
			const struct devices_params *p, const char *id,
			const void *config, struct error *e)
{
	(void)id;
	return virtio_vsock_create(out, config, p->mem, p->io_loop, e);
}

static void *copy_vsock(const void *config)
{
	const struct config_vsock *c = config;
	struct config_vsock *copy = calloc(1, sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *c;
	copy->vhost_fd = 0;	/* for the creation only */
	copy->path = c->path ? strdup(c->path) : NULL;
	if (c->path && !copy->path) {
		free(copy);
		return NULL;
	}
	return copy;
}

static void free_vsock(void *config)
{
	free(((struct config_vsock *)config)->path);
	free(config);
}

/* ---- shares -------------------------------------------------------------- */

static int boot_shares(struct devices *d, struct error *e)
{
	const struct vm_config *c = d->p.config;
	int ret = 0;

	for (size_t i = 0; !ret && i < c->share_count; i++)
		ret = boot_device(d, DEVICE_9P, NULL, &c->shares[i], e);
	return ret;
}

/*
 * A guest's cache may hold a descriptor for each file it has seen. They get what
 * the process may have (raised to what it may ask for), but for a quarter.
 */
static unsigned int files_per_share(size_t shares)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return 0;
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r) && getrlimit(RLIMIT_NOFILE, &r))
		return 0;
	if (r.rlim_cur > MAX_FILES)
		r.rlim_cur = MAX_FILES;
	return (unsigned int)(r.rlim_cur / 4 * 3 / (shares ? shares : 1));
}

static int create_share(struct virtio_device **out,
			const struct devices_params *p, const char *id,
			const void *config, struct error *e)
{
	(void)id;
	return virtio_9p_create(out, config,
				files_per_share(p->config->share_count),
				p->mem, e);
}

static void *copy_share(const void *config)
{
	struct config_9p *copy = calloc(1, sizeof(*copy));

	if (copy && config_9p_copy(copy, config)) {
		free(copy);
		copy = NULL;
	}
	return copy;
}

static void free_share(void *config)
{
	config_9p_deinit(config);
	free(config);
}

/* ---- balloon ------------------------------------------------------------- */

static int boot_balloon(struct devices *d, struct error *e)
{
	const struct config_balloon *c = &d->p.config->balloon;

	return c->enable ? boot_device(d, DEVICE_BALLOON, "balloon0", c, e) : 0;
}

static int create_balloon(struct virtio_device **out,
			  const struct devices_params *p, const char *id,
			  const void *config, struct error *e)
{
	const struct config_balloon *c = config;
	const struct balloon_params params = {
		.deflate_on_oom = c->deflate_on_oom,
		.free_page_reporting = c->free_page_reporting,
	};

	(void)id;
	return virtio_balloon_create(out, &params, &p->balloon, p->mem,
				     p->io_loop, e);
}

/* ---- virtio-mem ---------------------------------------------------------- */

static int boot_mem(struct devices *d, struct error *e)
{
	return d->p.hot_memory.bytes ?
		       boot_device(d, DEVICE_MEM, "memory0", NULL, e) : 0;
}

static int create_mem(struct virtio_device **out,
		      const struct devices_params *p, const char *id,
		      const void *config, struct error *e)
{
	(void)id;
	(void)config;
	return virtio_mem_create(out, p->hot_memory.base, p->hot_memory.bytes,
				 &p->hot_memory.host, p->mem, p->io_loop, e);
}

/* ---- the table ----------------------------------------------------------- */

static const struct device_kind kinds[DEVICE_TYPES] = {
	[DEVICE_DISK] = {
		.name = "disk",
		.boot = boot_disks,
		.create = create_disk,
		.release = release_disk,
		.config_copy = copy_disk,
		.config_free = free_disk,
	},
	[DEVICE_NET] = {
		.name = "net",
		.boot = boot_nets,
		.create = create_net,
		.config_copy = copy_net,
		.config_free = free_net,
	},
	[DEVICE_CONSOLE] = {
		.name = "console",
		.boot = boot_console,
		.create = create_console,
	},
	[DEVICE_RNG] = {
		.name = "rng",
		.boot = boot_rng,
		.create = create_rng,
		.config_copy = copy_string,
		.config_free = free,
	},
	[DEVICE_PMEM] = {
		.name = "pmem",
		.boot = boot_pmems,
		.create = create_pmem,
		.config_copy = copy_pmem,
		.config_free = free_pmem,
	},
	[DEVICE_VSOCK] = {
		.name = "vsock",
		.boot = boot_vsock,
		.create = create_vsock,
		.config_copy = copy_vsock,
		.config_free = free_vsock,
	},
	[DEVICE_9P] = {
		.name = "9p",
		.boot = boot_shares,
		.create = create_share,
		.config_copy = copy_share,
		.config_free = free_share,
	},
	[DEVICE_BALLOON] = {
		.name = "balloon",
		.boot = boot_balloon,
		.create = create_balloon,
	},
	[DEVICE_MEM] = {
		.name = "mem",
		.boot = boot_mem,
		.create = create_mem,
	},
};

const char *device_key(const struct device *device)
{
	return key_of(device->type, device->id, device->config);
}

const char *device_type_name(enum device_type type)
{
	return kinds[type].name;
}

/* ---- one device ---------------------------------------------------------- */

static void device_free(struct device *device)
{
	if (device->config)
		kinds[device->type].config_free(device->config);
	free(device->id);
	free(device);
}

static struct device *device_new(const struct device_spec *spec)
{
	const struct device_kind *kind = &kinds[spec->type];
	struct device *device = calloc(1, sizeof(*device));

	if (!device)
		return NULL;
	device->type = spec->type;
	if (spec->id)
		device->id = strdup(spec->id);
	if (spec->config && kind->config_copy)
		device->config = kind->config_copy(spec->config);
	if ((spec->id && !device->id) ||
	    (spec->config && kind->config_copy && !device->config)) {
		device_free(device);
		return NULL;
	}
	return device;
}

/* From here on the guest sees it. */
static int plug(struct devices *d, struct device *device,
		struct virtio_device *v, const struct device_spec *spec,
		struct error *e)
{
	const struct devices_params *p = &d->p;
	int ret;

	pthread_mutex_lock(p->machine_lock);
	if (d->quiesced)
		virtio_device_quiesce(v);
	ret = virtio_pci_create(&device->pci, v, p->pci, p->irq, p->kvm,
				spec->bus, spec->slot, e);
	pthread_mutex_unlock(p->machine_lock);
	return ret;
}

int devices_add(struct devices *d, const struct device_spec *spec,
		struct device **out, struct error *e)
{
	struct virtio_device *v = NULL;
	struct device *device;
	int ret;

	if (spec->id && devices_find(d, spec->id))
		return error_config(e, -EEXIST, "there is a device '%s' "
				    "already", spec->id);
	if (spec->type == DEVICE_BALLOON && devices_first_of(d, DEVICE_BALLOON))
		return error_class_set(e, ERROR_ALREADY_SET, -EEXIST,
				       "Only one balloon device is supported");
	device = device_new(spec);
	if (!device)
		return error_set(e, -ENOMEM, "out of memory");
	ret = kinds[spec->type].create(&v, &d->p, spec->id, spec->config, e);
	if (ret)
		goto err_device;
	ret = plug(d, device, v, spec, e);
	if (ret)
		goto err_virtio;
	*d->last = device;
	d->last = &device->next;
	if (out)
		*out = device;
	return 0;

err_virtio:
	if (kinds[spec->type].release)
		kinds[spec->type].release(&d->p, v);
	virtio_device_destroy(v);
err_device:
	device_free(device);
	return ret;
}

void devices_remove(struct devices *d, struct device *device)
{
	bool memory = device->type == DEVICE_PMEM, quiet;
	struct device **link = &d->first;

	while (*link != device)
		link = &(*link)->next;
	*link = device->next;
	if (!device->next)
		d->last = link;
	pthread_mutex_lock(d->p.machine_lock);
	/* Its memory goes: others may be just reading or writing there, or have
	 * their rings there. */
	quiet = d->quiesced || !memory;
	if (!quiet)
		devices_quiesce(d);
	if (kinds[device->type].release)
		kinds[device->type].release(&d->p,
					    virtio_pci_device(device->pci));
	virtio_pci_destroy(device->pci);
	for (struct device *i = d->first; memory && i; i = i->next)
		virtio_device_memory_changed(virtio_pci_device(i->pci));
	if (memory)
		guest_mem_forget(d->p.mem);
	if (!quiet)
		devices_resume(d);
	pthread_mutex_unlock(d->p.machine_lock);
	device_free(device);
}

void *devices_copy_config(const struct device *device, const void *config)
{
	return kinds[device->type].config_copy(config);
}

void devices_set_config(struct device *device, void *copy, bool keep)
{
	void *gone = keep ? device->config : copy;

	if (keep)
		device->config = copy;
	kinds[device->type].config_free(gone);
}

void devices_mark_removing(struct device *device)
{
	device->removing = true;
}

struct vsock *devices_vsock(const struct devices *d)
{
	struct vsock *v = NULL;

	for (struct device *i = d->first; i && !v; i = i->next)
		v = virtio_vsock_host(virtio_pci_device(i->pci));
	return v;
}

struct virtio_device *devices_first_of(const struct devices *d,
				       enum device_type type)
{
	for (struct device *i = d->first; i; i = i->next)
		if (i->type == type)
			return virtio_pci_device(i->pci);
	return NULL;
}

const struct pci_function *device_function(const struct device *device)
{
	return virtio_pci_function(device->pci);
}

/* ---- all of them --------------------------------------------------------- */

int devices_create(struct devices **out, const struct devices_params *p,
		   struct error *e)
{
	struct devices *d = calloc(1, sizeof(*d));
	int ret = 0;

	if (!d)
		return error_set(e, -ENOMEM, "out of memory");
	d->p = *p;
	d->last = &d->first;
	for (size_t k = 0; !ret && k < DEVICE_TYPES; k++)
		if (kinds[k].boot)
			ret = kinds[k].boot(d, e);
	if (ret) {
		devices_destroy(d);
		return ret;
	}
	*out = d;
	return 0;
}

void devices_destroy(struct devices *d)
{
	if (!d)
		return;
	/* Some hold addresses in the memory of others. */
	pthread_mutex_lock(d->p.machine_lock);
	devices_quiesce(d);
	pthread_mutex_unlock(d->p.machine_lock);
	while (d->first)
		devices_remove(d, d->first);
	free(d);
}

struct device *devices_first(const struct devices *d)
{
	return d->first;
}

struct device *devices_find(const struct devices *d, const char *id)
{
	for (struct device *i = d->first; i; i = i->next)
		if (i->id && !strcmp(i->id, id))
			return i;
	return NULL;
}

struct device *devices_at(const struct devices *d, unsigned int bus,
			  unsigned int slot)
{
	for (struct device *i = d->first; i; i = i->next)
		if (device_function(i)->bus == bus &&
		    device_function(i)->slot == slot)
			return i;
	return NULL;
}

void devices_quiesce(struct devices *d)
{
	d->quiesced = true;
	for (struct device *i = d->first; i; i = i->next)
		virtio_device_quiesce(virtio_pci_device(i->pci));
}

void devices_resume(struct devices *d)
{
	d->quiesced = false;
	for (struct device *i = d->first; i; i = i->next)
		virtio_device_resume(virtio_pci_device(i->pci));
}

void devices_reset(struct devices *d)
{
	for (struct device *i = d->first; i; i = i->next)
		virtio_pci_reset(i->pci);
}
