/* SPDX-License-Identifier: MIT */
/*
 * The registers of the ACPI generic event device (ACPI 6.4, 5.6.9), which the
 * _EVT method in boot/dsdt.asl reads: how mote tells the guest's firmware
 * interface that something happened.
 */
#ifndef MOTE_GED_H
#define MOTE_GED_H

#include <stdint.h>

#include "bus.h"
#include "error.h"
#include "irq.h"

struct ged;

#define GED_POWER_BUTTON (1u << 0)

int ged_create(struct ged **out, struct bus *mmio, uint64_t base,
	       struct irq_chip *irq, uint32_t gsi, struct error *e);
void ged_destroy(struct ged *g);

/* Any thread. */
void ged_raise(struct ged *g, uint32_t events);
/* Machine lock held: nothing is pending any more. */
void ged_reset(struct ged *g);

#endif
