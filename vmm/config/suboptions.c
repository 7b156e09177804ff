/* SPDX-License-Identifier: MIT */
/* Splitting sub-option lists. Main thread. */
#include "config/suboptions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The next item, `,,` made `,`; *text moves behind it. NULL: out of memory. */
static char *next_item(const char **text)
{
	const char *p = *text;
	char *item = malloc(strlen(p) + 1), *to = item;

	if (!item)
		return NULL;
	for (; *p; p++) {
		if (*p == ',' && p[1] != ',')
			break;
		if (*p == ',')
			p++;
		*to++ = *p;
	}
	*to = '\0';
	*text = p;
	return item;
}

static int add(struct suboptions *s, char *item)
{
	struct suboption *p = realloc(s->items, (s->count + 1) * sizeof(*p));
	struct suboption o = { 0 };
	char *equals = strchr(item, '=');

	if (!p)
		return -ENOMEM;
	s->items = p;
	if (!strcmp(item, "ro")) {
		o.key = strdup("readonly");
		o.value = strdup("on");
	} else if (!strncmp(item, "ro=", 3)) {
		o.key = strdup("readonly");
		o.value = strdup(equals + 1);
	} else if (equals) {
		o.key = strndup(item, (size_t)(equals - item));
		o.value = strdup(equals + 1);
	} else {
		o.value = strdup(item);
	}
	s->items[s->count++] = o;
	return !o.value || (equals && !o.key) ? -ENOMEM : 0;
}

int suboptions_parse(struct suboptions *out, const char *text,
		     struct error *e)
{
	const char *p = text;
	int ret = 0;

	*out = (struct suboptions){ 0 };
	for (;;) {
		char *item = next_item(&p);

		if (!item)
			ret = error_set(e, -ENOMEM, "out of memory");
		else if (!*text)
			ret = error_config(e, -EINVAL, "empty");
		else if (!*item)
			ret = error_config(e, -EINVAL, "'%s': an empty "
					   "sub-option", text);
		else if (add(out, item))
			ret = error_set(e, -ENOMEM, "out of memory");
		free(item);
		if (ret || !*p)
			break;
		p++;
	}
	if (ret)
		suboptions_deinit(out);
	return ret;
}

void suboptions_deinit(struct suboptions *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->items[i].key);
		free(s->items[i].value);
	}
	free(s->items);
	*s = (struct suboptions){ 0 };
}
