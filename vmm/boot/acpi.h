/* SPDX-License-Identifier: MIT */
/*
 * ACPI tables (ACPI 6.4): the fixed ones built here, the DSDT compiled from
 * dsdt.asl. Hardware-reduced: no fixed registers but sleep and reset. Main
 * thread, vCPUs stopped; guest RAM must be there.
 */
#ifndef MOTE_ACPI_H
#define MOTE_ACPI_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "guest_mem.h"

struct acpi_params {
	const uint32_t *apic_ids;	/* of every possible vCPU */
	const bool *present;		/* which of them are there */
	unsigned int max_cpus;
	bool cpu_hotplug;		/* they can come and go */
	uint32_t root_buses;		/* bit n: pcie.n is there */
	unsigned int last_bus;
	uint64_t mmio32_base, mmio32_per_bus;
	uint64_t mmio64_base, mmio64_per_bus;
	bool serial;
	bool pvpanic;
	bool hotplug;			/* slots that can be plugged */
	unsigned int dimm_slots;	/* at most 256 */
};

/* Writes the tables; *rsdp is where the root pointer is. */
int acpi_build(const struct acpi_params *p, struct guest_mem *mem,
	       gpa_t *rsdp, struct error *e);

#endif
