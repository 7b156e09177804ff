/* SPDX-License-Identifier: MIT */
/* The directory that is shared. Main thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "p9/internal.h"

static void free_allowed(struct p9_export *x)
{
	for (size_t i = 0; i < x->allowed_count; i++)
		free(x->allowed[i]);
	free(x->allowed);
}

static int copy_allowed(struct p9_export *x, const struct p9_params *p)
{
	x->allowed = calloc(p->allowed_count + 1, sizeof(*x->allowed));
	if (!x->allowed)
		return -ENOMEM;
	for (size_t i = 0; i < p->allowed_count; i++) {
		x->allowed[i] = strdup(p->allowed[i]);
		if (!x->allowed[i])
			return -ENOMEM;
		x->allowed_count++;
	}
	return 0;
}

/* What every walk and every open needs of the host. */
static int check_host(const struct p9_export *x, const char *path,
		      struct error *e)
{
	int fd = p9_open_beneath(x->root, ".", O_PATH, 0);

	if (fd < 0)
		return error_errno(e, fd, "9p %s: openat2", path);
	close(fd);
	fd = p9_reopen(x->root, O_RDONLY | O_DIRECTORY);
	if (fd == -EACCES || fd == -EPERM)
		return error_of_named(e, error_errno(e, fd, "9p %s", path));
	if (fd < 0)
		return error_errno(e, fd, "9p %s: it needs /proc", path);
	close(fd);
	return 0;
}

int p9_export_open(struct p9_export **out, const struct p9_params *p,
		   struct error *e)
{
	struct p9_export *x = calloc(1, sizeof(*x));
	int ret;

	if (!x || copy_allowed(x, p)) {
		if (x)
			free_allowed(x);
		free(x);
		return error_errno(e, -ENOMEM, "9p %s", p->path);
	}
	x->readonly = p->readonly;
	x->mapped = p->mapped;
	x->msize = p->msize && p->msize < P9_MAX_MSIZE ? p->msize :
							  P9_MAX_MSIZE;
	x->files = p->files;
	atomic_fetch_add(&x->files->exports, 1);
	x->root = open(p->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (x->root < 0) {
		ret = error_of_named(e, error_errno(e, -errno, "9p %s",
						    p->path));
		goto err;
	}
	ret = check_host(x, p->path, e);
	if (ret)
		goto err;
	*out = x;
	return 0;

err:
	p9_export_close(x);
	return ret;
}

void p9_export_close(struct p9_export *x)
{
	if (!x)
		return;
	atomic_fetch_sub(&x->files->exports, 1);
	free_allowed(x);
	if (x->root >= 0)
		close(x->root);
	free(x);
}
