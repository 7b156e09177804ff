/* SPDX-License-Identifier: MIT */
/*
 * DIMM hot-plug for ACPI: the registers behind MPEV, MSTA, MCRS, MEJ0 and MOST
 * in boot/dsdt.asl.
 *
 * 32 bits each, little-endian, at these offsets:
 *	0x00	read	the next piece of news, taken by reading: slot in bits
 *			0-7, and from bit 8 on what its device is to be told
 *			(ACPI 6.4, 5.6.6); all ones: there is none
 *	0x04	write	the slot that the next are about
 *	0x08	read	1: there is a DIMM in it
 *	0x0c	write	the slot whose DIMM the guest has let go
 *	0x10	read	the DIMM's first address, low half; 0x14: high half
 *	0x18	read	its length in bytes, low half; 0x1c: high half
 *	0x20	write	what the guest reports about (6.3.5), then
 *	0x24	write	how it went
 *
 * All functions run with the machine lock held, or before the vCPUs run.
 */
#ifndef MOTE_MEM_HOTPLUG_H
#define MOTE_MEM_HOTPLUG_H

#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "error.h"
#include "platform/ged.h"

#define MEM_HOTPLUG_BYTES 0x28
#define MEM_HOTPLUG_MAX 256

struct mem_hotplug;

/* On vCPU threads; any slot, with a DIMM or not, below MEM_HOTPLUG_MAX. */
struct mem_hotplug_owner {
	void (*ejected)(void *opaque, unsigned int slot);
	/* What _OST said. */
	void (*reported)(void *opaque, unsigned int slot, uint32_t source,
			 uint32_t status);
	void *opaque;
};

int mem_hotplug_create(struct mem_hotplug **out, struct bus *mmio,
		       uint64_t base, struct ged *ged,
		       const struct mem_hotplug_owner *owner, struct error *e);
void mem_hotplug_destroy(struct mem_hotplug *h);

bool mem_hotplug_present(const struct mem_hotplug *h, unsigned int slot);
/* Has the guest asked whether there is one since it started? If not, it will find
 * one by itself, and make no report of it. */
bool mem_hotplug_looked(const struct mem_hotplug *h, unsigned int slot);
/* There is a DIMM now: the guest is told. */
void mem_hotplug_added(struct mem_hotplug *h, unsigned int slot,
		       uint64_t base, uint64_t len_bytes);
/* The guest is asked to let it go. */
void mem_hotplug_request(struct mem_hotplug *h, unsigned int slot);
/* It is gone: what the guest was not told yet is void. */
void mem_hotplug_gone(struct mem_hotplug *h, unsigned int slot);
/* The guest starts anew, with the DIMMs that there are. */
void mem_hotplug_reset(struct mem_hotplug *h);

/* All but which DIMMs there are. */
struct state_writer;
struct state_reader;
void mem_hotplug_save(const struct mem_hotplug *h, struct state_writer *w);
/* -EPROTO, or what the reader says. */
int mem_hotplug_load(struct mem_hotplug *h, struct state_reader *r);

#endif
