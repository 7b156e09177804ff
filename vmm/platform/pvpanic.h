/* SPDX-License-Identifier: MIT */
/*
 * The panic device (QEMU's docs/specs/pvpanic.rst): one byte port by which a
 * guest says that it has panicked. Its callbacks run on vCPU threads with the
 * machine lock held.
 */
#ifndef MOTE_PVPANIC_H
#define MOTE_PVPANIC_H

#include "bus.h"
#include "error.h"
#include "platform/platform.h"

struct pvpanic;

/* The owner's callback and opaque are copied; pio must outlive the device. */
int pvpanic_create(struct pvpanic **out, struct bus *pio, uint64_t port,
		   const struct platform_owner *owner, struct error *e);
void pvpanic_destroy(struct pvpanic *p);

#endif
