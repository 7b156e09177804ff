/* SPDX-License-Identifier: MIT */
/* --memory, --cpus, --cpu: reading and printing them. Main thread. */
#include "config/option_machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/option_fields.h"
#include "config/option_list.h"
#include "config/suboptions.h"

const struct field option_memory_fields[] = {
	FIELD(config_memory, FIELD_SIZE, size_bytes, .name = "size"),
	FIELD(config_memory, FIELD_SIZE, max_bytes, .name = "max",
	      .argument = "SIZE",
	      .help = "what it can grow to; default SIZE"),
	FIELD(config_memory, FIELD_UINT, slots, .name = "slots",
	      .argument = "N",
	      .help = "how many DIMMs it can grow by, with max; default 16"),
	FIELD(config_memory, FIELD_STRING, path, .name = "path",
	      .argument = "DIR|FILE",
	      .help = "an unnamed file in DIR; or FILE with its content,\n"
		      "mapped privately without share=on"),
	FIELD(config_memory, FIELD_BOOL, share, .name = "share",
	      .argument = "on|off",
	      .help = "other processes can map it; default off"),
	FIELD(config_memory, FIELD_BOOL, prealloc, .name = "prealloc",
	      .argument = "on|off",
	      .help = "taken from the host at once; default off"),
	FIELD(config_memory, FIELD_BOOL, hugepages, .name = "hugepages",
	      .argument = "on|off",
	      .help = "from the host's pool of huge pages; default off"),
	{ 0 },
};

const struct field option_cpus_fields[] = {
	FIELD(config_cpus, FIELD_UINT, count, .name = "count"),
	FIELD(config_cpus, FIELD_UINT, max, .name = "max", .positive = true,
	      .argument = "M",
	      .help = "how many there can be by hot-plug; default N"),
	FIELD(config_cpus, FIELD_UINT, threads, .name = "threads",
	      .positive = true, .argument = "T",
	      .help = "of each core; default 1"),
	FIELD(config_cpus, FIELD_UINT, cores, .name = "cores",
	      .positive = true, .argument = "C",
	      .help = "of each socket; default: what N needs"),
	FIELD(config_cpus, FIELD_UINT, sockets, .name = "sockets",
	      .positive = true, .argument = "S",
	      .help = "in all; default 1, or what N needs"),
	{ 0 },
};

int option_memory_set(struct vm_config *c, const struct option *o,
		      struct json_object *v, const char *label, struct error *e)
{
	free(c->memory.path);
	c->memory = (struct config_memory){
		.size_bytes = CONFIG_DEFAULT_MEMORY,
	};
	return option_fields_set(&c->memory, o, v, label, e);
}

struct json_object *option_memory_get(const struct vm_config *c,
				      const struct option *o)
{
	return option_fields_json(&c->memory, o->fields);
}

int option_cpus_set(struct vm_config *c, const struct option *o,
		    struct json_object *v, const char *label, struct error *e)
{
	c->cpus.count = 1;
	c->cpus.max = c->cpus.threads = c->cpus.cores = c->cpus.sockets = 0;
	return option_fields_set(&c->cpus, o, v, label, e);
}

struct json_object *option_cpus_get(const struct vm_config *c,
				    const struct option *o)
{
	return option_fields_json(&c->cpus, o->fields);
}

/* host[,+feat][,-feat]… */
int option_cpu_set(struct vm_config *c, const struct option *o,
		   struct json_object *v, const char *label, struct error *e)
{
	struct suboptions s;
	char *text = NULL;
	int ret = option_get_string(v, &text, label, e);

	(void)o;
	if (!ret)
		ret = suboptions_parse(&s, text, e);
	free(text);
	if (ret)
		return ret;
	for (size_t i = 0; i < c->cpus.feature_count; i++)
		free(c->cpus.features[i]);
	c->cpus.feature_count = 0;
	for (size_t i = 0; !ret && i < s.count; i++) {
		const char *word = s.items[i].value;

		if (i == 0 && !s.items[i].key && !strcmp(word, "host"))
			continue;
		if (s.items[i].key || i == 0 ||
			 (*word != '+' && *word != '-') || !word[1])
			ret = error_config(e, -EINVAL, "%s: '%s': not of the "
					   "form host,+feature,-feature", label,
					   s.items[i].key ? s.items[i].key :
							    word);
		else
			ret = option_list_append(&c->cpus.features,
					    &c->cpus.feature_count, word, e);
	}
	suboptions_deinit(&s);
	return ret;
}

struct json_object *option_cpu_get(const struct vm_config *c,
				   const struct option *o)
{
	struct json_object *v = NULL;
	size_t len = sizeof("host");
	char *text, *p;

	(void)o;
	for (size_t i = 0; i < c->cpus.feature_count; i++)
		len += 1 + strlen(c->cpus.features[i]);
	text = c->cpus.feature_count ? malloc(len) : NULL;
	if (!text)
		return NULL;
	p = stpcpy(text, "host");
	for (size_t i = 0; i < c->cpus.feature_count; i++)
		p = stpcpy(stpcpy(p, ","), c->cpus.features[i]);
	v = json_object_new_string(text);
	free(text);
	return v;
}
