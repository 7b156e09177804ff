/* SPDX-License-Identifier: MIT */
/* Values and sections: JSON ⇄ members of structs. Main thread. */
#include "config/option_fields.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/suboptions.h"
#include "nearest.h"

static int no_memory(struct error *e)
{
	return error_set(e, -ENOMEM, "out of memory");
}

/* C would see less of it than JSON does. */
static bool has_nul(struct json_object *v)
{
	return json_object_is_type(v, json_type_string) &&
	       strlen(json_object_get_string(v)) !=
		       (size_t)json_object_get_string_len(v);
}

int option_get_string(struct json_object *v, char **out, const char *label,
		      struct error *e)
{
	const char *text;

	if (!json_object_is_type(v, json_type_string))
		return error_config(e, -EINVAL, "%s: not a string: %s", label,
				    json_object_to_json_string(v));
	text = json_object_get_string(v);
	if (has_nul(v))
		return error_config(e, -EINVAL, "%s: a NUL inside", label);
	if (!*text)
		return error_config(e, -EINVAL, "%s: empty", label);
	free(*out);
	*out = strdup(text);
	return *out ? 0 : no_memory(e);
}

static int parse_bool(const char *text, bool *out)
{
	*out = !strcmp(text, "on") || !strcmp(text, "true");
	return *out || !strcmp(text, "off") || !strcmp(text, "false") ?
		       0 : -EINVAL;
}

int option_get_bool(struct json_object *v, bool *out, const char *label,
		    struct error *e)
{
	const char *text = json_object_get_string(v);

	if (json_object_is_type(v, json_type_boolean))
		*out = json_object_get_boolean(v);
	else if (!text || parse_bool(text, out))
		return error_config(e, -EINVAL, "%s: '%s' is neither on nor "
				    "off", label, text ? text : "null");
	return 0;
}

static int get_number(struct json_object *v, unsigned int max,
		      unsigned int *out, const char *label, struct error *e)
{
	const char *text = json_object_get_string(v);
	unsigned long n;
	char *end;

	errno = 0;
	n = text ? strtoul(text, &end, 10) : 0;
	if (!text || *text < '0' || *text > '9' || *end)
		return error_config(e, -EINVAL, "%s: '%s' is not a number",
				    label, text ? text : "null");
	if (errno || n > max)
		return error_config(e, -ERANGE, "%s: '%s' is too large", label,
				    text);
	*out = (unsigned int)n;
	return 0;
}

int option_get_uint(struct json_object *v, unsigned int *out,
		    const char *label, struct error *e)
{
	return get_number(v, INT_MAX, out, label, e);
}

int option_get_size(struct json_object *v, uint64_t *out, const char *label,
		    struct error *e)
{
	const char *text = json_object_get_string(v);
	int ret = text ? config_parse_size(text, out) : -EINVAL;

	if (ret)
		return error_config(e, ret, "%s: '%s' is %s", label,
				    text ? text : "null", ret == -ERANGE ?
				    "too large" : "not a size (such as 512M)");
	return 0;
}

static int get_bytes(struct json_object *v, uint64_t *out, const char *label,
		     struct error *e)
{
	const char *text = json_object_get_string(v);
	unsigned long long n;
	char *end;

	if (!text || !*text || text[strspn(text, "0123456789")])
		return option_get_size(v, out, label, e);
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return error_config(e, -ERANGE, "%s: '%s' is too large", label,
				    text);
	*out = n;
	return 0;
}

int option_get_enum(struct json_object *v, const char *const *names, int *out,
		    const char *label, struct error *e)
{
	const char *text = json_object_get_string(v);
	char all[128] = "";

	for (int i = 0; names[i]; i++) {
		size_t used = strlen(all);

		if (text && !strcmp(text, names[i])) {
			*out = i;
			return 0;
		}
		snprintf(all + used, sizeof(all) - used, "%s%s",
			 i ? ", " : "", names[i]);
	}
	return error_config(e, -EINVAL, "%s: '%s' is not one of %s", label,
			    text ? text : "null", all);
}

