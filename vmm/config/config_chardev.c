/* SPDX-License-Identifier: MIT */
/* Character back ends for ports. Main thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

#define MAX_RECONNECT_S	86400u

void config_chardev_deinit(struct config_chardev *d)
{
	free(d->id);
	free(d->back.path);
	*d = (struct config_chardev){ 0 };
}

/* Those of the command line have these names at the monitor, where they are there:
 * a saved VM may have a chardev of that name in their place. */
static bool is_taken(const struct vm_config *c, const char *id)
{
	return (c->serial.kind != CHAR_NONE && !strcmp(id, CONFIG_SERIAL_ID)) ||
	       (c->console.kind != CHAR_NONE && !strcmp(id, CONFIG_CONSOLE_ID));
}

static int check_one(const struct config_chardev *d, struct error *e)
{
	const struct config_char *c = &d->back;
	bool path = c->kind == CHAR_UNIX || c->kind == CHAR_CONNECT ||
		    c->kind == CHAR_FILE;

	if (c->kind == CHAR_NONE || c->kind == CHAR_STDIO)
		return error_config(e, -EINVAL, "--chardev: '%s': type: one of "
				    "unix, connect, file, pty, null", d->id);
	if (path != (c->path != NULL))
		return error_config(e, -EINVAL, "--chardev: '%s': %s", d->id,
				    path ? "no path" : "a path is for unix, "
				    "connect and file");
	if (c->reconnect_s > MAX_RECONNECT_S ||
	    (c->reconnect_s && c->kind != CHAR_CONNECT))
		return error_config(e, -EINVAL, "--chardev: '%s': reconnect=%u: "
				    "with connect, at most %u seconds", d->id,
				    c->reconnect_s, MAX_RECONNECT_S);
	if (c->append && c->kind != CHAR_FILE)
		return error_config(e, -EINVAL, "--chardev: '%s': append is for "
				    "a file", d->id);
	return 0;
}

int config_check_chardevs(const struct vm_config *c, struct error *e)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < c->chardev_count; i++) {
		const struct config_chardev *d = &c->chardevs[i];

		for (size_t k = 0; !ret && k < i; k++)
			if (!strcmp(c->chardevs[k].id, d->id))
				ret = error_config(e, -EINVAL, "--chardev: id "
						   "'%s' is given twice",
						   d->id);
		if (!ret && is_taken(c, d->id))
			ret = error_config(e, -EINVAL, "--chardev: id '%s' is "
					   "that of --serial or --console",
					   d->id);
		if (!ret)
			ret = check_one(d, e);
	}
	return ret;
}
