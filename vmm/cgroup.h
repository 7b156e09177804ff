/* SPDX-License-Identifier: MIT */
/*
 * Limits of a control group (Linux' Documentation/admin-guide/cgroup-v2.rst, "CPU
 * Interface Files"). Main thread.
 */
#ifndef MOTE_CGROUP_H
#define MOTE_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

struct cgroup_cpu {
	bool set_limit;
	uint64_t limit_percent;		/* of one processor; 0: no limit */
	bool set_weight;
	uint64_t weight;		/* 1 to 10000 */
};

/*
 * path: a directory of a cgroup v2 hierarchy, or NULL for the group that this
 * process is in. On failure nothing has changed. InvalidConfig: what was asked
 * for, or the path, is none.
 */
int cgroup_set_cpu(const char *path, const struct cgroup_cpu *c,
		   struct error *e);

#endif
