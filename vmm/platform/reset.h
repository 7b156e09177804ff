/* SPDX-License-Identifier: MIT */
/*
 * Everything by which a guest ends or restarts itself through a port: the reset
 * control register 0xcf9, the keyboard controller's reset line, the ACPI sleep
 * registers of a hardware-reduced platform, and, when asked for, the exit port.
 *
 * Callbacks run on vCPU threads with the machine lock held. The device only
 * tells its owner.
 */
#ifndef MOTE_RESET_H
#define MOTE_RESET_H

#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "error.h"
#include "platform/platform.h"

struct reset_dev;

/* The owner's callback and opaque are copied; pio must outlive the device. */
int reset_create(struct reset_dev **out, struct bus *pio,
		 const struct platform_owner *owner, bool exit_port,
		 struct error *e);
void reset_destroy(struct reset_dev *r);

/*
 * The reset control register. It lies inside the range of PCI's configuration
 * ports, which passes on byte accesses to 0xcf9. Machine lock held.
 */
uint8_t reset_cf9_read(const struct reset_dev *r);
void reset_cf9_write(struct reset_dev *r, uint8_t value);

/* System reset. Machine lock held. */
void reset_reset(struct reset_dev *r);

/* Machine lock held, vCPUs stopped. */
struct state_writer;
struct state_reader;
void reset_save(const struct reset_dev *r, struct state_writer *w);
int reset_load(struct reset_dev *r, struct state_reader *s);

#endif
