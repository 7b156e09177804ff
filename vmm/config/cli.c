/* SPDX-License-Identifier: MIT */
/* Parsing of the command line. Main thread; the help is in help.c. */
#include "config/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/option_9p.h"
#include "config/option_chardev.h"
#include "config/option_disk.h"
#include "config/option_net.h"
#include "config/option_override.h"
#include "config/option_pmem.h"
#include "config/options.h"
#include "nearest.h"

/* Of the command line only. */
#define OPTION_CONFIG "config"
#define OPTION_PRINT_CONFIG "print-config"
#define OPTION_HELP "help"
/* Of mote restore it is something else. */
#define OPTION_MEMORY "memory"

struct parser {
	int argc;
	char **argv;
	int next;		/* index of the next word */
	struct cli_run *out;
	bool apply;		/* the second pass */
	unsigned long long seen;	/* scalars, by index in options[] */
	const char *config;
	struct cli_restore *restore;	/* NULL: mote run */
	const char *memory;		/* restore's --memory */
};

/* QEMU's and kvmtool's names, too far from ours for nearest_offer(). */
static const char *name_elsewhere(const char *name)
{
	static const char *const names[][2] = {
		{ "append", "params" },	   { "smp", "cpus" },
		{ "drive", "disk" },	   { "hda", "disk" },
		{ "nographic", "serial" }, { "chardev", "serial" },
		{ "tty", "serial" },	   { "qmp", "monitor" },
		{ "name", "id" },	   { "network", "net" },
		{ "netdev", "net" },	   { "no-reboot", "on-reboot" },
		{ "S", "paused" },	   { "D", "log" },
		{ "virtfs", "9p" },	   { "fsdev", "9p" },
		{ "fs", "9p" },		   { "shared-dir", "9p" },
		{ "api-sock", "monitor" }, { "api-socket", "monitor" },
		{ "cmdline", "params" },   { "initramfs", "initrd" },
		{ "device", "disk" },	   { "cdrom", "disk" },
		{ "display", "serial" },   { "mem-path", "memory" },
		{ "machine", "config" },   { "M", "config" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i][0]))
			return names[i][1];
	return NULL;
}

static int unknown_option(const char *word, const char *name, struct error *e)
{
	struct nearest near = { .word = name };
	const char *ours = name_elsewhere(name);

	if (ours)
		return error_config(e, -EINVAL, "unknown option '%s'; did you "
				    "mean '--%s'?", word, ours);
	for (const struct option *o = options; o->name; o++)
		nearest_offer(&near, o->name);
	nearest_offer(&near, OPTION_CONFIG);
	nearest_offer(&near, OPTION_PRINT_CONFIG);
	nearest_offer(&near, OPTION_HELP);
	return error_config(e, -EINVAL, "unknown option '%s'; did you mean "
			    "'--%s'?", word, near.best);
}

static int see_help(struct parser *p, struct error *e)
{
	p->out->help = true;
	return error_config(e, -EINVAL, "the options are listed by 'mote help "
			    "%s'", p->restore ? "restore" : "run");
}

/* The value: attached to the option, or the next word. */
static int take_value(struct parser *p, const char *name, const char *attached,
		      const char **value, struct error *e)
{
	if (attached) {
		*value = attached;
		return 0;
	}
	if (p->next == p->argc)
		return error_config(e, -EINVAL, "--%s: no value", name);
	*value = p->argv[p->next++];
	return 0;
}

/* What a saved VM is cannot be changed; where it finds things can. */
static int check_restore(const struct option *o, struct error *e)
{
	if (option_is_override(o->name))
		return 0;
	return error_config(e, -EINVAL, "--%s: is as it was saved; mote restore "
			    "cannot change it", o->name);
}

static int take_restore_memory(struct parser *p, const char *attached,
			       struct error *e)
{
	int ret;

	if (p->memory)
		return error_config(e, -EINVAL, "--memory is given twice");
	ret = take_value(p, OPTION_MEMORY, attached, &p->memory, e);
	if (ret)
		return ret;
	if (strcmp(p->memory, "map") && strcmp(p->memory, "copy") &&
	    strcmp(p->memory, "fault"))
		return error_config(e, -EINVAL, "--memory: '%s' is none of map, "
				    "copy and fault", p->memory);
	p->restore->copy = !strcmp(p->memory, "copy");
	p->restore->fault = !strcmp(p->memory, "fault");
	return 0;
}

static int take_option(struct parser *p, const struct option *o,
		       const char *attached, struct error *e)
{
	unsigned long long bit = 1ull << (o - options);
	char label[40] = "--";
	const char *text = "on";
	struct json_object *value;
	int ret = 0;

	if (p->restore && !strcmp(o->name, OPTION_MEMORY))
		return take_restore_memory(p, attached, e);
	ret = p->restore ? check_restore(o, e) : 0;
	if (ret)
		return ret;
	strncat(label, o->name, sizeof(label) - 3);
	if (attached)
		text = attached;
	else if (o->argument && !o->value_optional)
		ret = take_value(p, o->name, NULL, &text, e);
	else if (o->argument && p->next < p->argc &&
		 p->argv[p->next][0] != '-')
		text = p->argv[p->next++];
	if (ret)
		return ret;
	if (!o->repeatable && (p->seen & bit))
		return error_config(e, -EINVAL, "%s is given twice", label);
	p->seen |= bit;
	if (!p->apply)
		return 0;
	value = json_object_new_string(text);
	if (!value)
		return error_set(e, -ENOMEM, "out of memory");
	ret = o->set(&p->out->config, o, value, label, e);
	json_object_put(value);
	return ret;
}

