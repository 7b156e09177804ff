/* SPDX-License-Identifier: MIT */
/*
 * vCPU hot-plug for ACPI: the registers behind CPEV, CSTA, CEJ0 and COST in
 * boot/dsdt.asl, which say what has come, what is to go, and that it went.
 *
 * 32 bits each, little-endian, at these offsets:
 *	0x00	read	the next piece of news, taken by reading: vCPU in bits
 *			0-7, and from bit 8 on what its device is to be told
 *			(ACPI 6.4, 5.6.6); all ones: there is none
 *	0x04	write	the vCPU that the next is about
 *	0x08	read	1: it is there
 *	0x0c	write	the vCPU that the guest has let go
 *	0x10	write	what the guest reports about (6.3.5), then
 *	0x14	write	how it went with the vCPU selected
 *
 * All functions run with the machine lock held, or before the vCPUs run.
 */
#ifndef MOTE_CPU_HOTPLUG_H
#define MOTE_CPU_HOTPLUG_H

#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "error.h"
#include "platform/ged.h"

#define CPU_HOTPLUG_BYTES 0x18
#define CPU_HOTPLUG_MAX 256

struct cpu_hotplug;

/* On vCPU threads; any vCPU, there or not. */
struct cpu_hotplug_owner {
	void (*ejected)(void *opaque, unsigned int cpu);
	/* What _OST said. */
	void (*reported)(void *opaque, unsigned int cpu, uint32_t source,
			 uint32_t status);
	void *opaque;
};

/* The first vCPUs are there. */
int cpu_hotplug_create(struct cpu_hotplug **out, struct bus *mmio,
		       uint64_t base, struct ged *ged, unsigned int present,
		       const struct cpu_hotplug_owner *owner, struct error *e);
void cpu_hotplug_destroy(struct cpu_hotplug *h);

bool cpu_hotplug_present(const struct cpu_hotplug *h, unsigned int cpu);
/* It is there now: the guest is told. */
void cpu_hotplug_added(struct cpu_hotplug *h, unsigned int cpu);
/* The guest is asked to let it go. */
void cpu_hotplug_request(struct cpu_hotplug *h, unsigned int cpu);
/* It is gone: what the guest was not told yet is void. */
void cpu_hotplug_gone(struct cpu_hotplug *h, unsigned int cpu);
/* The guest starts anew, with the vCPUs that there are. */
void cpu_hotplug_reset(struct cpu_hotplug *h);

struct state_writer;
struct state_reader;
void cpu_hotplug_save(const struct cpu_hotplug *h, struct state_writer *w);
/* -EPROTO, or what the reader says. */
int cpu_hotplug_load(struct cpu_hotplug *h, struct state_reader *r);

#endif
