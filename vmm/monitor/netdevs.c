/* SPDX-License-Identifier: MIT */
/*
 * netdev_add, netdev_del and device_add virtio-net-pci. A netdev is what the
 * client said, and the descriptors that it passed; a device opens the former and
 * works on duplicates of the latter. Main thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/drivers.h"

struct netdev {
	struct netdev *next;
	struct config_net net;		/* fds and vhost_fds are its own */
};

static struct netdev **link_of(struct monitor *m, const char *id)
{
	struct netdev **link = &m->netdevs;

	while (*link && strcmp((*link)->net.netdev, id))
		link = &(*link)->next;
	return link;
}

/* The device that is made from it. */
static const struct device *user_of(const struct vm *vm, const char *id)
{
	for (const struct device *d = vm_device_first(vm); d; d = d->next) {
		const struct config_net *n = d->config;

		if (d->type == DEVICE_NET && n->netdev &&
		    !strcmp(n->netdev, id))
			return d;
	}
	return NULL;
}

static void close_all(const int *fds, unsigned int count)
{
	while (count)
		close(fds[--count]);
}

static void destroy(struct netdev *n)
{
	close_all(n->net.fds, n->net.fd_count);
	close_all(n->net.vhost_fds, n->net.vhost_fd_count);
	config_net_deinit(&n->net);
	free(n);
}

void netdevs_destroy(struct monitor *m)
{
	struct netdev *next;

	for (struct netdev *n = m->netdevs; n; n = next) {
		next = n->next;
		destroy(n);
	}
	m->netdevs = NULL;
}

/* ---- netdev_add ---------------------------------------------------------- */

static const struct prop common_props[] = {
	{ "type", PROP_STRING, true },
	{ "id", PROP_STRING, true },
	{ 0 },
};

static const struct prop tap_props[] = {
	{ "ifname", PROP_STRING, false },
	{ "fd", PROP_STRING, false },
	{ "fds", PROP_STRING, false },
	{ "vhost", PROP_BOOL, false },
	{ "vhostfd", PROP_STRING, false },
	{ "vhostfds", PROP_STRING, false },
	{ "queues", PROP_UINT, false },
	{ "script", PROP_STRING, false },
	{ "downscript", PROP_STRING, false },
	{ "vhostforce", PROP_IGNORED, false },
	{ "vnet_hdr", PROP_IGNORED, false },
	{ "sndbuf", PROP_IGNORED, false },
	{ "poll-us", PROP_IGNORED, false },
	{ 0 },
};

static const struct prop stream_props[] = {
	{ "addr", PROP_IGNORED, true },		/* parse_stream() */
	{ "server", PROP_BOOL, false },
	{ 0 },
};

static const struct prop address_props[] = {
	{ "type", PROP_STRING, true },
	{ "path", PROP_STRING, true },
	{ 0 },
};

static const struct prop user_props[] = { { 0 } };

static int set(char **out, const char *text, struct error *e)
{
	*out = strdup(text);
	return *out ? 0 : error_set(e, -ENOMEM, "out of memory");
}

/* One of the two names of a property. */
static const char *either(struct json_object *args, const char *one,
			  const char *several)
{
	const char *text = prop_string(args, one);

	return text ? text : prop_string(args, several);
}

/* What names name, as our own. */
static int keep_fds(struct session *s, const char *names, int *fds,
		    unsigned int *count, struct error *e)
{
	int kept[CONFIG_MAX_NET_QUEUES];
	unsigned int n;
	int ret = session_list_fds(s, names, kept, CONFIG_MAX_NET_QUEUES, &n,
				   e);

	for (unsigned int i = 0; !ret && i < n; i++) {
		int fd = fcntl(kept[i], F_DUPFD_CLOEXEC, 0);

		if (fd < 0)
			ret = error_errno(e, -errno, "%s", names);
		else
			fds[(*count)++] = fd;
	}
	return ret;
}

static int check_script(struct json_object *args, const char *name,
			struct error *e)
{
	const char *script = prop_string(args, name);

