/* SPDX-License-Identifier: MIT */
/* Handing queues to the host's kernel, and taking them back. See vhost.h. */
#include "virtio/vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* As many all kernels take. */
#define REGIONS		64u

static int control(const struct vhost *v, unsigned long request, void *arg)
{
	return ioctl(v->fd, request, arg) < 0 ? -errno : 0;
}

int vhost_open(struct vhost *v, const char *path)
{
	int ret;

	v->fd = open(path, O_RDWR | O_CLOEXEC);
	if (v->fd < 0)
		return -errno;
	ret = control(v, VHOST_SET_OWNER, NULL);
	if (ret)
		vhost_close(v);
	return ret;
}

int vhost_adopt(struct vhost *v, int fd)
{
	int ret;

	v->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (v->fd < 0)
		return -errno;
	ret = control(v, VHOST_SET_OWNER, NULL);
	/* Perhaps we own it; if not, nothing else works either. */
	if (ret == -EBUSY)
		return 0;
	if (ret)
		vhost_close(v);
	return ret;
}

void vhost_close(struct vhost *v)
{
	if (v->fd >= 0)
		close(v->fd);
	v->fd = -1;
}

int vhost_features(const struct vhost *v, uint64_t *features)
{
	return control(v, VHOST_GET_FEATURES, features);
}

/* Where the log ends the kernel must not write. */
static bool in_log(const struct guest_mem_log *log,
		   const struct guest_mem_region *r)
{
	return !log || (r->base + r->len_bytes) / GUEST_MEM_LOG_PAGE <=
			       log->pages;
}

static void add_region(struct vhost_memory *table,
		       const struct guest_mem_region *r)
{
	struct vhost_memory_region *next = &table->regions[table->nregions];
	struct vhost_memory_region region = {
		.guest_phys_addr = r->base,
		.memory_size = r->len_bytes,
		.userspace_addr = (uintptr_t)r->host,
	};

	/* Memory that grew in steps is still one. */
	if (table->nregions &&
	    next[-1].guest_phys_addr + next[-1].memory_size == r->base &&
	    next[-1].userspace_addr + next[-1].memory_size ==
		    region.userspace_addr) {
		next[-1].memory_size += r->len_bytes;
	} else {
		*next = region;
		table->nregions++;
	}
}

int vhost_set_memory(const struct vhost *v, struct guest_mem *mem)
{
	const struct guest_mem_log *log = v->logs ? guest_mem_get_log(mem) :
						    NULL;
	const struct guest_mem_region *r;
	struct vhost_memory *table;
	size_t count = 0;
	int ret;

	while (guest_mem_region(mem, count))
		count++;
	table = calloc(1, sizeof(*table) + count * sizeof(*table->regions));
	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < count && (r = guest_mem_region(mem, i)); i++)
		/* The kernel knows no difference between what may be written
		 * and what may not. */
		if (!r->readonly && in_log(log, r))
			add_region(table, r);
	ret = control(v, VHOST_SET_MEM_TABLE, table);
	if (ret == -E2BIG && table->nregions > REGIONS) {
		table->nregions = REGIONS;
		ret = control(v, VHOST_SET_MEM_TABLE, table);
	}
	free(table);
	if (!v->logs)
		guest_mem_note_silent(mem);
	return ret;
}

/* One bit for a page, from address 0 on: what guest_mem's log is, too. */
static int set_log(const struct vhost *v, struct guest_mem_log *log)
{
	uint64_t base = (uintptr_t)log->bits;

	return control(v, VHOST_SET_LOG_BASE, &base);
}

int vhost_prepare(struct vhost *v, const struct virtio_device *d, bool logs)
{
	struct guest_mem_log *log = guest_mem_get_log(d->mem);
	uint64_t features, can;
	int ret = vhost_features(v, &can);

	if (ret)
		return ret;
	features = can & d->features;
	if (log && logs && can & UINT64_C(1) << VHOST_F_LOG_ALL)
		features |= UINT64_C(1) << VHOST_F_LOG_ALL;
	else
		log = NULL;
	v->logs = log;
	ret = vhost_set_memory(v, d->mem);
	if (!ret && log)
		ret = set_log(v, log);
	return ret ? ret : control(v, VHOST_SET_FEATURES, &features);
}

