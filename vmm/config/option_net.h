/* SPDX-License-Identifier: MIT */
/* The value of --net. Main thread. */
#ifndef MOTE_OPTION_NET_H
#define MOTE_OPTION_NET_H

#include "config/options.h"

extern const struct field option_net_fields[];

/* One device, or a list of them; `none` adds nothing. */
int option_net_set(struct vm_config *c, const struct option *o,
		   struct json_object *v, const char *label, struct error *e);
struct json_object *option_net_get(const struct vm_config *c,
				   const struct option *o);
/*
 * Devices from index first on, the command line's, replace those of the
 * document that have the same id. The same id twice among them is an error.
 */
int option_net_fold(struct vm_config *c, size_t first, struct error *e);

#endif
