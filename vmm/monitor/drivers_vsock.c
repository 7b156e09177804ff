/* SPDX-License-Identifier: MIT */
/* device_add of a vhost-vsock-pci. Main thread. */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "monitor/drivers.h"

const struct prop driver_vsock_props[] = {
	{ "guest-cid", PROP_UINT, true },
	{ "vhostfd", PROP_STRING, false },
	{ "seqpacket", PROP_IGNORED, false },
	{ 0 },
};

int driver_vsock_add(struct session *s, struct json_object *args,
		     struct device_spec spec, struct error *e)
{
	uint64_t cid = prop_uint(args, "guest-cid", 0);
	const char *name = prop_string(args, "vhostfd");
	struct config_vsock config = { .cid = (uint32_t)cid, .vhost = true };
	int ret;

	if (cid < 3 || cid >= UINT32_MAX)
		return error_set(e, -EINVAL, "Parameter 'guest-cid': %" PRIu64
				 ": from 3 to 4294967294", cid);
	if (name) {
		config.vhost_fd = session_named_fd(s, name, e);
		if (config.vhost_fd < 0)
			return config.vhost_fd;
	}
	spec.type = DEVICE_VSOCK;
	spec.config = &config;
	ret = vm_device_add(s->monitor->vm, &spec, NULL, e);
	/* The device has a duplicate. */
	if (name)
		close(config.vhost_fd);
	return ret;
}
