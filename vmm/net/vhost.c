/* SPDX-License-Identifier: MIT */
/* The ioctls of /dev/vhost-net; see the header for who calls. */
#include "net/vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define RINGS		2
#define MAX_REGIONS	64	/* the kernel's default limit, too */

struct vhost_net {
	int fd;
	uint64_t features;
};

static int vhost_ioctl(const struct vhost_net *v, unsigned long request,
		       void *arg)
{
	return ioctl(v->fd, request, arg) ? -errno : 0;
}

int vhost_net_create(struct vhost_net **out, struct error *e)
{
	struct vhost_net *v = calloc(1, sizeof(*v));
	int ret;

	if (!v)
		return error_set(e, -ENOMEM, "out of memory");
	v->fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
	if (v->fd < 0) {
		ret = error_errno(e, -errno, "vhost=on: /dev/vhost-net");
		goto err_free;
	}
	ret = vhost_ioctl(v, VHOST_SET_OWNER, NULL);
	if (!ret)
		ret = vhost_ioctl(v, VHOST_GET_FEATURES, &v->features);
	if (ret) {
		error_errno(e, ret, "vhost=on: vhost-net");
		goto err_close;
	}
	*out = v;
	return 0;

err_close:
	close(v->fd);
err_free:
	free(v);
	return ret;
}

void vhost_net_destroy(struct vhost_net *v)
{
	if (!v)
		return;
	close(v->fd);
	free(v);
}

uint64_t vhost_net_features(const struct vhost_net *v)
{
	/* The header is the tap's business here. */
	return v->features & ~(UINT64_C(1) << VHOST_NET_F_VIRTIO_NET_HDR);
}

int vhost_net_set_features(struct vhost_net *v, uint64_t features)
{
	return vhost_ioctl(v, VHOST_SET_FEATURES, &features);
}

int vhost_net_set_memory(struct vhost_net *v,
			 const struct vhost_region *regions,
			 unsigned int count)
{
	struct {
		struct vhost_memory head;
		struct vhost_memory_region regions[MAX_REGIONS];
	} m = { .head.nregions = count };

	if (count > MAX_REGIONS)
		return -E2BIG;
	for (unsigned int i = 0; i < count; i++)
		m.regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = regions[i].guest,
			.memory_size = regions[i].len_bytes,
			.userspace_addr = (uintptr_t)regions[i].host,
		};
	return vhost_ioctl(v, VHOST_SET_MEM_TABLE, &m);
}

int vhost_net_set_ring(struct vhost_net *v, unsigned int index,
		       const struct vhost_ring *r)
{
	struct vhost_vring_state size = { index, r->size };
	struct vhost_vring_state base = { index, r->next };
	struct vhost_vring_file kick = { index, r->kick_fd };
	struct vhost_vring_addr addr = {
		.index = index,
		.desc_user_addr = (uintptr_t)r->desc,
		.avail_user_addr = (uintptr_t)r->avail,
		.used_user_addr = (uintptr_t)r->used,
	};
	int ret = vhost_ioctl(v, VHOST_SET_VRING_NUM, &size);

	if (!ret)
		ret = vhost_ioctl(v, VHOST_SET_VRING_BASE, &base);
	if (!ret)
		ret = vhost_ioctl(v, VHOST_SET_VRING_ADDR, &addr);
	if (!ret)
		ret = vhost_net_set_call(v, index, r->call_fd);
	if (!ret)
		ret = vhost_ioctl(v, VHOST_SET_VRING_KICK, &kick);
	return ret;
}

int vhost_net_set_call(struct vhost_net *v, unsigned int index, int call_fd)
{
	struct vhost_vring_file call = { index, call_fd };

	return vhost_ioctl(v, VHOST_SET_VRING_CALL, &call);
}

int vhost_net_start(struct vhost_net *v, int tap_fd)
{
	int ret = 0;

	for (unsigned int i = 0; !ret && i < RINGS; i++) {
		struct vhost_vring_file backend = { i, tap_fd };

		ret = vhost_ioctl(v, VHOST_NET_SET_BACKEND, &backend);
	}
	if (ret)
		vhost_net_stop(v);
	return ret;
}

void vhost_net_stop(struct vhost_net *v)
{
	for (unsigned int i = 0; i < RINGS; i++) {
		struct vhost_vring_file backend = { i, -1 };

		vhost_ioctl(v, VHOST_NET_SET_BACKEND, &backend);
	}
}

int vhost_net_get_next(struct vhost_net *v, unsigned int index, uint16_t *next)
{
	struct vhost_vring_state base = { .index = index };
	int ret = vhost_ioctl(v, VHOST_GET_VRING_BASE, &base);

	if (!ret)
		*next = (uint16_t)base.num;
	return ret;
}
