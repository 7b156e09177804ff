/* SPDX-License-Identifier: MIT */
/* Defaults, copies, sizes. Main thread. */
#include "config/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void config_init(struct vm_config *c)
{
	*c = (struct vm_config){
		.memory.size_bytes = CONFIG_DEFAULT_MEMORY,
		.cpus.count = 1,
		.pmem_max = CONFIG_DEFAULT_PMEM_MAX,
		.disk_controllers = CONFIG_DISK_CONTROLLERS,
		.serial.kind = CHAR_STDIO,
		.rng = true,
		.monitor.fd = -1,
		.log_level = LOG_WARN,
	};
}

static void free_list(char **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(list[i]);
	free(list);
}

void config_disk_deinit(struct config_disk *d)
{
	free(d->path);
	free(d->id);
	free(d->serial);
	free(d->node);
}

int config_disk_copy(struct config_disk *dst, const struct config_disk *src)
{
	*dst = *src;
	dst->path = src->path ? strdup(src->path) : NULL;
	dst->id = src->id ? strdup(src->id) : NULL;
	dst->serial = src->serial ? strdup(src->serial) : NULL;
	dst->node = src->node ? strdup(src->node) : NULL;
	if ((src->path && !dst->path) || (src->id && !dst->id) ||
	    (src->serial && !dst->serial) || (src->node && !dst->node)) {
		config_disk_deinit(dst);
		return -ENOMEM;
	}
	return 0;
}

void config_pmem_deinit(struct config_pmem *p)
{
	free(p->path);
	free(p->id);
}

int config_pmem_copy(struct config_pmem *dst, const struct config_pmem *src)
{
	*dst = *src;
	dst->path = src->path ? strdup(src->path) : NULL;
	dst->id = src->id ? strdup(src->id) : NULL;
	if ((src->path && !dst->path) || (src->id && !dst->id)) {
		config_pmem_deinit(dst);
		return -ENOMEM;
	}
	return 0;
}

void config_9p_deinit(struct config_9p *s)
{
	free(s->id);
	free(s->path);
	free(s->tag);
	free(s->allowed);
}

int config_9p_copy(struct config_9p *dst, const struct config_9p *src)
{
	*dst = *src;
	dst->id = src->id ? strdup(src->id) : NULL;
	dst->path = src->path ? strdup(src->path) : NULL;
	dst->tag = src->tag ? strdup(src->tag) : NULL;
	dst->allowed = src->allowed ? strdup(src->allowed) : NULL;
	if ((src->id && !dst->id) || (src->path && !dst->path) ||
	    (src->tag && !dst->tag) || (src->allowed && !dst->allowed)) {
		config_9p_deinit(dst);
		return -ENOMEM;
	}
	return 0;
}

void config_deinit(struct vm_config *c)
{
	for (size_t i = 0; i < c->disk_count; i++)
		config_disk_deinit(&c->disks[i]);
	free(c->disks);
	for (size_t i = 0; i < c->pmem_count; i++)
		config_pmem_deinit(&c->pmems[i]);
	free(c->pmems);
	for (size_t i = 0; i < c->net_count; i++)
		config_net_deinit(&c->nets[i]);
	free(c->nets);
	for (size_t i = 0; i < c->share_count; i++)
		config_9p_deinit(&c->shares[i]);
	free(c->shares);
	for (size_t i = 0; i < c->chardev_count; i++)
		config_chardev_deinit(&c->chardevs[i]);
	free(c->chardevs);
	free_list(c->initrds, c->initrd_count);
	free_list(c->params, c->param_count);
	free_list(c->cpus.features, c->cpus.feature_count);
	free(c->kernel);
	free(c->memory.path);
	free(c->rootfs.path);
	free(c->serial.path);
	free(c->console.path);
	free(c->rng_source);
	free(c->vsock.path);
	free(c->monitor.path);
	free(c->id);
	free(c->uuid);
	free(c->kernel_cache);
	free(c->exit_report);
	free(c->log_file);
	config_init(c);
}

int config_parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	unsigned int shift = 20;
	unsigned long long n;
	const char *unit;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return -ERANGE;
	if (*end) {
		unit = strchr(units, toupper((unsigned char)*end));
		if (!unit || end[1])
			return -EINVAL;
		shift = 10 * (unsigned int)(unit - units + 1);
	}
	if (n > UINT64_MAX >> shift)
		return -ERANGE;
	*bytes = n << shift;
	return 0;
}
