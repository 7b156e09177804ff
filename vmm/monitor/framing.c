/* SPDX-License-Identifier: MIT */
/*
 * Bytes → JSON messages. The main thread, in the monitor and in `mote ctl`.
 *
 * Brackets and strings are followed here, so that one bad message costs one
 * error and not the stream; what is between them is json-c's to judge.
 */
#include "monitor/framing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "utf8.h"

#define KEEP_BYTES	((size_t)64 << 10)	/* of the buffer, when idle */

int framer_init(struct framer *f)
{
	*f = (struct framer){ 0 };
	/* Depth is bounded here; json-c counts in its own way. */
	f->tokener = json_tokener_new_ex(FRAMER_MAX_DEPTH + 2);
	if (!f->tokener)
		return -ENOMEM;
	json_tokener_set_flags(f->tokener, JSON_TOKENER_STRICT);
	return 0;
}

void framer_deinit(struct framer *f)
{
	if (f->tokener)
		json_tokener_free(f->tokener);
	free(f->buf);
	*f = (struct framer){ 0 };
}

/* Forgets the message so far and goes on in the given mode. */
static void restart(struct framer *f, enum framer_mode mode)
{
	if (f->size > KEEP_BYTES) {
		free(f->buf);
		f->buf = NULL;
		f->size = 0;
	}
	f->mode = mode;
	f->len = 0;
	f->members = 0;
	if (mode == FRAMER_SKIP_MESSAGE)
		return;
	f->depth = 0;
	f->quote = '\0';
	f->escape = false;
}

static enum framer_result fail(struct framer *f, enum framer_mode mode,
			       struct error *e, const char *what)
{
	restart(f, mode);
	error_set(e, -EINVAL, "JSON parse error, %s", what);
	return FRAMER_ERROR;
}

static enum framer_result put(struct framer *f, char c, struct error *e)
{
	size_t size = f->size ? f->size * 2 : 256;
	char *buf;

	if (f->mode != FRAMER_READ)
		return FRAMER_MORE;
	if (f->len == FRAMER_MAX_BYTES)
		return fail(f, FRAMER_SKIP_MESSAGE, e, "message too long");
	if (f->len == f->size) {
		buf = realloc(f->buf, size);
		if (!buf)
			return fail(f, FRAMER_SKIP_MESSAGE, e, "out of memory");
		f->buf = buf;
		f->size = size;
	}
	f->buf[f->len++] = c;
	return FRAMER_MORE;
}

static size_t count_members(struct json_object *o)
{
	size_t n = 0;

	if (json_object_is_type(o, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(o); i++)
			n += count_members(json_object_array_get_idx(o, i));
	} else if (json_object_is_type(o, json_type_object)) {
		n = (size_t)json_object_object_length(o);
		json_object_object_foreach(o, key, value) {
			(void)key;
			n += count_members(value);
		}
	}
	return n;
}

/* json-c has kept the last of members with one name. The first name that comes
 * again is what the error says. */
static enum framer_result fail_duplicate(struct framer *f, struct error *e)
{
	struct json_object *seen[FRAMER_MAX_DEPTH];
	size_t depth = 0, start = 0, len = 0;
	char name[64] = "";

	for (size_t i = 0; i < f->len && !*name; i++) {
		char c = f->buf[i];

		if (c == '"') {
			for (start = ++i; f->buf[i] != '"'; i++)
				i += f->buf[i] == '\\';
			len = i - start < sizeof(name) ? i - start :
							 sizeof(name) - 1;
		} else if (c == '{' || c == '[') {
			seen[depth++] = json_object_new_object();
		} else if (c == '}' || c == ']') {
			json_object_put(seen[--depth]);
		} else if (c == ':') {
			snprintf(name, sizeof(name), "%.*s", (int)len,
				 f->buf + start);
			if (json_object_object_get_ex(seen[depth - 1], name,
						      NULL))
				break;
			json_object_object_add(seen[depth - 1], name, NULL);
			*name = '\0';
		}
	}
	while (depth)
		json_object_put(seen[--depth]);
	restart(f, FRAMER_READ);
	error_set(e, -EINVAL, "JSON parse error, duplicate key '%s'", name);
	return FRAMER_ERROR;
}

/* The outermost bracket has been closed. */
static enum framer_result end(struct framer *f, struct json_object **message,
			      struct error *e)
{
	struct json_object *o;
	enum json_tokener_error err;

