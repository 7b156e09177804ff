/* SPDX-License-Identifier: MIT */
/* Arguments of `mote ctl`. Main thread. */
#include "ctl_args.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NESTING	16

static struct json_object *parse_json(const char *text)
{
	struct json_tokener *t = json_tokener_new();
	struct json_object *o = NULL;

	if (!t)
		return NULL;
	json_tokener_set_flags(t, JSON_TOKENER_STRICT);
	/* With its terminator, which ends a number. */
	o = json_tokener_parse_ex(t, text, (int)strlen(text) + 1);
	json_tokener_free(t);
	return o;
}

/* As in JSON, without an exponent: 007 and 1e5 are somebody's names. */
static bool is_number(const char *text)
{
	const char *digits = text + (*text == '-');
	const char *p = digits;

	while (isdigit((unsigned char)*p))
		p++;
	if (p == digits || (*digits == '0' && p > digits + 1))
		return false;
	if (*p == '.') {
		digits = ++p;
		while (isdigit((unsigned char)*p))
			p++;
		return p > digits && !*p;
	}
	if (*p)
		return false;
	/* json-c would silently cut what does not fit. */
	errno = 0;
	if (*text == '-')
		strtoll(text, NULL, 10);
	else
		strtoull(text, NULL, 10);
	return !errno;
}

static struct json_object *parse_value(const char *text)
{
	if (!strcmp(text, "true") || !strcmp(text, "false"))
		return json_object_new_boolean(*text == 't');
	if (is_number(text) || (*text && strchr("{[\"", *text)))
		return parse_json(text);
	return json_object_new_string(text);
}

/* Goes down one level, which is made if need be. */
static int descend(struct json_object **args, const char *key,
		   const char *word, struct error *e)
{
	struct json_object *inner;

	if (!json_object_object_get_ex(*args, key, &inner)) {
		inner = json_object_new_object();
		json_object_object_add(*args, key, inner);
	}
	if (!json_object_is_type(inner, json_type_object))
		return error_config(e, -EEXIST,
				    "'%s': '%s' has a value already", word,
				    key);
	*args = inner;
	return 0;
}

static int add(struct json_object *args, char *key, const char *text,
	       const char *word, struct error *e)
{
	struct json_object *value;
	char *dot;
	int ret;

	for (int depth = 0; (dot = strchr(key, '.')); depth++) {
		*dot = '\0';
		if (!*key || depth == MAX_NESTING)
			return error_config(e, -EINVAL, "'%s': not a key",
					    word);
		ret = descend(&args, key, word, e);
		if (ret)
			return ret;
		key = dot + 1;
	}
	if (!*key)
		return error_config(e, -EINVAL, "'%s': not a key", word);
	if (json_object_object_get_ex(args, key, NULL))
		return error_config(e, -EEXIST, "'%s': '%s' is given twice",
				    word, key);
	value = parse_value(text);
	if (!value)
		return error_config(e, -EINVAL, "'%s': not valid JSON", word);
	json_object_object_add(args, key, value);
	return 0;
}

int ctl_args_add(struct json_object *args, const char *word, struct error *e)
{
	const char *equals = strchr(word, '=');
	char *key;
	int ret;

	if (!equals)
		return error_config(e, -EINVAL, "'%s': expected key=value",
				    word);
	key = strndup(word, (size_t)(equals - word));
	if (!key)
		return error_set(e, -ENOMEM, "out of memory");
	ret = add(args, key, equals + 1, word, e);
	free(key);
	return ret;
}