static int set_field(void *base, const struct field *f, struct json_object *v,
		     const char *label, struct error *e)
{
	void *member = (char *)base + f->offset;
	char where[96];
	int ret;

	snprintf(where, sizeof(where), "%s: %s", label, f->name);
	if (has_nul(v))
		return error_config(e, -EINVAL, "%s: a NUL inside", where);
	switch (f->type) {
	case FIELD_STRING:
		return option_get_string(v, member, where, e);
	case FIELD_UINT:
		ret = option_get_uint(v, member, where, e);
		if (!ret && f->positive && !*(unsigned int *)member)
			ret = error_config(e, -EINVAL, "%s: 0: at least 1",
					   where);
		return ret;
	case FIELD_U32:
		return get_number(v, UINT32_MAX, member, where, e);
	case FIELD_SIZE:
		return option_get_size(v, member, where, e);
	case FIELD_BYTES:
		return get_bytes(v, member, where, e);
	case FIELD_ENUM:
		return option_get_enum(v, f->names, member, where, e);
	default:
		ret = option_get_bool(v, member, where, e);
		if (!ret && f->inverted)
			*(bool *)member = !*(bool *)member;
		return ret;
	}
}

/* Other monitors' names, too far from ours for nearest_offer(). */
static const char *name_elsewhere(const char *name)
{
	static const char *const names[][2] = {
		{ "file", "path" },	      { "cache", "direct" },
		{ "cache_type", "direct" },   { "is_read_only", "readonly" },
		{ "ifname", "tap" },	      { "tapif", "tap" },
		{ "host_dev_name", "tap" },   { "guest_mac", "mac" },
		{ "maxcpus", "max" },	      { "maxmem", "max" },
		{ "mem-path", "path" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i][0]))
			return names[i][1];
	return NULL;
}

/* The sub-option that was meant, most likely; fields is not empty. */
static const struct field *nearest_field(const struct field *fields,
					 const char *name)
{
	const char *ours = name_elsewhere(name);
	struct nearest near = { .word = name };

	for (const struct field *f = fields; f->name; f++) {
		if (ours && !strcmp(f->name, ours))
			return f;
		nearest_offer(&near, f->name);
	}
	while (strcmp(fields->name, near.best))
		fields++;
	return fields;
}

static const struct field *find_field(const struct field *fields,
				      const char *name, const char *label,
				      struct error *e)
{
	for (const struct field *f = fields; f->name; f++)
		if (!strcmp(f->name, name))
			return f;
	error_config(e, -EINVAL, "%s: unknown sub-option '%s'; did you mean "
		     "'%s'?", label, name, nearest_field(fields, name)->name);
	return NULL;
}

/* A word that is neither the first nor has a '='. */
static int bad_word(const struct option *o, const char *word,
		    const char *label, struct error *e)
{
	const struct field *f = o->fields;

	/* The bare word's own name (enable) would be no help. */
	if (f && o->bare && !strcmp(f->name, o->bare))
		f++;
	f = f ? nearest_field(f, word) : NULL;

	if (!f)
		return error_config(e, -EINVAL, "%s: '%s' is no sub-option (a "
				    "comma in a value is written ,,)", label,
				    word);
	return error_config(e, -EINVAL, "%s: '%s' is no sub-option; did you "
			    "mean '%s=%s'? (a comma in a value is written ,,)",
			    label, word, f->name,
			    f->type == FIELD_BOOL ? "on" :
			    f->argument ? f->argument : "...");
}

static enum field_type bare_type(const struct option *o)
{
	for (const struct field *f = o->fields; o->bare && f && f->name; f++)
		if (!strcmp(f->name, o->bare))
			return f->type;
	return FIELD_STRING;
}

/* The first may be bare; where it is a switch, only as on or off. */
static bool may_be_bare(const struct option *o, size_t index, const char *word)
{
	bool on;

	if (index > 0 || !o->bare)
		return false;
	return bare_type(o) != FIELD_BOOL || !parse_bool(word, &on);
}

static int text_object(const struct option *o, const char *text,
		       const char *label, struct json_object **out,
		       struct error *e)
{
	struct json_object *object;
	struct suboptions s;
	int ret = suboptions_parse(&s, text, e);