	if (!script || !*script || !strcmp(script, "no"))
		return 0;
	return error_class_set(e, ERROR_NOT_SUPPORTED, -EINVAL, "Parameter "
			       "'%s': only \"no\"", name);
}

static int parse_tap(struct session *s, struct json_object *args,
		     struct config_net *n, struct error *e)
{
	const char *ifname = prop_string(args, "ifname");
	const char *fds = either(args, "fd", "fds");
	const char *vhost_fds = either(args, "vhostfd", "vhostfds");
	uint64_t queues = prop_uint(args, "queues", 0);
	int ret = check_script(args, "script", e);

	if (!ret)
		ret = check_script(args, "downscript", e);
	if (ret)
		return ret;
	if (!ifname == !fds)
		return error_set(e, -EINVAL, "Parameters: either 'ifname' or "
				 "'fds' must be there");
	if (queues > CONFIG_MAX_NET_QUEUES)
		return error_set(e, -EINVAL, "Parameter 'queues': %" PRIu64
				 ": at most %d", queues, CONFIG_MAX_NET_QUEUES);
	n->queues = (unsigned int)queues;
	n->vhost = prop_bool(args, "vhost", vhost_fds != NULL);
	if (vhost_fds && !n->vhost)
		return error_set(e, -EINVAL, "Parameter 'vhostfds': needs "
				 "vhost=on");
	ret = fds ? set(&n->fd, fds, e) : set(&n->tap, ifname, e);
	n->fds_lent = true;
	if (!ret && fds)
		ret = keep_fds(s, fds, n->fds, &n->fd_count, e);
	if (!ret && vhost_fds)
		ret = keep_fds(s, vhost_fds, n->vhost_fds, &n->vhost_fd_count,
			       e);
	return ret;
}

static int parse_stream(struct json_object *args, struct config_net *n,
			struct error *e)
{
	struct json_object *addr = json_object_object_get(args, "addr");
	const char *type;
	int ret;

	if (!json_object_is_type(addr, json_type_object))
		return error_set(e, -EINVAL, "Invalid parameter type for "
				 "'addr', expected: object");
	type = prop_string(addr, "type");
	if (prop_bool(args, "server", false) || !type || strcmp(type, "unix"))
		return error_class_set(e, ERROR_NOT_SUPPORTED, -EINVAL,
				       "a stream is one to a Unix socket: "
				       "'server' off, 'addr.type' unix");
	ret = props_check(addr, "addr", address_props, NULL, e);
	return ret ? ret : set(&n->unix_path, prop_string(addr, "path"), e);
}

static int parse(struct session *s, struct json_object *args,
		 struct config_net *n, struct error *e)
{
	const char *type = prop_string(args, "type");
	bool tap = !strcmp(type, "tap"), stream = !strcmp(type, "stream");
	int ret;

	n->user = !strcmp(type, "user");
	if (!tap && !stream && !n->user)
		return error_set(e, -EINVAL, "Parameter 'type': '%s': there "
				 "are tap, stream and user", type);
	ret = props_check(args, type, common_props, tap ? tap_props :
			  stream ? stream_props : user_props, e);
	if (!ret)
		ret = id_check(prop_string(args, "id"), "id", e);
	if (!ret)
		ret = set(&n->netdev, prop_string(args, "id"), e);
	/* For the check only: a device has its own. */
	if (!ret)
		ret = set(&n->id, n->netdev, e);
	if (!ret && tap)
		ret = parse_tap(s, args, n, e);
	if (!ret && stream)
		ret = parse_stream(args, n, e);
	if (!ret)
		ret = config_check_net("", n, e);
	if (!ret && n->vhost_fd_count && n->vhost_fd_count != n->queues)
		ret = error_set(e, -EINVAL, "Parameter 'vhostfds': %u for %u "
				"queues", n->vhost_fd_count, n->queues);
	return ret;
}

