/* SPDX-License-Identifier: MIT */
/* Lists of sections; --initrd and --params, which are lists of strings. Main
 * thread. */
#include "config/option_list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/option_fields.h"

int option_list_set(struct vm_config *c, const struct option *o,
		    struct json_object *v, const char *label,
		    int (*set_one)(struct vm_config *c, const struct option *o,
				   struct json_object *v, const char *label,
				   struct error *e),
		    struct error *e)
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

struct json_object *option_list_json(const void *base, size_t count,
				     size_t item_bytes,
				     const struct field *fields)
{
	const char *item = base;
	struct json_object *list;

	if (!count)
		return NULL;
	list = json_object_new_array();
	for (; count; count--, item += item_bytes)
		json_object_array_add(list, option_fields_json(item, fields));
	return list;
}

int option_list_append(char ***list, size_t *count, const char *text,
		       struct error *e)
{
	char **p = realloc(*list, (*count + 1) * sizeof(*p));
	char *copy = strdup(text);

	if (p)
		*list = p;
	if (!p || !copy) {
		free(copy);
		return error_set(e, -ENOMEM, "out of memory");
	}
	p[(*count)++] = copy;
	return 0;
}

static int set_list(char ***list, size_t *count, struct json_object *v,
		    const char *label, struct error *e)
{
	char *text = NULL;
	int ret = 0;

	if (json_object_is_type(v, json_type_array)) {
		for (size_t i = 0; !ret && i < json_object_array_length(v); i++)
			ret = set_list(list, count,
				       json_object_array_get_idx(v, i), label,
				       e);
		return ret;
	}
	ret = option_get_string(v, &text, label, e);
	if (!ret)
		ret = option_list_append(list, count, text, e);
	free(text);
	return ret;
}

static struct json_object *get_list(char *const *list, size_t count)
{
	struct json_object *array;

	if (!count)
		return NULL;
	array = json_object_new_array();
	for (size_t i = 0; i < count; i++)
		json_object_array_add(array, json_object_new_string(list[i]));
	return array;
}

int option_initrd_set(struct vm_config *c, const struct option *o,
		      struct json_object *v, const char *label, struct error *e)
{
	(void)o;
	return set_list(&c->initrds, &c->initrd_count, v, label, e);
}

struct json_object *option_initrd_get(const struct vm_config *c,
				      const struct option *o)
{
	(void)o;
	return get_list(c->initrds, c->initrd_count);
}

int option_params_set(struct vm_config *c, const struct option *o,
		      struct json_object *v, const char *label, struct error *e)
{
	(void)o;
	/* -p '' is what scripts pass for "none". */
	if (json_object_is_type(v, json_type_string) &&
	    !json_object_get_string_len(v))
		return 0;
	return set_list(&c->params, &c->param_count, v, label, e);
}

struct json_object *option_params_get(const struct vm_config *c,
				      const struct option *o)
{
	(void)o;
	return get_list(c->params, c->param_count);
}
