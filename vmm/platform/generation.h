/* SPDX-License-Identifier: MIT */
/*
 * The VM generation ID (Microsoft, "Virtual Machine Generation ID"): 16 random
 * bytes in RAM, where ADDR of the device in boot/dsdt.asl points. It changes when
 * a VM is made from a saved one, so that the guest seeds its random numbers anew.
 * Main thread, vCPUs stopped.
 */
#ifndef MOTE_GENERATION_H
#define MOTE_GENERATION_H

#include <stdint.h>

#include "error.h"
#include "guest_mem.h"

#define GENERATION_BYTES 16

struct generation {
	uint8_t id[GENERATION_BYTES];
};

/* A new one. */
int generation_init(struct generation *g, struct error *e);
/* Into RAM: at every start, and after a restore. */
int generation_write(const struct generation *g, struct guest_mem *mem,
		     gpa_t at, struct error *e);

#endif
