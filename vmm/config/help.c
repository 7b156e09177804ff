/* SPDX-License-Identifier: MIT */
/* What `mote help` prints; the options come from their table. Main thread. */
#include <string.h>

#include "config/cli.h"
#include "config/option_override.h"
#include "config/options.h"
#include "nearest.h"

static void help_run(FILE *out);
static void help_restore(FILE *out);
static void help_merge(FILE *out);
static void help_ctl(FILE *out);

static const struct command {
	const char *name;
	const char *usage;
	const char *summary;
	void (*more)(FILE *out);
} commands[] = {
	{ "run", "mote run -k KERNEL [options]",
	  "create a VM and run it in the foreground", help_run },
	{ "restore", "mote restore DIR|STATE [options]",
	  "make a new VM from a saved one and let it go on", help_restore },
	{ "merge", "mote merge DIR... OUT",
	  "fold a chain of diff saves into one full save", help_merge },
	{ "ctl", "mote ctl SOCKET [COMMAND [key=value]...] [--pretty] [--follow]",
	  "one monitor command; without COMMAND, the list of commands",
	  help_ctl },
	{ "help", "mote help [COMMAND]", "this, or what a command takes",
	  NULL },
	{ "version", "mote version", "print the version", NULL },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* A sub-option: what it takes, and what it is in the column after that. */
static void print_field(FILE *out, const struct field *f)
{
	int used = fprintf(out, "         %s=%s", f->name, f->argument);

	fprintf(out, "%*s", used < 28 ? 28 - used : 1, "");
	for (const char *p = f->help; *p; p++) {
		fputc(*p, out);
		if (*p == '\n')
			fprintf(out, "%28s", "");
	}
	fputc('\n', out);
}

static void print_option(FILE *out, const struct option *o)
{
	if (o->letter)
		fprintf(out, "  -%c, --%s", o->letter, o->name);
	else
		fprintf(out, "  --%s", o->name);
	fprintf(out, "%s%s\n         ", o->argument ? " " : "",
		o->argument ? o->argument : "");
	for (const char *p = o->help; *p; p++) {
		fputc(*p, out);
		if (*p == '\n')
			fputs("         ", out);
	}
	fputs(o->repeatable ? "; repeatable\n" : "\n", out);
	for (const struct field *f = o->fields; f && f->name; f++)
		if (f->help)
			print_field(out, f);
}

static void help_run(FILE *out)
{
	fputs("\nOptions:\n", out);
	for (const struct option *o = options; o->name; o++)
		print_option(out, o);
	fputs("  --config FILE\n"
	      "         a JSON document with the long names as keys (disks and "
	      "nets for\n"
	      "         --disk and --net); options apply on top of it: scalars "
	      "replace, lists\n"
	      "         append, the same id (a share: the same tag) replaces\n"
	      "  --print-config\n"
	      "         print the effective configuration and exit\n\n"
	      "In a list of sub-options the first bare word is the path, back "
	      "end or size; `,,`\n"
	      "is a literal comma.\n\n"
	      "The generated kernel command line holds\n"
	      "  console=ttyS0, console=hvc0  for each console that goes "
	      "somewhere; the last\n"
	      "                               is /dev/console: that on stdio, or "
	      "else hvc0\n"
	      "  panic=1 reboot=panic_warm    so that a panic is seen, with or "
	      "without a driver\n"
	      "  root=/dev/vda rw             with --rootfs type=disk; "
	      "readonly=on: ro\n"
	      "  root=/dev/pmem0 rw           with --rootfs type=pmem; and "
	      "rootflags=dax when\n"
	      "                               it is an ext4 or XFS that can\n"
	      "  memhp_default_state=online   with --memory max=\n"
	      "and then every --params.\n\n"
	      "Keys on stdio: Ctrl-a x quits, Ctrl-a Ctrl-a sends Ctrl-a, "
	      "Ctrl-a b a break,\n"
	      "Ctrl-a s prints the VM's status, Ctrl-a h the keys.\n\n"
	      "Exit status: 0 the guest powered off, or rebooted under "
	      "--on-reboot exit, or\n"
	      "quit, or SIGTERM, SIGINT, SIGHUP; 1 mote failed, or terminate; "
	      "2 usage or\n"
	      "configuration; 3 the guest panicked; 4 the guest died (KVM "
	      "internal error or\n"
	      "triple fault); 64 to 127 --exit-port.\n", out);
}

static void help_restore(FILE *out)
{
	fputs("\nDIR is what the monitor's save made; STATE its state file. "
	      "Options:\n"
	      "  --memory map|copy|fault\n"
	      "         map, the default: the memory file is mapped copy-on-"
	      "write, at once and\n"
	      "         for any number of VMs; copy: it is read, and every "
	      "checksum verified;\n"
	      "         fault: pages are read as they are touched, and those that "
	      "an earlier VM\n"
	      "         touched first, ahead of that; it needs "
	      "/dev/userfaultfd,\n"
	      "         CAP_SYS_PTRACE or vm.unprivileged_userfaultfd=1\n", out);
	for (const struct option *o = options; o->name; o++)
		if (option_is_override(o->name))
			print_option(out, o);
	fputs("\n"
	      "A --disk, --pmem or --net needs the id of a saved one and gives it another path\n"
	      "or back end, a --9p the tag; the id of --rootfs is rootfs. What the guest was\n"
	      "told of them (readonly, queues, serial, msize ...) stays as it was saved; it\n"
	      "sees another mac after its next reset. Monitor, exit report and log are not\n"
	      "those of the saved VM; without --uuid it has that one's. A file that is damaged,\n"
	      "of another version or does not fit this host is exit status 2, before the guest\n"
	      "runs.\n", out);
}

static void help_merge(FILE *out)
{
	fputs("\nDIR is one save, whose bases are found as it names them, or a "
	      "whole chain, the\n"
	      "full one first. All of it is checked. OUT is made, or an earlier "
	      "save there is\n"
	      "replaced at once; it needs none of the others.\n\n"
	      "Exit status: 0 done; 1 mote failed; 2 usage, or a damaged or "
	      "wrong save.\n", out);
}

static void help_ctl(FILE *out)
{
	fputs("\nPrints the command's result as JSON. Values are numbers, true, "
	      "false, JSON, or\n"
	      "else strings; a.b=c is a key inside a.\n"
	      "  --pretty   indent the result\n"
	      "  --follow   print events, one a line, until the VM ends\n\n"
	      "Exit status: 0 done; 1 the command failed; 2 usage, or no "
	      "monitor at SOCKET.\n", out);
}

bool cli_help(FILE *out, const char *topic)
{
	if (!topic) {
		fputs("mote: a small KVM virtual machine monitor\n\n", out);
		for (size_t i = 0; i < COMMANDS; i++)
			fprintf(out, "  %s\n         %s\n", commands[i].usage,
				commands[i].summary);
		return true;
	}
	for (size_t i = 0; i < COMMANDS; i++) {
		if (strcmp(commands[i].name, topic))
			continue;
		fprintf(out, "usage: %s\n\n%s\n", commands[i].usage,
			commands[i].summary);
		if (commands[i].more)
			commands[i].more(out);
		return true;
	}
	return false;
}

const char *cli_nearest_command(const char *name)
{
	struct nearest near = { .word = name };

	for (size_t i = 0; i < COMMANDS; i++)
		nearest_offer(&near, commands[i].name);
	return near.best;
}
