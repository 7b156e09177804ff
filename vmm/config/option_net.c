/* SPDX-License-Identifier: MIT */
/* Network devices on the command line and in documents. Main thread. */
#include "config/option_net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/option_fields.h"
#include "config/option_list.h"

const struct field option_net_fields[] = {
	FIELD(config_net, FIELD_BOOL, user, .name = "user"),
	FIELD(config_net, FIELD_STRING, tap, .name = "tap", .argument = "NAME",
	      .help = "a tap interface; made, and up, when it is not there"),
	FIELD(config_net, FIELD_STRING, fd, .name = "fd", .argument = "N[:N...]",
	      .help = "inherited descriptors of a tap, one a queue"),
	FIELD(config_net, FIELD_STRING, unix_path, .name = "unix", .argument = "PATH",
	      .help = "connect there: frames behind their 32-bit length"),
	FIELD(config_net, FIELD_STRING, id, .name = "id", .argument = "ID",
	      .help = "default net0, net1, ..."),
	FIELD(config_net, FIELD_STRING, mac, .name = "mac", .argument = "MAC",
	      .help = "default: from the VM's UUID and the id"),
	FIELD(config_net, FIELD_UINT, queues, .name = "queues", .positive = true,
	      .argument = "N", .help = "pairs, 1 to 16; default 1"),
	FIELD(config_net, FIELD_BOOL, vhost, .name = "vhost", .argument = "on|off",
	      .help = "the kernel moves the packets; default off"),
	{ 0 },
};

/* A number, or a list of numbers, becomes what the command line writes. */
static int join_fds(struct json_object *object, const char *label,
		    struct error *e)
{
	struct json_object *v = NULL, *item;
	char text[256] = "";
	size_t used = 0, count;
	bool list;

	if (!json_object_object_get_ex(object, "fd", &v) ||
	    json_object_is_type(v, json_type_string))
		return 0;
	list = json_object_is_type(v, json_type_array);
	count = list ? json_object_array_length(v) : 1;
	for (size_t i = 0; i < count; i++) {
		item = list ? json_object_array_get_idx(v, i) : v;
		if (!json_object_is_type(item, json_type_int))
			return error_config(e, -EINVAL, "%s: fd: neither a "
					    "number nor a list of numbers",
					    label);
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "%s%s", i ? ":" : "",
					 json_object_get_string(item));
		if (used >= sizeof(text))
			return error_config(e, -EINVAL, "%s: fd: too many",
					    label);
	}
	json_object_object_add(object, "fd", json_object_new_string(text));
	return 0;
}

/* The bare word, user or none, as *none or the member user. */
static int take_backend(struct json_object *object, bool *none,
			const char *label, struct error *e)
{
	struct json_object *v = NULL;
	const char *word;

	*none = false;
	if (!json_object_object_get_ex(object, "backend", &v))
		return 0;
	word = json_object_get_string(v);
	if (word && !strcmp(word, "none")) {
		*none = true;
		if (json_object_object_length(object) == 1)
			return 0;
		return error_config(e, -EINVAL, "%s: none takes no "
				    "sub-options", label);
	}
	if (!word || strcmp(word, "user"))
		return error_config(e, -EINVAL, "%s: '%s' is not one of user, "
				    "none, tap=NAME, fd=N[:N...], unix=PATH",
				    label, word ? word : "null");
	json_object_object_del(object, "backend");
	json_object_object_add(object, "user", json_object_new_boolean(true));
	return 0;
}

static int append(struct vm_config *c, const struct config_net *n,
		  struct error *e)
{
	struct config_net *p = realloc(c->nets,
				       (c->net_count + 1) * sizeof(*p));

	if (!p)
		return error_set(e, -ENOMEM, "out of memory");
	c->nets = p;
	p[c->net_count++] = *n;
	return 0;
}

static int set_one(struct vm_config *c, const struct option *o,
		   struct json_object *v, const char *label, struct error *e)
{
	struct json_object *object = NULL;
	struct config_net n = { 0 };
	bool none = false;
	int ret = option_object(o, v, label, &object, e);

	if (ret)
		return ret;
	ret = take_backend(object, &none, label, e);
	if (!ret && !none)
		ret = join_fds(object, label, e);
	if (!ret && !none)
		ret = option_fields_set(&n, o, object, label, e);
	if (!ret && !none)
		ret = append(c, &n, e);
	if (ret)
		config_net_deinit(&n);
	json_object_put(object);
	return ret;
}

int option_net_set(struct vm_config *c, const struct option *o,
		   struct json_object *v, const char *label, struct error *e)
{
	return option_list_set(c, o, v, label, set_one, e);
}

struct json_object *option_net_get(const struct vm_config *c,
				   const struct option *o)
{
	return option_list_json(c->nets, c->net_count, sizeof(*c->nets),
				o->fields);
}

static struct config_net *find(const struct vm_config *c, size_t from,
			       size_t to, const char *id)
{
	for (size_t i = from; id && i < to; i++)
		if (c->nets[i].id && !strcmp(c->nets[i].id, id))
			return &c->nets[i];
	return NULL;
}

int option_net_fold(struct vm_config *c, size_t first, struct error *e)
{
	size_t count = c->net_count, kept = first;

	for (size_t i = first; i < count; i++)
		if (find(c, first, i, c->nets[i].id))
			return error_config(e, -EINVAL, "--net: id '%s' is "
					    "given twice", c->nets[i].id);
	for (size_t i = first; i < count; i++) {
		struct config_net *old = find(c, 0, first, c->nets[i].id);

		if (old)
			config_net_deinit(old);
		else
			old = &c->nets[kept++];
		*old = c->nets[i];
	}
	c->net_count = kept;
	return 0;
}
