/* SPDX-License-Identifier: MIT */
/*
 * The memory devices of DIMMs that may come and go (ACPI 6.4, 9.11): the part of
 * an SSDT that depends on how many slots there are. Any thread.
 */
#ifndef MOTE_ACPI_DIMMS_H
#define MOTE_ACPI_DIMMS_H

#include <stddef.h>
#include <stdint.h>

/* The most that acpi_dimms_aml() writes. */
#define ACPI_DIMMS_AML_MAX(count) (64 + (size_t)(count) * 104)

/*
 * Writes the body of the table: for each slot a device \_SB.Mnnn (in
 * hexadecimal), and MTFY (slot, what), which notifies it. At most 256 slots.
 * Returns its length.
 */
size_t acpi_dimms_aml(uint8_t *out, unsigned int count);

#endif
