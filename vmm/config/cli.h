/* SPDX-License-Identifier: MIT */
/*
 * The command line: `mote run` options as one table, from which parsing,
 * `mote help run`, the nearest-name suggestion and the JSON keys are derived.
 * Main thread, before anything else exists; changes nothing outside *c.
 */
#ifndef MOTE_CLI_H
#define MOTE_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "config/config.h"

struct cli_run {
	struct vm_config config;
	bool print_config;
	bool help;	/* on failure: no mistake, --help was given */
};

/* argv[0] is the first option. Errors have the class InvalidConfig. */
int cli_parse_run(int argc, char **argv, struct cli_run *out, struct error *e);

struct cli_restore {
	struct cli_run run;
	const char *saved;	/* what to restore: a word of argv */
	bool copy, fault;	/* --memory copy, or fault; else map */
	/* Opens what was saved and puts its configuration into *c. */
	int (*load)(struct cli_restore *r, struct vm_config *c,
		    struct error *e);
	void *opaque;		/* load's */
};

/*
 * The same for `mote restore`. load and opaque are the caller's; load is called
 * once, when the command line is well-formed.
 */
int cli_parse_restore(int argc, char **argv, struct cli_restore *out,
		      struct error *e);

/* topic NULL: the overview; false: no such command. */
bool cli_help(FILE *out, const char *topic);
/* The command nearest to a mistyped name, or NULL. */
const char *cli_nearest_command(const char *name);

#endif
