/* SPDX-License-Identifier: MIT */
/* --rng, --balloon, --vsock. Main thread. */
#ifndef MOTE_OPTION_DEVICE_H
#define MOTE_OPTION_DEVICE_H

#include "config/options.h"

extern const struct field option_rng_fields[];
extern const struct field option_balloon_fields[];
extern const struct field option_vsock_fields[];

int option_rng_set(struct vm_config *c, const struct option *o,
		   struct json_object *v, const char *label, struct error *e);
struct json_object *option_rng_get(const struct vm_config *c,
				   const struct option *o);
int option_balloon_set(struct vm_config *c, const struct option *o,
		       struct json_object *v, const char *label,
		       struct error *e);
struct json_object *option_balloon_get(const struct vm_config *c,
				       const struct option *o);
int option_vsock_set(struct vm_config *c, const struct option *o,
		     struct json_object *v, const char *label, struct error *e);
struct json_object *option_vsock_get(const struct vm_config *c,
				     const struct option *o);

#endif