static int netdev_add(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	const char *id = arg_string(args, "id"), *fds, *vhost_fds;
	struct monitor *m = s->monitor;
	struct netdev *n;
	int ret;

	(void)result;
	if (*link_of(m, id))
		return error_set(e, -EEXIST, "Duplicate ID '%s' for netdev",
				 id);
	n = calloc(1, sizeof(*n));
	if (!n)
		return error_set(e, -ENOMEM, "out of memory");
	ret = parse(s, args, &n->net, e);
	if (ret) {
		destroy(n);
		return ret;
	}
	fds = either(args, "fd", "fds");
	vhost_fds = either(args, "vhostfd", "vhostfds");
	if (fds)
		session_drop_fds(s, fds);
	if (vhost_fds)
		session_drop_fds(s, vhost_fds);
	n->next = m->netdevs;
	m->netdevs = n;
	return 0;
}

static int netdev_del(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	const char *id = arg_string(args, "id");
	struct netdev **link = link_of(s->monitor, id), *n = *link;
	const struct device *user = user_of(s->monitor->vm, id);

	(void)result;
	if (!n)
		return error_class_set(e, ERROR_DEVICE_NOT_FOUND, -ENOENT,
				       "Device '%s' not found", id);
	if (user)
		return error_set(e, -EBUSY, "Device '%s' is in use by '%s'", id,
				 user->id ? user->id : "");
	*link = n->next;
	destroy(n);
	return 0;
}

/* ---- device_add ---------------------------------------------------------- */

/* mq is so if there are several queues; num-queues says again how many. */
const struct prop driver_net_props[] = {
	{ "netdev", PROP_STRING, true },
	{ "mac", PROP_STRING, false },
	{ "num-queues", PROP_UINT, false },
	{ "mq", PROP_BOOL, false },
	{ "rx_queue_size", PROP_IGNORED, false },
	{ "tx_queue_size", PROP_IGNORED, false },
	{ "tx", PROP_IGNORED, false },
	{ 0 },
};

int driver_net_add(struct session *s, struct json_object *args,
		   struct device_spec spec, struct error *e)
{
	const char *id = prop_string(args, "netdev");
	const char *mac = prop_string(args, "mac");
	struct vm *vm = s->monitor->vm;
	const struct netdev *n = *link_of(s->monitor, id);
	uint64_t queues = prop_uint(args, "num-queues", n ? n->net.queues : 0);
	struct config_net net;
	int ret;

	if (!n)
		return error_set(e, -ENOENT, "Property 'virtio-net-pci.netdev' "
				 "can't find value '%s'", id);
	if (user_of(vm, id))
		return error_set(e, -EBUSY, "Property 'virtio-net-pci.netdev' "
				 "can't take value '%s', it's in use", id);
	if (queues != n->net.queues)
		return error_set(e, -EINVAL, "Parameter 'num-queues': %" PRIu64
				 ": '%s' has %u", queues, id, n->net.queues);
	ret = config_net_copy(&net, &n->net);
	if (ret)
		return error_set(e, ret, "out of memory");
	free(net.mac);
	net.mac = NULL;
	if (mac)
		ret = set(&net.mac, mac, e);
	if (spec.id && !ret) {
		free(net.id);
		ret = set(&net.id, spec.id, e);
	}
	if (!ret)
		ret = config_check_net(vm_config(vm)->uuid, &net, e);
	spec.type = DEVICE_NET;
	spec.config = &net;
	if (!ret)
		ret = vm_device_add(vm, &spec, NULL, e);
	config_net_deinit(&net);
	return ret;
}

static const struct command_arg add_args[] = {
	{ "type", ARG_STRING, true },
	{ "id", ARG_STRING, true },
	{ 0 },
};

static const struct command_arg del_args[] = {
	{ "id", ARG_STRING, true },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "netdev_add",
		.help = "Name a network: type=tap id, ifname or fds, ...; "
			"type=stream id, addr",
		.args = add_args,
		.open = true,
		.run = netdev_add,
	}, {
		.name = "netdev_del",
		.help = "Forget a network that no device uses, id",
		.args = del_args,
		.run = netdev_del,
	},
};

const struct command_group netdev_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