	if (ret)
		return error_prefix(e, ret, "%s", label);
	object = json_object_new_object();
	if (!object)
		ret = no_memory(e);
	for (size_t i = 0; !ret && i < s.count; i++) {
		const char *key = s.items[i].key;

		if (key && !*key)
			ret = error_config(e, -EINVAL, "%s: '=%s': no name "
					   "before the '='", label,
					   s.items[i].value);
		else if (!key && !may_be_bare(o, i, s.items[i].value))
			ret = bad_word(o, s.items[i].value, label, e);
		else if (json_object_object_get_ex(object, key ? key : o->bare,
						   NULL))
			ret = error_config(e, -EINVAL, "%s: %s is given twice",
					   label, key ? key : o->bare);
		else
			json_object_object_add(object, key ? key : o->bare,
					       json_object_new_string(
						       s.items[i].value));
	}
	suboptions_deinit(&s);
	if (ret)
		json_object_put(object);
	else
		*out = object;
	return ret;
}

int option_object(const struct option *o, struct json_object *value,
		  const char *label, struct json_object **out,
		  struct error *e)
{
	bool number = json_object_is_type(value, json_type_int) &&
		      (bare_type(o) == FIELD_UINT || bare_type(o) == FIELD_SIZE);

	if (json_object_is_type(value, json_type_object)) {
		*out = json_object_get(value);
		return 0;
	}
	if (!json_object_is_type(value, json_type_string) && !number)
		return error_config(e, -EINVAL, "%s: neither an object nor a "
				    "string: %s", label,
				    json_object_to_json_string(value));
	if (has_nul(value))
		return error_config(e, -EINVAL, "%s: a NUL inside", label);
	return text_object(o, json_object_get_string(value), label, out, e);
}

int option_fields_set(void *base, const struct option *o,
		      struct json_object *value, const char *label,
		      struct error *e)
{
	struct json_object *object = NULL;
	int ret = option_object(o, value, label, &object, e);

	if (ret)
		return ret;
	json_object_object_foreach(object, name, v) {
		const struct field *f = find_field(o->fields, name, label, e);

		ret = f ? set_field(base, f, v, label, e) : -EINVAL;
		if (ret)
			break;
	}
	json_object_put(object);
	return ret;
}

/* In the largest unit that divides it; sizes are multiples of K. */
static void print_size(uint64_t bytes, char *text, size_t text_bytes)
{
	const char *unit = "KMGT";
	uint64_t n = bytes >> 10;

	for (; unit[1] && n && n % 1024 == 0; unit++)
		n /= 1024;
	snprintf(text, text_bytes, "%llu%c", (unsigned long long)n, *unit);
}

/* NULL for what is at its zero value. */
static struct json_object *field_json(const struct field *f, const void *p)
{
	char size[32];

	switch (f->type) {
	case FIELD_STRING:
		return *(char *const *)p ?
			       json_object_new_string(*(char *const *)p) : NULL;
	case FIELD_UINT:
	case FIELD_U32:
		return *(const unsigned int *)p ?
			       json_object_new_int64(*(const unsigned int *)p) :
			       NULL;
	case FIELD_SIZE:
		print_size(*(const uint64_t *)p, size, sizeof(size));
		return *(const uint64_t *)p ? json_object_new_string(size) :
					      NULL;
	case FIELD_BYTES:
		return *(const uint64_t *)p ?
			       json_object_new_uint64(*(const uint64_t *)p) :
			       NULL;
	case FIELD_ENUM:
		return json_object_new_string(f->names[*(const int *)p]);
	default:
		return *(const bool *)p ?
			       json_object_new_boolean(!f->inverted) : NULL;
	}
}

struct json_object *option_fields_json(const void *base,
				       const struct field *fields)
{
	struct json_object *object = json_object_new_object(), *v;

	for (const struct field *f = fields; object && f->name; f++) {
		v = field_json(f, (const char *)base + f->offset);
		if (v)
			json_object_object_add(object, f->name, v);
	}
	return object;
}
