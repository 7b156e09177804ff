/* SPDX-License-Identifier: MIT */
/* Properties in loose types. Main thread. */
#include "monitor/props.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ID_MAX 127

/* NULL also for a string with a zero inside. */
static const char *text_of(struct json_object *v)
{
	const char *text;

	if (!json_object_is_type(v, json_type_string))
		return NULL;
	text = json_object_get_string(v);
	return strlen(text) == (size_t)json_object_get_string_len(v) ? text :
								       NULL;
}

static bool get_uint(struct json_object *v, uint64_t *out)
{
	const char *text = text_of(v);
	char *end;

	if (json_object_is_type(v, json_type_int)) {
		*out = json_object_get_uint64(v);
		return json_object_get_int64(v) >= 0;
	}
	if (!text || !isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*out = strtoull(text, &end, 0);
	return !errno && !*end;
}

static bool get_bool(struct json_object *v, bool *out)
{
	static const char *const words[] = { "off", "on", "no", "yes", "false",
					     "true", "n", "y" };
	const char *text = text_of(v);

	if (json_object_is_type(v, json_type_boolean)) {
		*out = json_object_get_boolean(v);
		return true;
	}
	for (size_t i = 0; text && i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i], text))
			continue;
		*out = i & 1;
		return true;
	}
	return false;
}

int prop_check(const struct prop *p, struct json_object *v, struct error *e)
{
	uint64_t n;
	bool b;

	if (p->type == PROP_STRING && !text_of(v))
		return error_set(e, -EINVAL, "Invalid parameter type for '%s', "
				 "expected: string", p->name);
	if (p->type == PROP_UINT && !get_uint(v, &n))
		return error_set(e, -EINVAL, "Parameter '%s' expects a number",
				 p->name);
	if (p->type == PROP_BOOL && !get_bool(v, &b))
		return error_set(e, -EINVAL,
				 "Parameter '%s' expects 'on' or 'off'",
				 p->name);
	return 0;
}

static const struct prop *find(const struct prop *table, const char *name)
{
	for (; table && table->name; table++)
		if (!strcmp(table->name, name))
			return table;
	return NULL;
}

static int check_required(struct json_object *args, const struct prop *table,
			  struct error *e)
{
	for (; table && table->name; table++)
		if (table->required &&
		    !json_object_object_get_ex(args, table->name, NULL))
			return error_set(e, -EINVAL,
					 "Parameter '%s' is missing",
					 table->name);
	return 0;
}

int props_check(struct json_object *args, const char *owner,
		const struct prop *common, const struct prop *own,
		struct error *e)
{
	int ret;

	json_object_object_foreach(args, key, value) {
		const struct prop *p = find(own, key);

		if (!p)
			p = find(common, key);
		/* QEMU's experiments, which are promised to nobody. */
		if (!p && !strncmp(key, "x-", 2))
			continue;
		if (!p)
			return error_set(e, -EINVAL,
					 "Property '%s.%s' not found", owner,
					 key);
		ret = prop_check(p, value, e);
		if (ret)
			return ret;
	}
	ret = check_required(args, common, e);
	return ret ? ret : check_required(args, own, e);
}

const char *prop_string(struct json_object *args, const char *name)
{
	struct json_object *v;

	return json_object_object_get_ex(args, name, &v) ? text_of(v) : NULL;
}

uint64_t prop_uint(struct json_object *args, const char *name,
		   uint64_t fallback)
{
	struct json_object *v;
	uint64_t n;

	return json_object_object_get_ex(args, name, &v) && get_uint(v, &n) ?
		       n : fallback;
}

bool prop_bool(struct json_object *args, const char *name, bool fallback)
{
	struct json_object *v;
	bool b;

	return json_object_object_get_ex(args, name, &v) && get_bool(v, &b) ?
		       b : fallback;
}

bool id_valid(const char *id)
{
	if (!isalpha((unsigned char)*id) || strlen(id) > ID_MAX)
		return false;
	for (; *id; id++)
		if (!isalnum((unsigned char)*id) && !strchr("-._", *id))
			return false;
	return true;
}

int id_check(const char *id, const char *parameter, struct error *e)
{
	if (!id || id_valid(id))
		return 0;
	return error_set(e, -EINVAL, "Parameter '%s' expects an identifier: a "
			 "letter, then letters, digits, '-', '.', '_'",
			 parameter);
}
