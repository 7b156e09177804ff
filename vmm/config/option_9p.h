/* SPDX-License-Identifier: MIT */
/* The option --9p. Main thread. */
#ifndef MOTE_OPTION_9P_H
#define MOTE_OPTION_9P_H

#include "config/options.h"

extern const struct field option_9p_fields[];

/* One share, or in a document a list of them. */
int option_9p_set(struct vm_config *c, const struct option *o,
		  struct json_object *v, const char *label, struct error *e);
struct json_object *option_9p_get(const struct vm_config *c,
				  const struct option *o);

/* As option_disk_fold(), for shares with the same tag. */
int option_9p_fold(struct vm_config *c, size_t first, struct error *e);

#endif
