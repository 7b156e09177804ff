/* SPDX-License-Identifier: MIT */
/* Network devices and the back ends that they are made with. */
#include "device/kind.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "virtio/net.h"

static int boot_nets(const struct device_boot *b, struct error *e)
{
	const struct vm_config *c = b->p->config;
	int ret = 0;

	for (size_t i = 0; !ret && i < c->net_count; i++)
		ret = device_boot(b, DEVICE_NET, c->nets[i].id, &c->nets[i], e);
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

const struct device_kind device_kind_net = {
	.name = "net",
	.boot = boot_nets,
	.create = create_net,
	.config_copy = copy_net,
	.config_free = free_net,
};
