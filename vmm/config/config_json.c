/* SPDX-License-Identifier: MIT */
/* The configuration as a JSON document. Main thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "config/options.h"
#include "nearest.h"

#define MAX_BYTES	(1u << 20)
#define MAX_DEPTH	16

/* The whole file in *text, malloc()ed. */
static int read_file(const char *path, char **text, size_t *len,
		     struct error *e)
{
	char *buf = malloc(MAX_BYTES + 1);
	size_t used = 0;
	ssize_t n = 0;
	int fd, ret = 0;

	if (!buf)
		return error_set(e, -ENOMEM, "out of memory");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		while (used <= MAX_BYTES &&
		       (n = read(fd, buf + used, MAX_BYTES + 1 - used)) > 0)
			used += (size_t)n;
	if (fd < 0 || n < 0)
		ret = error_config(e, -errno, "--config: %s: %s", path,
				   strerror(errno));
	else if (used > MAX_BYTES)
		ret = error_config(e, -EFBIG, "--config: %s: larger than 1 MiB",
				   path);
	if (fd >= 0)
		close(fd);
	if (ret) {
		free(buf);
		return ret;
	}
	*text = buf;
	*len = used;
	return 0;
}

static int parse(const char *label, const char *text, size_t len,
		 struct json_object **out, struct error *e)
{
	struct json_tokener *t = json_tokener_new_ex(MAX_DEPTH);
	enum json_tokener_error why;
	size_t end, line = 1;
	int ret = 0;

	if (!t)
		return error_set(e, -ENOMEM, "out of memory");
	/* Paths need not be UTF-8, and what is printed is read again. */
	json_tokener_set_flags(t, JSON_TOKENER_STRICT);
	*out = json_tokener_parse_ex(t, text, (int)len);
	why = json_tokener_get_error(t);
	end = json_tokener_get_parse_end(t);
	for (size_t i = 0; i < end && i < len; i++)
		line += text[i] == '\n';
	while (end < len && strchr(" \t\r\n", text[end]))
		end++;
	if (why != json_tokener_success)
		ret = error_config(e, -EINVAL, "%s: line %zu: %s",
				   label, line, why == json_tokener_continue ?
				   "the document ends too early" :
				   json_tokener_error_desc(why));
	else if (end != len)
		ret = error_config(e, -EINVAL, "%s: line %zu: more "
				   "than one document", label, line);
	else if (!json_object_is_type(*out, json_type_object))
		ret = error_config(e, -EINVAL, "%s: not an object", label);
	json_tokener_free(t);
	if (ret)
		json_object_put(*out);
	return ret;
}

static size_t count_keys(struct json_object *v)
{
	size_t count = 0;

	if (json_object_is_type(v, json_type_array))
		for (size_t i = 0; i < json_object_array_length(v); i++)
			count += count_keys(json_object_array_get_idx(v, i));
	if (!json_object_is_type(v, json_type_object))
		return count;
	json_object_object_foreach(v, key, value) {
		(void)key;
		count += 1 + count_keys(value);
	}
	return count;
}

/*
 * json-c lets a later key replace an earlier one of the same name without a
 * word. Each key that was written has one colon outside strings.
 */
static bool has_repeated_keys(struct json_object *document, const char *text,
			      size_t len)
{
	bool in_string = false;
	size_t colons = 0;

	for (size_t i = 0; i < len; i++) {
		if (in_string && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			in_string = !in_string;
		else if (text[i] == ':' && !in_string)
			colons++;
	}
	return colons != count_keys(document);
}

static int unknown_key(const char *key, struct error *e)
{
	struct nearest near = { .word = key };

	for (const struct option *o = options; o->name; o++)
		nearest_offer(&near, o->key);
	return error_config(e, -EINVAL, "unknown key '%s'; did you mean '%s'?",
			    key, near.best);
}

int config_json_load_text(struct vm_config *c, const char *label,
			  const char *text, size_t len, struct error *e)
{
	struct json_object *document = NULL;
	int ret = parse(label, text, len, &document, e);

	if (!ret && has_repeated_keys(document, text, len)) {
		ret = error_config(e, -EINVAL, "%s: a key is given twice in "
				   "one object", label);
		json_object_put(document);
	}
	if (ret)
		return ret;
	json_object_object_foreach(document, key, value) {
		const struct option *o = option_by_key(key);

		ret = o ? o->set(c, o, value, key, e) : unknown_key(key, e);
		if (ret) {
			error_prefix(e, ret, "%s", label);
			break;
		}
	}
	json_object_put(document);
	return ret;
}

int config_json_load(struct vm_config *c, const char *path, struct error *e)
{
	char *text = NULL, *label = NULL;
	size_t len = 0;
	int ret = read_file(path, &text, &len, e);

	if (ret)
		return ret;
	if (asprintf(&label, "--config: %s", path) < 0) {
		label = NULL;
		ret = error_set(e, -ENOMEM, "out of memory");
	}
	if (!ret)
		ret = config_json_load_text(c, label, text, len, e);
	free(label);
	free(text);
	return ret;
}

char *config_json_print(const struct vm_config *c)
{
	struct json_object *document = json_object_new_object(), *value;
	char *text;

	if (!document)
		return NULL;
	for (const struct option *o = options; o->name; o++) {
		value = o->get ? o->get(c, o) : NULL;
		if (value)
			json_object_object_add(document, o->key, value);
	}
	text = strdup(json_object_to_json_string_ext(
		document, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
			  JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(document);
	return text;
}
