/* SPDX-License-Identifier: MIT */
/* nic-add, nic-remove, nic-update and set_link. Main thread. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/option_net.h"
#include "monitor/internal.h"
#include "monitor/props.h"
#include "vm_devices.h"

static const struct config_net *nic_of(const struct device *d)
{
	return d->type == DEVICE_NET ? d->config : NULL;
}

static struct json_object *nic_json(const struct device *d)
{
	const struct pci_function *f = device_function(d);
	struct json_object *o = json_object_new_object();
	char pci[32];

	snprintf(pci, sizeof(pci), "0000:%02x:%02x.0", f->bus, f->slot);
	json_object_object_add(o, "id", json_object_new_string(d->id));
	json_object_object_add(o, "mac",
			       json_object_new_string(nic_of(d)->mac));
	json_object_object_add(o, "pci", json_object_new_string(pci));
	return o;
}

/* ---- back ends ----------------------------------------------------------- */

/*
 * What --net takes, as a string or an object, but for the id and the MAC
 * address, which the commands have arguments for.
 */
static int parse_backend(struct json_object *v, struct config_net *out,
			 struct error *e)
{
	static const struct option option = {
		.name = "net", .bare = "backend", .fields = option_net_fields,
	};
	struct vm_config c = { 0 };
	int ret;

	if (json_object_is_type(v, json_type_array))
		return error_config(e, -EINVAL, "backend: one, not a list");
	ret = option_net_set(&c, &option, v, "backend", e);
	if (!ret && !c.net_count)
		ret = error_config(e, -EINVAL, "backend: none: of which there "
				   "is no device");
	if (!ret)
		*out = c.nets[0];
	free(c.nets);
	if (!ret && (out->id || out->mac)) {
		ret = error_config(e, -EINVAL, "backend: %s is an argument of "
				   "the command", out->id ? "id" : "mac");
		config_net_deinit(out);
	}
	return ret;
}

/* fd= names what getfd has kept; a number is an inherited descriptor. */
static int find_fds(struct session *s, struct config_net *n, struct error *e)
{
	int ret;

	if (!n->fd || isdigit((unsigned char)*n->fd))
		return 0;
	n->fds_lent = true;
	ret = session_list_fds(s, n->fd, n->fds, CONFIG_MAX_NET_QUEUES,
			       &n->fd_count, e);
	return ret ? error_prefix(e, ret, "backend") : 0;
}

/* The device has duplicates now. */
static void drop_fds(struct session *s, const struct config_net *n)
{
	if (n->fds_lent)
		session_drop_fds(s, n->fd);
}

static int set(char **out, const char *text, struct error *e)
{
	*out = strdup(text);
	return *out ? 0 : error_set(e, -ENOMEM, "out of memory");
}

/* ---- nic-add, nic-remove ------------------------------------------------- */

/* The one asked for, or the first free of net0, net1 and so on. */
static int choose_id(struct vm *vm, struct json_object *args,
		     struct config_net *n, struct error *e)
{
	const char *id = arg_string(args, "id");
	int ret = id_check(id, "id", e);
	char name[24];

	if (ret)
		return ret;
	if (id && vm_device_find(vm, id))
		return error_class_set(e, ERROR_ALREADY_ATTACHED, -EEXIST,
				       "there is a device '%s' already", id);
	for (unsigned int i = 0; !id; i++) {
		snprintf(name, sizeof(name), "net%u", i);
		if (!vm_device_find(vm, name))
			id = name;
	}
	return set(&n->id, id, e);
}

static int add(struct session *s, struct json_object *args,
	       struct config_net *n, struct device **out, struct error *e)
{
	struct vm *vm = s->monitor->vm;
	const char *mac = arg_string(args, "mac");
	struct device_spec spec = {
		.type = DEVICE_NET, .config = n, .bus = -1, .slot = -1,
	};
	int ret = choose_id(vm, args, n, e);

	if (!ret && mac)
		ret = set(&n->mac, mac, e);
	if (!ret)
		ret = find_fds(s, n, e);
	if (!ret)
		ret = config_check_net(vm_config(vm)->uuid, n, e);
	if (ret)
		return ret;
	spec.id = n->id;
	ret = error_of_named(e, vm_device_add(vm, &spec, out, e));
	if (!ret)
		drop_fds(s, n);
	return ret;
}

static int nic_add(struct session *s, struct json_object *args,
		   struct json_object **result, struct error *e)
{
	struct device *device;
	struct config_net n;
	int ret = parse_backend(json_object_object_get(args, "backend"), &n,
				e);

	if (ret)
		return ret;
	ret = add(s, args, &n, &device, e);
	config_net_deinit(&n);
	if (!ret)
		*result = nic_json(device);
	return ret;
}

