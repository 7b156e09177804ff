/* SPDX-License-Identifier: MIT */
/* What `mote restore` changes of a saved VM's configuration. Main thread. */
#ifndef MOTE_OPTION_OVERRIDE_H
#define MOTE_OPTION_OVERRIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "error.h"

/* Options that a restored VM may have of its own. */
bool option_is_override(const char *name);
/*
 * Disks and persistent memory from these indices on came from the command line:
 * each gives the saved one of the same id another file. An id that is not there,
 * no id, and the same twice are errors.
 */
int option_override(struct vm_config *c, size_t first_disk, size_t first_pmem,
		    struct error *e);

#endif
