/* SPDX-License-Identifier: MIT */
/* Shares, and how many files each may have open. */
#include "device/kind.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "p9/p9.h"
#include "virtio/9p.h"

#define MAX_FILES (1u << 20)

static int boot_shares(const struct device_boot *b, struct error *e)
{
	const struct vm_config *c = b->p->config;
	int ret = 0;

	for (size_t i = 0; !ret && i < c->share_count; i++) {
		const struct config_9p *s = &c->shares[i];
		char id[CONFIG_TAG_MAX + 8];

		snprintf(id, sizeof(id), "share-%s", s->tag);
		ret = device_boot(b, DEVICE_9P, s->id ? s->id : id, s, e);
	}
	return ret;
}

/*
 * A guest's cache may hold a descriptor for each file it has seen. They get what
 * the process may have (raised to what it may ask for), but for a quarter.
 */
static unsigned int files_of_shares(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return 0;
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r) && getrlimit(RLIMIT_NOFILE, &r))
		return 0;
	if (r.rlim_cur > MAX_FILES)
		r.rlim_cur = MAX_FILES;
	return (unsigned int)(r.rlim_cur / 4 * 3);
}

static int create_share(struct virtio_device **out,
			const struct devices_params *p, const char *id,
			const void *config, struct error *e)
{
	(void)id;
	/* The first one: without shares the limit stays what it was. */
	if (!p->p9_files->max)
		p9_files_init(p->p9_files, files_of_shares());
	return virtio_9p_create(out, config, p->p9_files, p->mem, e);
}

static void *copy_share(const void *config)
{
	struct config_9p *copy = calloc(1, sizeof(*copy));

	if (copy && config_9p_copy(copy, config)) {
		free(copy);
		copy = NULL;
	}
	return copy;
}

static void free_share(void *config)
{
	config_9p_deinit(config);
	free(config);
}

const struct device_kind device_kind_9p = {
	.name = "9p",
	.boot = boot_shares,
	.create = create_share,
	.config_copy = copy_share,
	.config_free = free_share,
};
