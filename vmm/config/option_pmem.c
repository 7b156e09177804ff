/* SPDX-License-Identifier: MIT */
/* --pmem: reading it, printing it, folding lists together. Main thread. */
#include "config/option_pmem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/vhd.h"
#include "config/option_fields.h"
#include "config/option_list.h"

static const char *const formats[] = { "raw", "vhd", NULL };
/* Not said. */
#define BY_NAME ((enum config_disk_format)2)

const struct field option_pmem_fields[] = {
	{ .type = FIELD_STRING, .offset = offsetof(struct config_pmem, path),
	  .name = "path", .argument = "FILE",
	  .help = "a file or a block device" },
	{ .type = FIELD_STRING, .offset = offsetof(struct config_pmem, id),
	  .name = "id", .argument = "ID", .help = "default pmem0, pmem1, ..." },
	{ .type = FIELD_ENUM, .offset = offsetof(struct config_pmem, format),
	  .names = formats, .name = "format", .argument = "raw|vhd",
	  .help = "vhd: a fixed VHD; default vhd for *.vhd, else raw" },
	{ .type = FIELD_BOOL, .offset = offsetof(struct config_pmem, readonly),
	  .name = "readonly", .argument = "on|off",
	  .help = "on: what the guest writes is dropped; default off" },
	{ 0 },
};

static int set_one(struct vm_config *c, const struct option *o,
		   struct json_object *v, const char *label, struct error *e)
{
	struct config_pmem one = { .format = BY_NAME }, *p = NULL;
	int ret = option_fields_set(&one, o, v, label, e);

	if (!ret && !one.path)
		ret = error_config(e, -EINVAL, "%s: no path", label);
	if (!ret) {
		if (one.format == BY_NAME)
			one.format = vhd_is_name(one.path) ? DISK_VHD :
							     DISK_RAW;
		p = realloc(c->pmems, (c->pmem_count + 1) * sizeof(*p));
		if (!p)
			ret = error_set(e, -ENOMEM, "out of memory");
	}
	if (ret) {
		config_pmem_deinit(&one);
		return ret;
	}
	c->pmems = p;
	p[c->pmem_count++] = one;
	return 0;
}

int option_pmem_set(struct vm_config *c, const struct option *o,
		    struct json_object *v, const char *label, struct error *e)
{
	return option_list_set(c, o, v, label, set_one, e);
}

struct json_object *option_pmem_get(const struct vm_config *c,
				    const struct option *o)
{
	return option_list_json(c->pmems, c->pmem_count, sizeof(*c->pmems),
				o->fields);
}

static struct config_pmem *find(const struct vm_config *c, size_t from,
				size_t to, const char *id)
{
	for (size_t i = from; id && i < to; i++)
		if (c->pmems[i].id && !strcmp(c->pmems[i].id, id))
			return &c->pmems[i];
	return NULL;
}

int option_pmem_fold(struct vm_config *c, size_t first, struct error *e)
{
	size_t count = c->pmem_count, kept = first;
	struct config_pmem *old;

	for (size_t i = first; i < count; i++)
		if (find(c, first, i, c->pmems[i].id))
			return error_config(e, -EINVAL, "--pmem: id '%s' is "
					    "given twice", c->pmems[i].id);
	for (size_t i = first; i < count; i++) {
		old = find(c, 0, first, c->pmems[i].id);
		if (old)
			config_pmem_deinit(old);
		else
			old = &c->pmems[kept++];
		*old = c->pmems[i];
	}
	c->pmem_count = kept;
	return 0;
}