static int find_nic(struct session *s, struct json_object *args,
		    struct device **out, struct error *e)
{
	const char *id = arg_string(args, "id");

	*out = vm_device_find(s->monitor->vm, id);
	if (*out && nic_of(*out))
		return 0;
	return error_class_set(e, ERROR_NOT_ATTACHED, -ENOENT,
			       "there is no network device with the id %s", id);
}

static int nic_remove(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	struct device *device;
	int ret = find_nic(s, args, &device, e);

	(void)result;
	return ret ? ret : wait_remove_device(
				   s, device,
				   arg_uint(args, "timeout-ms",
					    REMOVE_TIMEOUT_MS),
				   arg_bool(args, "force", false), e);
}

/* ---- nic-update ---------------------------------------------------------- */

/* true or up, false or down. */
static int parse_link(struct json_object *v, bool *up, struct error *e)
{
	const char *text = json_object_get_string(v);

	*up = text && (!strcmp(text, "true") || !strcmp(text, "up") ||
		       !strcmp(text, "on"));
	if (*up || (text && (!strcmp(text, "false") || !strcmp(text, "down") ||
			     !strcmp(text, "off"))))
		return 0;
	return error_config(e, -EINVAL, "link: '%s' is neither up nor down",
			    text ? text : "null");
}

static int replace(struct session *s, struct device *device,
		   struct json_object *backend, struct error *e)
{
	const struct config_net *old = nic_of(device);
	struct vm *vm = s->monitor->vm;
	struct config_net n;
	int ret = parse_backend(backend, &n, e);

	if (ret)
		return ret;
	if (n.vhost && !old->vhost)
		ret = error_class_set(e, ERROR_NOT_SUPPORTED, -ENOTSUP,
				      "vhost stays what it was: off");
	n.vhost = old->vhost;
	if (!ret && n.tap && !n.queues)
		n.queues = old->queues;
	if (!ret)
		ret = set(&n.id, device->id, e);
	if (!ret)
		ret = find_fds(s, &n, e);
	if (!ret)
		ret = config_check_net(vm_config(vm)->uuid, &n, e);
	if (!ret)
		ret = error_of_named(e, vm_nic_replace(vm, device, &n, e));
	if (!ret)
		drop_fds(s, &n);
	config_net_deinit(&n);
	return ret;
}

static int nic_update(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	struct json_object *backend = NULL, *link = NULL;
	struct device *device;
	bool up = true;
	int ret = find_nic(s, args, &device, e);

	if (ret)
		return ret;
	json_object_object_get_ex(args, "backend", &backend);
	if (json_object_object_get_ex(args, "link", &link))
		ret = parse_link(link, &up, e);
	else if (!backend)
		ret = error_class_set(e, ERROR_MISSING_PARAMETER, -EINVAL,
				      "a link, a backend or both");
	if (!ret && backend)
		ret = replace(s, device, backend, e);
	if (!ret && link)
		ret = vm_set_link(s->monitor->vm, device->id, up, e);
	if (!ret)
		*result = nic_json(device);
	return ret;
}

static int set_link(struct session *s, struct json_object *args,
		    struct json_object **result, struct error *e)
{
	(void)result;
	return vm_set_link(s->monitor->vm, arg_string(args, "name"),
			   arg_bool(args, "up", true), e);
}

static const struct command_arg set_link_args[] = {
	{ "name", ARG_STRING, true },
	{ "up", ARG_BOOL, true },
	{ 0 },
};

static const struct command_arg add_args[] = {
	{ "backend", ARG_ANY, true },
	{ "id", ARG_STRING, false },
	{ "mac", ARG_STRING, false },
	{ 0 },
};

static const struct command_arg remove_args[] = {
	{ "id", ARG_STRING, true },
	{ "timeout-ms", ARG_UINT, false },
	{ "force", ARG_BOOL, false },
	{ 0 },
};

static const struct command_arg update_args[] = {
	{ "id", ARG_STRING, true },
	{ "link", ARG_ANY, false },
	{ "backend", ARG_ANY, false },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "set_link",
		.help = "Plug a network device's cable in or out: name, up",
		.args = set_link_args,
		.run = set_link,
	}, {
		.name = "nic-add",
		.help = "Add a network device: backend (as --net; fd= takes "
			"getfd's names), [id], [mac]",
		.args = add_args,
		.resource = true,
		.run = nic_add,
	}, {
		.name = "nic-remove",
		.help = "Take one away: id, [timeout-ms] (30 s), [force]",
		.args = remove_args,
		.resource = true,
		.run = nic_remove,
	}, {
		.name = "nic-update",
		.help = "Change one, id: link (up, down), another backend",
		.args = update_args,
		.resource = true,
		.run = nic_update,
	},
};

const struct command_group net_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