static int take_config(struct parser *p, const char *attached,
		       struct error *e)
{
	int ret;

	if (p->config)
		return error_config(e, -EINVAL, "--config is given twice");
	ret = take_value(p, OPTION_CONFIG, attached, &p->config, e);
	if (!ret && !*p->config)
		ret = error_config(e, -EINVAL, "--config: empty");
	return ret;
}

static int take_long(struct parser *p, const char *word, struct error *e)
{
	const char *equals = strchr(word, '=');
	const char *attached = equals ? equals + 1 : NULL;
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	char name[64];
	const struct option *o;

	if (len - 2 >= sizeof(name))
		return error_config(e, -EINVAL, "unknown option '%s'", word);
	memcpy(name, word + 2, len - 2);
	name[len - 2] = '\0';
	if (!strcmp(name, OPTION_CONFIG) && !p->restore)
		return take_config(p, attached, e);
	if (!strcmp(name, OPTION_PRINT_CONFIG) && !attached) {
		p->out->print_config = true;
		return 0;
	}
	if (!strcmp(name, OPTION_HELP) && !attached)
		return see_help(p, e);
	o = option_by_name(name);
	return o ? take_option(p, o, attached, e) :
		   unknown_option(word, name, e);
}

static int take_dashed(struct parser *p, const char *word, struct error *e)
{
	const struct option *o;

	if (word[1] == '-')
		return take_long(p, word, e);
	/* QEMU's way: --kernel is meant, not a file "ernel". */
	if (strlen(word) > 3 &&
	    (option_by_name(word + 1) || name_elsewhere(word + 1)))
		return unknown_option(word, word + 1, e);
	if (!strcmp(word, "-h"))
		return see_help(p, e);
	o = option_by_letter(word[1]);
	if (!o)
		return unknown_option(word, word + 1, e);
	return take_option(p, o, word[2] ? word + 2 : NULL, e);
}

static int take_word(struct parser *p, struct error *e)
{
	const char *word = p->argv[p->next++];

	/* Behind `--` there can only be words; the next is looked at. */
	if (!strcmp(word, "--")) {
		if (p->next == p->argc)
			return 0;
		word = p->argv[p->next++];
	} else if (word[0] == '-' && word[1]) {
		return take_dashed(p, word, e);
	}
	if (p->restore && !p->restore->saved) {
		p->restore->saved = word;
		return 0;
	}
	return error_config(e, -EINVAL, "'%s' is not an option", word);
}

static int pass(struct parser *p, bool apply, struct error *e)
{
	int ret = 0;

	p->apply = apply;
	p->next = 0;
	p->seen = 0;
	p->config = p->memory = NULL;
	if (p->restore)
		p->restore->saved = NULL;
	while (!ret && p->next < p->argc)
		ret = take_word(p, e);
	return ret;
}

/* Twice: the document comes first, wherever --config stands. */
int cli_parse_run(int argc, char **argv, struct cli_run *out, struct error *e)
{
	struct parser p = { .argc = argc, .argv = argv, .out = out };
	size_t disks, nets, pmems, shares, chardevs;
	int ret;

	*out = (struct cli_run){ 0 };
	config_init(&out->config);
	ret = pass(&p, false, e);
	if (!ret && p.config)
		ret = config_json_load(&out->config, p.config, e);
	disks = out->config.disk_count;
	pmems = out->config.pmem_count;
	nets = out->config.net_count;
	shares = out->config.share_count;
	chardevs = out->config.chardev_count;
	if (!ret)
		ret = pass(&p, true, e);
	if (!ret)
		ret = option_disk_fold(&out->config, disks, e);
	if (!ret)
		ret = option_pmem_fold(&out->config, pmems, e);
	if (!ret)
		ret = option_net_fold(&out->config, nets, e);
	if (!ret)
		ret = option_9p_fold(&out->config, shares, e);
	if (!ret)
		ret = option_chardev_fold(&out->config, chardevs, e);
	if (!ret)
		ret = config_validate(&out->config, e);
	if (ret)
		config_deinit(&out->config);
	return ret;
}

int cli_parse_restore(int argc, char **argv, struct cli_restore *out,
		      struct error *e)
{
	struct cli_run *run = &out->run;
	struct parser p = { .argc = argc, .argv = argv, .out = run,
			    .restore = out };
	struct option_saved saved;
	int ret;

	*run = (struct cli_run){ 0 };
	out->copy = out->fault = false;
	config_init(&run->config);
	ret = pass(&p, false, e);
	if (!ret && !out->saved)
		ret = error_config(e, -EINVAL, "mote restore: no directory");
	if (!ret)
		ret = out->load(out, &run->config, e);
	saved = option_saved(&run->config);
	if (!ret)
		ret = pass(&p, true, e);
	if (!ret)
		ret = option_override(&run->config, &saved, e);
	if (!ret)
		ret = config_validate(&run->config, e);
	if (ret)
		config_deinit(&run->config);
	return ret;
}
