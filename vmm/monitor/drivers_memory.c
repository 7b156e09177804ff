/* SPDX-License-Identifier: MIT */
/* device_add of a virtio-balloon-pci. Main thread. */
#include "monitor/drivers.h"

const struct prop driver_balloon_props[] = {
	{ "deflate-on-oom", PROP_BOOL, false },
	{ "free-page-reporting", PROP_BOOL, false },
	{ "guest-stats-polling-interval", PROP_IGNORED, false },
	{ 0 },
};

int driver_balloon_add(struct session *s, struct json_object *args,
		       struct device_spec spec, struct error *e)
{
	const struct config_balloon config = {
		.enable = true,
		.deflate_on_oom = prop_bool(args, "deflate-on-oom", false),
		.free_page_reporting = prop_bool(args, "free-page-reporting",
						 false),
	};

	spec.type = DEVICE_BALLOON;
	spec.config = &config;
	return vm_device_add(s->monitor->vm, &spec, NULL, e);
}
