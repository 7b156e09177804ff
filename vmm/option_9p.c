/* SPDX-License-Identifier: MIT */
/* Shares as options. Main thread. */
#include "option_9p.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "option_fields.h"

#define FIELD(kind, member, ...)					\
	{ .type = kind, .offset = offsetof(struct config_9p, member),	\
	  __VA_ARGS__ }

const struct field option_9p_fields[] = {
	FIELD(FIELD_STRING, path, .name = "path"),
	FIELD(FIELD_STRING, tag, .name = "tag", .argument = "TAG",
	      .help = "what the guest mounts it by"),
	FIELD(FIELD_BOOL, readonly, .name = "readonly", .argument = "on|off",
	      .help = "default off; ro is readonly=on"),
	FIELD(FIELD_STRING, allowed, .name = "allowed",
	      .argument = "NAME[:...]",
	      .help = "the only entries of DIR that there are; default all"),
	FIELD(FIELD_BYTES, msize_bytes, .name = "msize", .argument = "SIZE",
	      .help = "the largest message, 4K to 1M (bytes without a\n"
		      "unit); default 1M"),
	{ 0 },
};

static int set_one(struct vm_config *c, const struct option *o,
		   struct json_object *v, const char *label, struct error *e)
{
	struct config_9p s = { 0 }, *p;
	int ret = option_fields_set(&s, o, v, label, e);

	if (!ret && !s.path)
		ret = error_config(e, -EINVAL, "%s: no path", label);
	p = ret ? NULL : realloc(c->shares, (c->share_count + 1) * sizeof(*p));
	if (!p) {
		config_9p_deinit(&s);
		return ret ? ret : error_set(e, -ENOMEM, "out of memory");
	}
	c->shares = p;
	p[c->share_count++] = s;
	return 0;
}

int option_9p_set(struct vm_config *c, const struct option *o,
		  struct json_object *v, const char *label, struct error *e)
{
	char where[64];
	int ret = 0;

	if (!json_object_is_type(v, json_type_array))
		return set_one(c, o, v, label, e);
	for (size_t i = 0; !ret && i < json_object_array_length(v); i++) {
		snprintf(where, sizeof(where), "%s[%zu]", label, i);
		ret = set_one(c, o, json_object_array_get_idx(v, i), where, e);
	}
	return ret;
}

struct json_object *option_9p_get(const struct vm_config *c,
				  const struct option *o)
{
	struct json_object *list;

	if (!c->share_count)
		return NULL;
	list = json_object_new_array();
	for (size_t i = 0; i < c->share_count; i++)
		json_object_array_add(list, option_fields_json(&c->shares[i],
							       o->fields));
	return list;
}
