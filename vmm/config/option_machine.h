/* SPDX-License-Identifier: MIT */
/* --memory, --cpus, --cpu. Main thread. */
#ifndef MOTE_OPTION_MACHINE_H
#define MOTE_OPTION_MACHINE_H

#include "config/options.h"

extern const struct field option_memory_fields[];
extern const struct field option_cpus_fields[];

int option_memory_set(struct vm_config *c, const struct option *o,
		      struct json_object *v, const char *label,
		      struct error *e);
struct json_object *option_memory_get(const struct vm_config *c,
				      const struct option *o);
int option_cpus_set(struct vm_config *c, const struct option *o,
		    struct json_object *v, const char *label, struct error *e);
struct json_object *option_cpus_get(const struct vm_config *c,
				    const struct option *o);
int option_cpu_set(struct vm_config *c, const struct option *o,
		   struct json_object *v, const char *label, struct error *e);
struct json_object *option_cpu_get(const struct vm_config *c,
				   const struct option *o);

#endif
