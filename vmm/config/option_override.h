/* SPDX-License-Identifier: MIT */
/* What `mote restore` changes of a saved VM's configuration. Main thread. */
#ifndef MOTE_OPTION_OVERRIDE_H
#define MOTE_OPTION_OVERRIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "error.h"

/* Options that a restored VM may have of its own. */
bool option_is_override(const char *name);
/* How many of each a saved configuration has. */
struct option_saved {
	size_t disks, pmems, nets, shares, chardevs;
};

struct option_saved option_saved(const struct vm_config *c);
/*
 * What follows them came from the command line: each gives the saved one of the
 * same id, or tag, another file or back end. An id that is not there, no id, the
 * same twice, and what cannot become different are errors.
 */
int option_override(struct vm_config *c, const struct option_saved *saved,
		    struct error *e);

#endif
