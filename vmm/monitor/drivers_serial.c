/* SPDX-License-Identifier: MIT */
/* device_add of a virtio-serial-pci and of what is plugged into it. Main
 * thread. */
#include <errno.h>
#include <inttypes.h>

#include "monitor/drivers.h"
#include "virtio/serial.h"
#include "vm_serial.h"

const struct prop driver_serial_props[] = {
	{ "max_ports", PROP_UINT, false },
	{ "emergency-write", PROP_IGNORED, false },
	{ 0 },
};

const struct prop driver_port_props[] = {
	{ "chardev", PROP_STRING, true },
	{ "name", PROP_STRING, false },
	{ "nr", PROP_UINT, false },
	{ 0 },
};

int driver_serial_add(struct session *s, struct json_object *args,
		      struct device_spec spec, struct error *e)
{
	uint64_t max = prop_uint(args, "max_ports", SERIAL_MAX_PORTS);
	struct config_serial config = { .max_ports = (unsigned int)max };

	if (!max || max > SERIAL_MAX_PORTS)
		return error_set(e, -EINVAL, "Parameter 'max_ports': %" PRIu64
				 ": from 1 to %d", max, SERIAL_MAX_PORTS);
	spec.type = DEVICE_SERIAL;
	spec.config = &config;
	return vm_device_add(s->monitor->vm, &spec, NULL, e);
}

static int add_port(struct session *s, struct json_object *args,
		    const char *id, bool console, struct error *e)
{
	uint64_t nr = prop_uint(args, "nr", 0);
	struct vm_port_spec port = {
		.id = id,
		.bus = prop_string(args, "bus"),
		.nr = json_object_object_get_ex(args, "nr", NULL) ?
			      (int)(nr < INT32_MAX ? nr : INT32_MAX) : -1,
		.name = prop_string(args, "name"),
		.chardev = prop_string(args, "chardev"),
		.console = console,
	};

	return vm_port_add(s->monitor->vm, &port, e);
}

int driver_port_add(struct session *s, struct json_object *args,
		    struct device_spec spec, struct error *e)
{
	return add_port(s, args, spec.id, false, e);
}

int driver_virtconsole_add(struct session *s, struct json_object *args,
			   struct device_spec spec, struct error *e)
{
	return add_port(s, args, spec.id, true, e);
}
