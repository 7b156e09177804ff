/* SPDX-License-Identifier: MIT */
/*
 * The registers of the ACPI generic event device (ACPI 6.4, 5.6.9), which the
 * _EVT method in boot/dsdt.asl reads: how mote tells the guest's firmware
 * interface that something happened. The interrupt is level-triggered, so that
 * an event from before the guest's driver is not lost.
 */
#ifndef MOTE_GED_H
#define MOTE_GED_H

#include <stdint.h>

#include "bus.h"
#include "error.h"
#include "irq.h"
#include "loop.h"

struct ged;

#define GED_POWER_BUTTON (1u << 0)
#define GED_PCI_HOTPLUG  (1u << 1)
#define GED_GENERATION   (1u << 2)
#define GED_CPU_HOTPLUG  (1u << 3)
#define GED_MEM_HOTPLUG  (1u << 4)

/* loop: where ends of interrupt are handled. */
int ged_create(struct ged **out, struct bus *mmio, uint64_t base,
	       struct irq_chip *irq, uint32_t gsi, struct loop *loop,
	       struct error *e);
/* On the loop's thread, or while nobody is in loop_run(). */
void ged_destroy(struct ged *g);

/* Any thread. */
void ged_raise(struct ged *g, uint32_t events);
/* Machine lock held: nothing is pending any more. */
void ged_reset(struct ged *g);

/* Machine lock held, vCPUs stopped. What is pending is raised again. */
struct state_writer;
struct state_reader;
void ged_save(const struct ged *g, struct state_writer *w);
int ged_load(struct ged *g, struct state_reader *r);

#endif
