/* SPDX-License-Identifier: MIT */
/*
 * Registers of 32 bits for the ACPI tables' code (boot/dsdt.asl), little-endian,
 * at multiples of four. Other accesses read as 0 and write nothing.
 */
#ifndef MOTE_REGISTERS_H
#define MOTE_REGISTERS_H

#include <stdint.h>

#include "bus.h"
#include "error.h"

struct registers_ops {
	/* vCPU threads, machine lock held. write() may be NULL. */
	uint32_t (*read)(void *opaque, uint64_t offset);
	void (*write)(void *opaque, uint64_t offset, uint32_t value);
};

struct registers {
	struct bus *bus;
	struct bus_range range;
	const struct registers_ops *ops;
	void *opaque;
};

/* As bus_add() and bus_remove(); name is for the error. */
int registers_add(struct registers *r, struct bus *bus, uint64_t base,
		  uint64_t len_bytes, const struct registers_ops *ops,
		  void *opaque, const char *name, struct error *e);
void registers_remove(struct registers *r);

#endif
