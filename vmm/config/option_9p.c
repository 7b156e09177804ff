/* SPDX-License-Identifier: MIT */
/* Shares as options. Main thread. */
#include "config/option_9p.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/option_fields.h"
#include "config/option_list.h"

const struct field option_9p_fields[] = {
	FIELD(config_9p, FIELD_STRING, path, .name = "path"),
	FIELD(config_9p, FIELD_STRING, id, .name = "id", .argument = "ID",
	      .help = "default share-TAG"),
	FIELD(config_9p, FIELD_STRING, tag, .name = "tag", .argument = "TAG",
	      .help = "what the guest mounts it by"),
	FIELD(config_9p, FIELD_BOOL, readonly, .name = "readonly", .argument = "on|off",
	      .help = "default off; ro is readonly=on"),
	FIELD(config_9p, FIELD_STRING, allowed, .name = "allowed",
	      .argument = "NAME[:...]",
	      .help = "the only entries of DIR that there are; default all"),
	FIELD(config_9p, FIELD_BYTES, msize_bytes, .name = "msize", .argument = "SIZE",
	      .help = "the largest message, 4K to 1M (bytes without a\n"
		      "unit); default 1M"),
	{ 0 },
};

/* A list of names becomes what the command line writes. */
static int join_allowed(struct json_object *object, const char *label,
			struct error *e)
{
	struct json_object *v = NULL, *joined = NULL;
	char *text = NULL;
	size_t bytes;
	FILE *out;

	if (!json_object_object_get_ex(object, "allowed", &v) ||
	    !json_object_is_type(v, json_type_array))
		return 0;
	for (size_t i = 0; i < json_object_array_length(v); i++) {
		struct json_object *name = json_object_array_get_idx(v, i);
		const char *p = json_object_get_string(name);

		if (!json_object_is_type(name, json_type_string) ||
		    strcspn(p, ":") != (size_t)json_object_get_string_len(name))
			return error_config(e, -EINVAL, "%s: allowed: not the "
					    "name of an entry: %s", label,
					    json_object_to_json_string(name));
	}
	out = open_memstream(&text, &bytes);
	for (size_t i = 0; out && i < json_object_array_length(v); i++)
		fprintf(out, "%s%s", i ? ":" : "", json_object_get_string(
				json_object_array_get_idx(v, i)));
	if (out && !fclose(out))
		joined = json_object_new_string(text);
	free(text);
	if (!joined)
		return error_set(e, -ENOMEM, "out of memory");
	json_object_object_add(object, "allowed", joined);
	return 0;
}

static int set_one(struct vm_config *c, const struct option *o,
		   struct json_object *v, const char *label, struct error *e)
{
	struct config_9p s = { 0 }, *p;
	struct json_object *object = NULL;
	int ret = option_object(o, v, label, &object, e);

	if (!ret)
		ret = join_allowed(object, label, e);
	if (!ret)
		ret = option_fields_set(&s, o, object, label, e);
	json_object_put(object);
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
	return option_list_set(c, o, v, label, set_one, e);
}

struct json_object *option_9p_get(const struct vm_config *c,
				  const struct option *o)
{
	return option_list_json(c->shares, c->share_count, sizeof(*c->shares),
				o->fields);
}

static struct config_9p *find(const struct vm_config *c, size_t from,
			      size_t to, const char *tag)
{
	for (size_t i = from; tag && i < to; i++)
		if (c->shares[i].tag && !strcmp(c->shares[i].tag, tag))
			return &c->shares[i];
	return NULL;
}

int option_9p_fold(struct vm_config *c, size_t first, struct error *e)
{
	size_t count = c->share_count, kept = first;
	struct config_9p *old;

	for (size_t i = first; i < count; i++)
		if (find(c, first, i, c->shares[i].tag))
			return error_config(e, -EINVAL, "--9p: tag '%s' is "
					    "given twice", c->shares[i].tag);
	for (size_t i = first; i < count; i++) {
		old = find(c, 0, first, c->shares[i].tag);
		if (old)
			config_9p_deinit(old);
		else
			old = &c->shares[kept++];
		*old = c->shares[i];
	}
	c->share_count = kept;
	return 0;
}