	if (f->mode == FRAMER_SKIP_MESSAGE) {
		restart(f, FRAMER_READ);
		return FRAMER_MORE;
	}
	/* json-c's own check lets overlong forms and surrogates through. */
	if (!utf8_valid(f->buf, f->len))
		return fail(f, FRAMER_READ, e, "invalid UTF-8");
	json_tokener_reset(f->tokener);
	o = json_tokener_parse_ex(f->tokener, f->buf, (int)f->len);
	err = json_tokener_get_error(f->tokener);
	if (err != json_tokener_success ||
	    json_tokener_get_parse_end(f->tokener) != f->len) {
		json_object_put(o);
		return fail(f, FRAMER_READ, e, json_tokener_error_desc(err));
	}
	if (count_members(o) != f->members) {
		json_object_put(o);
		return fail_duplicate(f, e);
	}
	restart(f, FRAMER_READ);
	*message = o;
	return FRAMER_MESSAGE;
}

static enum framer_result in_string(struct framer *f, char c, struct error *e)
{
	enum framer_result r;

	if (f->escape) {
		f->escape = false;
		/* \' is QMP's, not JSON's. */
		if (c == '\'' && f->len)
			f->len--;
	} else if (c == '\\') {
		f->escape = true;
	} else if (c == f->quote) {
		f->quote = '\0';
		c = '"';
	} else if (c == '"') {
		/* Inside single quotes, which become double ones. */
		r = put(f, '\\', e);
		if (r != FRAMER_MORE)
			return r;
	}
	return put(f, c, e);
}

static enum framer_result open_bracket(struct framer *f, char c,
				       struct error *e)
{
	uint64_t bit;

	if (f->depth++ >= FRAMER_MAX_DEPTH) {
		if (f->mode == FRAMER_READ)
			return fail(f, FRAMER_SKIP_MESSAGE, e,
				    "nested too deep");
		return FRAMER_MORE;
	}
	bit = UINT64_C(1) << (f->depth - 1);
	f->braces = c == '{' ? f->braces | bit : f->braces & ~bit;
	return put(f, c, e);
}

static enum framer_result close_bracket(struct framer *f, char c,
					struct json_object **message,
					struct error *e)
{
	enum framer_result r;

	f->depth--;
	if (f->mode == FRAMER_READ &&
	    (f->braces >> f->depth & 1) != (c == '}'))
		return fail(f, FRAMER_SKIP_LINE, e, "mismatched brackets");
	r = put(f, c, e);
	if (r != FRAMER_MORE) {
		/* Too long by its last byte: there is nothing left to skip. */
		if (!f->depth)
			restart(f, FRAMER_READ);
		return r;
	}
	return f->depth ? FRAMER_MORE : end(f, message, e);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static enum framer_result in_message(struct framer *f, char c,
				     struct json_object **message,
				     struct error *e)
{
	unsigned char u = (unsigned char)c;

	/* RFC 8259, 7: a string has no control characters. */
	if (u < 0x20 && (f->quote || !is_space(c)))
		return fail(f, c == '\n' ? FRAMER_READ : FRAMER_SKIP_LINE, e,
			    "control character");
	if (f->quote)
		return in_string(f, c, e);
	switch (c) {
	case '"':
	case '\'':
		f->quote = c;
		return put(f, '"', e);
	case '{':
	case '[':
		return open_bracket(f, c, e);
	case '}':
	case ']':
		return close_bracket(f, c, message, e);
	case 'N':
	case 'I':
		/* NaN, Infinity: json-c takes them, and an id comes back. */
		return f->mode != FRAMER_READ ? FRAMER_MORE :
		       fail(f, FRAMER_SKIP_MESSAGE, e, "invalid number");
	case ':':
		f->members++;
		return put(f, c, e);
	default:
		return put(f, c, e);
	}
}

static enum framer_result step(struct framer *f, char c,
			       struct json_object **message, struct error *e)
{
	if (f->mode == FRAMER_SKIP_LINE || f->mode == FRAMER_SKIP_GARBAGE) {
		if (c == '\n') {
			restart(f, FRAMER_READ);
			return FRAMER_MORE;
		}
		if (f->mode == FRAMER_SKIP_LINE || c != '{')
			return FRAMER_MORE;
		restart(f, FRAMER_READ);
	}
	if (f->depth)
		return in_message(f, c, message, e);
	if (is_space(c))
		return FRAMER_MORE;
	if (c == '{' || c == '[')
		return open_bracket(f, c, e);
	return fail(f, FRAMER_SKIP_GARBAGE, e, "expecting an object");
}

enum framer_result framer_feed(struct framer *f, const char *data, size_t len,
			       size_t *used, struct json_object **message,
			       struct error *e)
{
	enum framer_result r = FRAMER_MORE;
	size_t i = 0;

	while (i < len && r == FRAMER_MORE)
		r = step(f, data[i++], message, e);
	*used = i;
	return r;
}
