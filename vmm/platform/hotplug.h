/* SPDX-License-Identifier: MIT */
/*
 * Hot-plug of vCPUs and of DIMMs for ACPI: the registers behind CPEV, CSTA, CEJ0,
 * COST, and MPEV, MSTA, MCRS, MEJ0, MOST in boot/dsdt.asl. A unit is a vCPU, or
 * a slot for a DIMM.
 *
 * At these offsets (platform/registers.h):
 *	0x00	read	the next piece of news, taken by reading: unit in bits
 *			0-7, and from bit 8 on what its device is to be told
 *			(ACPI 6.4, 5.6.6); all ones: there is none
 *	0x04	write	the unit that the next are about
 *	0x08	read	1: it is there
 *	0x0c	write	the unit that the guest has let go
 * DIMMs only:
 *	0x10	read	its first address, low half; 0x14: high half
 *	0x18	read	its length in bytes, low half; 0x1c: high half
 * the last two:
 *	-0x08	write	what the guest reports about (6.3.5), then
 *	-0x04	write	how it went with the unit selected
 *
 * All functions run with the machine lock held, or before the vCPUs run.
 */
#ifndef MOTE_HOTPLUG_H
#define MOTE_HOTPLUG_H

#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "error.h"
#include "platform/ged.h"

#define HOTPLUG_UNITS 256

struct hotplug;

enum hotplug_kind { HOTPLUG_CPUS, HOTPLUG_DIMMS };

/* On vCPU threads; any unit below HOTPLUG_UNITS, there or not. */
struct hotplug_owner {
	void (*ejected)(void *opaque, unsigned int unit);
	/* What _OST said. */
	void (*reported)(void *opaque, unsigned int unit, uint32_t source,
			 uint32_t status);
	void *opaque;
};

/* The first units are there. */
int hotplug_create(struct hotplug **out, enum hotplug_kind kind,
		   struct bus *mmio, uint64_t base, struct ged *ged,
		   unsigned int present, const struct hotplug_owner *owner,
		   struct error *e);
void hotplug_destroy(struct hotplug *h);

/* Any unit. */
bool hotplug_present(const struct hotplug *h, unsigned int unit);
/* Has the guest asked whether it is there since it started? If not, it will find
 * out by itself, and make no report of it. */
bool hotplug_looked(const struct hotplug *h, unsigned int unit);
/* It is there now (a DIMM: here): the guest is told. */
void hotplug_added(struct hotplug *h, unsigned int unit, uint64_t base,
		   uint64_t len_bytes);
/* The guest is asked to let it go. */
void hotplug_request(struct hotplug *h, unsigned int unit);
/* It is gone: what the guest was not told yet is void. */
void hotplug_gone(struct hotplug *h, unsigned int unit);
/* The guest starts anew, with the units that there are. */
void hotplug_reset(struct hotplug *h);

/* All but which DIMMs there are. */
struct state_writer;
struct state_reader;
void hotplug_save(const struct hotplug *h, struct state_writer *w);
/* -EPROTO, or what the reader says. */
int hotplug_load(struct hotplug *h, struct state_reader *r);

#endif