static int set_rings(const struct vhost *v, unsigned int at,
		     const struct virtio_device *d, unsigned int index)
{
	const struct virtqueue_config *c = &d->queues[index].config;
	struct vhost_vring_state size = { .index = at, .num = c->size };
	struct vhost_vring_addr addr = { .index = at };
	struct vhost_vring_state base = { .index = at };
	struct virtqueue_state s;
	void *desc = guest_mem_ring(d->mem, c->desc, 16 * (size_t)c->size);
	void *avail = guest_mem_ring(d->mem, c->avail,
				     6 + 2 * (size_t)c->size);
	void *used = guest_mem_ring(d->mem, c->used, 6 + 8 * (size_t)c->size);
	int ret;

	if (!desc || !avail || !used)
		return -EFAULT;
	virtqueue_save(d->queues[index].vq, &s);
	base.num = s.next_avail;
	addr.desc_user_addr = (uintptr_t)desc;
	addr.avail_user_addr = (uintptr_t)avail;
	addr.used_user_addr = (uintptr_t)used;
	ret = control(v, VHOST_SET_VRING_NUM, &size);
	if (!ret)
		ret = control(v, VHOST_SET_VRING_BASE, &base);
	return ret ? ret : control(v, VHOST_SET_VRING_ADDR, &addr);
}

static void on_call(struct loop_watch *w, uint32_t events)
{
	struct vhost_queue *q = w->opaque;
	struct virtio_device *d = q->device;
	uint64_t count;

	(void)events;
	(void)!read(w->fd, &count, sizeof(count));
	if (d->irq.queue)
		d->irq.queue(d->irq.opaque, q->index);
}

int vhost_queue_rewire(const struct vhost *v, const struct vhost_queue *q,
		       unsigned int at)
{
	struct virtio_device *d = q->device;
	struct vhost_vring_file call = { .index = at, .fd = -1 };

	if (!d)
		return 0;
	/* The interrupt's own eventfd, or else that which the loop watches. */
	if (d->irq.queue_eventfd)
		call.fd = d->irq.queue_eventfd(d->irq.opaque, q->index);
	if (call.fd < 0)
		call.fd = q->call_fd;
	return control(v, VHOST_SET_VRING_CALL, &call);
}

static int set_call(const struct vhost *v, struct vhost_queue *q,
		    unsigned int at)
{
	int ret;

	q->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->call_fd < 0)
		return -errno;
	ret = loop_add(q->device->loop, &q->call, q->call_fd, EPOLLIN, on_call,
		       q);
	return ret ? ret : vhost_queue_rewire(v, q, at);
}

int vhost_queue_start(const struct vhost *v, struct vhost_queue *q,
		      unsigned int at, struct virtio_device *d,
		      unsigned int index)
{
	int ret;

	*q = (struct vhost_queue){
		.device = d, .index = index, .call = LOOP_WATCH_INIT,
		.call_fd = -1,
	};
	if (!virtqueue_enabled(virtio_vq(d, index)))
		return -EINVAL;
	ret = set_rings(v, at, d, index);
	return ret ? ret : set_call(v, q, at);
}

int vhost_queue_kick(const struct vhost *v, const struct vhost_queue *q,
		     unsigned int at)
{
	struct vhost_vring_file kick = {
		.index = at, .fd = q->device->queues[q->index].kick_fd,
	};

	/* Whatever was offered while nobody listened is looked at. */
	virtio_queue_again(q->device, q->index);
	return control(v, VHOST_SET_VRING_KICK, &kick);
}

void vhost_queue_stop(const struct vhost *v, struct vhost_queue *q,
		      unsigned int at)
{
	struct vhost_vring_file none = { .index = at, .fd = -1 };
	struct vhost_vring_state base = { .index = at };
	struct virtqueue_state s;

	if (!q->device)
		return;
	control(v, VHOST_SET_VRING_KICK, &none);
	/* All that the kernel took it has used. */
	if (!control(v, VHOST_GET_VRING_BASE, &base)) {
		s.next_avail = s.next_used = (uint16_t)base.num;
		virtqueue_load(virtio_vq(q->device, q->index), &s);
	}
	control(v, VHOST_SET_VRING_CALL, &none);
	if (q->call_fd >= 0) {
		/* A last one may be in it. */
		if (q->call.fd >= 0)
			on_call(&q->call, 0);
		loop_remove(&q->call);
		close(q->call_fd);
	}
	*q = (struct vhost_queue){ .call = LOOP_WATCH_INIT, .call_fd = -1 };
}
