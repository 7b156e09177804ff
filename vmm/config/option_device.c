/* SPDX-License-Identifier: MIT */
/* --rng, --balloon, --vsock: reading and printing them. Main thread. */
#include "config/option_device.h"

#include <errno.h>
#include <stdlib.h>

#include "config/option_fields.h"

const struct field option_vsock_fields[] = {
	FIELD(config_vsock, FIELD_U32, cid, .name = "cid", .argument = "N",
	      .help = "the guest's context id, from 3"),
	FIELD(config_vsock, FIELD_STRING, path, .name = "path",
	      .argument = "SOCK",
	      .help = "a Unix socket: CONNECT PORT there reaches the guest;\n"
		      "the guest's port P on CID 2 is SOCK_P"),
	FIELD(config_vsock, FIELD_BOOL, vhost, .name = "vhost",
	      .argument = "on|off",
	      .help = "the host kernel's AF_VSOCK instead; default off"),
	{ 0 },
};

const struct field option_rng_fields[] = {
	FIELD(vm_config, FIELD_BOOL, rng, .name = "enable"),
	FIELD(vm_config, FIELD_STRING, rng_source, .name = "source",
	      .argument = "PATH", .help = "entropy from there; default the "
					  "host's kernel"),
	{ 0 },
};

const struct field option_balloon_fields[] = {
	FIELD(config_balloon, FIELD_BOOL, enable, .name = "enable"),
	FIELD(config_balloon, FIELD_BOOL, deflate_on_oom,
	      .name = "deflate-on-oom", .argument = "on|off",
	      .help = "the guest takes pages back before it kills;\n"
		      "default off"),
	FIELD(config_balloon, FIELD_BOOL, free_page_reporting,
	      .name = "free-page-reporting", .argument = "on|off",
	      .help = "what the guest frees goes back to the host;\n"
		      "default off"),
	{ 0 },
};

/* on (or nothing), off, source=PATH. */
int option_rng_set(struct vm_config *c, const struct option *o,
		   struct json_object *v, const char *label, struct error *e)
{
	free(c->rng_source);
	c->rng_source = NULL;
	c->rng = true;
	if (json_object_is_type(v, json_type_boolean))
		return option_get_bool(v, &c->rng, label, e);
	return option_fields_set(c, o, v, label, e);
}

struct json_object *option_rng_get(const struct vm_config *c,
				   const struct option *o)
{
	(void)o;
	if (!c->rng_source)
		return json_object_new_boolean(c->rng);
	return option_fields_json(c, option_rng_fields + 1);
}

/* on (or nothing), off, sub-options. */
int option_balloon_set(struct vm_config *c, const struct option *o,
		       struct json_object *v, const char *label,
		       struct error *e)
{
	c->balloon = (struct config_balloon){ .enable = true };
	if (json_object_is_type(v, json_type_boolean))
		return option_get_bool(v, &c->balloon.enable, label, e);
	return option_fields_set(&c->balloon, o, v, label, e);
}

struct json_object *option_balloon_get(const struct vm_config *c,
				       const struct option *o)
{
	if (!c->balloon.enable)
		return NULL;
	return option_fields_json(&c->balloon, o->fields);
}

int option_vsock_set(struct vm_config *c, const struct option *o,
		     struct json_object *v, const char *label, struct error *e)
{
	int ret;

	free(c->vsock.path);
	c->vsock = (struct config_vsock){ 0 };
	ret = option_fields_set(&c->vsock, o, v, label, e);
	if (!ret && !c->vsock.cid)
		ret = error_config(e, -EINVAL, "%s: cid=N, from 3 on, is "
				   "needed", label);
	return ret;
}

struct json_object *option_vsock_get(const struct vm_config *c,
				     const struct option *o)
{
	return c->vsock.cid ? option_fields_json(&c->vsock, o->fields) : NULL;
}
