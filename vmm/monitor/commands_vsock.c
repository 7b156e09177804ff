/* SPDX-License-Identifier: MIT */
/* Commands about ports of the vsock. Main thread. */
#include <errno.h>
#include <inttypes.h>

#include "monitor/internal.h"

static int get_port(struct json_object *args, uint32_t *port, struct error *e)
{
	uint64_t n = arg_uint(args, "port", 0);

	if (n > UINT32_MAX)
		return error_config(e, -ERANGE, "port: %" PRIu64 ": at most "
				    "4294967295", n);
	*port = (uint32_t)n;
	return 0;
}

static int get_uid(struct json_object *o, uid_t *uid, struct error *e)
{
	int64_t n = json_object_get_int64(o);

	if (!json_object_is_type(o, json_type_int) || n < 0 || n >= UINT32_MAX)
		return error_config(e, -EINVAL, "allow-uid: %s: not a user id",
				    json_object_to_json_string(o));
	*uid = (uid_t)n;
	return 0;
}

/* One id or a list of them. */
static int get_uids(struct json_object *args, uid_t *uids, size_t *count,
		    struct error *e)
{
	struct json_object *o;
	size_t n;
	int ret = 0;

	*count = 0;
	if (!json_object_object_get_ex(args, "allow-uid", &o))
		return 0;
	if (!json_object_is_type(o, json_type_array)) {
		*count = 1;
		return get_uid(o, uids, e);
	}
	n = json_object_array_length(o);
	if (!n || n > VSOCK_MAX_UIDS)
		return error_config(e, -EINVAL, "allow-uid: %zu of them: from "
				    "1 to %u", n, VSOCK_MAX_UIDS);
	for (; !ret && *count < n; ++*count)
		ret = get_uid(json_object_array_get_idx(o, *count),
			      &uids[*count], e);
	return ret;
}

static int with_service(struct session *s, struct json_object *args,
			int (*fn)(struct vm *vm,
				  const struct vsock_service *service,
				  struct error *e), struct error *e)
{
	uid_t uids[VSOCK_MAX_UIDS];
	struct vsock_service service = {
		.path = arg_string(args, "path"),
		.once = arg_bool(args, "once", false),
		.disabled = arg_bool(args, "disabled", false),
		.uids = uids,
	};
	int ret = get_port(args, &service.port, e);

	if (!ret)
		ret = get_uids(args, uids, &service.uid_count, e);
	return ret ? ret : fn(s->monitor->vm, &service, e);
}

static int listen_run(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	(void)result;
	return with_service(s, args, vm_vsock_listen, e);
}

static int set_run(struct session *s, struct json_object *args,
		   struct json_object **result, struct error *e)
{
	(void)result;
	return with_service(s, args, vm_vsock_service_set, e);
}

static int remove_run(struct session *s, struct json_object *args,
		      struct json_object **result, struct error *e)
{
	uint32_t port = 0;
	int ret = get_port(args, &port, e);

	(void)result;
	return ret ? ret : vm_vsock_service_remove(s->monitor->vm, port, e);
}

static const struct command_arg service_args[] = {
	{ "port", ARG_UINT, true },
	{ "path", ARG_STRING, false },
	{ "once", ARG_BOOL, false },
	{ "disabled", ARG_BOOL, false },
	{ "allow-uid", ARG_ANY, false },
	{ 0 },
};

static const struct command_arg remove_args[] = {
	{ "port", ARG_UINT, true },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "vsock-listen",
		.help = "Where the guest's connections to a vsock port go: "
			"port, [path], [once], [disabled], [allow-uid]",
		.args = service_args,
		.resource = true,
		.run = listen_run,
	}, {
		.name = "vsock-service-set",
		.help = "Make, change or (disabled alone) remove a vsock "
			"port's service; arguments of vsock-listen",
		.args = service_args,
		.resource = true,
		.run = set_run,
	}, {
		.name = "vsock-service-remove",
		.help = "Forget a vsock port's service, if there is one: port",
		.args = remove_args,
		.resource = true,
		.run = remove_run,
	},
};

const struct command_group vsock_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
