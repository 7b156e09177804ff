/* SPDX-License-Identifier: MIT */
/* The kernel command line. Main thread. */
#include "boot/cmdline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int cmdline_append(struct cmdline *c, const char *part)
{
	size_t len = strlen(part);
	size_t gap = c->len ? 1 : 0;
	char *text;

	if (!len)
		return 0;
	/* A kernel's line ends at a newline: what follows would be lost. */
	if (strchr(part, '\n'))
		return -EINVAL;
	text = realloc(c->text, c->len + gap + len + 1);
	if (!text)
		return -ENOMEM;
	if (gap)
		text[c->len] = ' ';
	memcpy(text + c->len + gap, part, len + 1);
	c->text = text;
	c->len += gap + len;
	return 0;
}

int cmdline_check(const struct cmdline *c, size_t limit, struct error *e)
{
	if (c->len <= limit)
		return 0;
	return error_config(e, -E2BIG,
			    "kernel command line: %zu bytes, the kernel takes "
			    "at most %zu", c->len, limit);
}

void cmdline_deinit(struct cmdline *c)
{
	if (!c)
		return;
	free(c->text);
	c->text = NULL;
	c->len = 0;
}
