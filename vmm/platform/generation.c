/* SPDX-License-Identifier: MIT */
/* The VM generation ID. Main thread. */
#include "platform/generation.h"

#include <errno.h>
#include <sys/random.h>

int generation_init(struct generation *g, struct error *e)
{
	if (getrandom(g->id, sizeof(g->id), 0) != sizeof(g->id))
		return error_errno(e, -errno, "generation ID: getrandom");
	return 0;
}

int generation_write(const struct generation *g, struct guest_mem *mem,
		     gpa_t at, struct error *e)
{
	int ret = guest_mem_write(mem, at, g->id, sizeof(g->id));

	return ret ? error_errno(e, ret, "generation ID") : 0;
}
