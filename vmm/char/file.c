/* SPDX-License-Identifier: MIT */
/*
 * Output into a file, loop's thread (main). The file is emptied at the start,
 * unless the configuration says otherwise, and then appended to, so that others may write to it or empty it. What does
 * not fit on its file system is dropped.
 */
#include <errno.h>
#include <fcntl.h>

#include "char/backend.h"

static int file_open(struct chardev *c, const struct config_char *cfg,
		     struct error *e)
{
	int fd, ret;

	/* O_NONBLOCK: the path may be a FIFO or a terminal. */
	fd = open(cfg->path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK |
		  O_NOCTTY | O_CLOEXEC | (cfg->append ? 0 : O_TRUNC), 0666);
	if (fd < 0) {
		ret = -errno;
		if (ret == -ENXIO)
			return error_set(e, ret, "%s: nobody reads this FIFO",
					 cfg->path);
		return error_errno(e, ret, "%s", cfg->path);
	}
	chardev_attach(c, -1, fd);
	if (chardev_set_label(c, cfg->path))
		return error_errno(e, -ENOMEM, "%s", cfg->path);
	return 0;
}

const struct chardev_backend_ops file_backend = {
	.name = "file",
	.open = file_open,
};
