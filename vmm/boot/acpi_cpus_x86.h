/* SPDX-License-Identifier: MIT */
/*
 * The processor devices of vCPUs that may come and go (ACPI 6.4, 8.4): the part
 * of an SSDT that depends on how many there may be. Any thread.
 */
#ifndef MOTE_ACPI_CPUS_H
#define MOTE_ACPI_CPUS_H

#include <stddef.h>
#include <stdint.h>

/* The most that acpi_cpus_aml() writes. */
#define ACPI_CPUS_AML_MAX(count) (64 + (size_t)(count) * 120)

/*
 * Writes the body of the table: for each vCPU a device \_SB.Cnnn (in
 * hexadecimal), and CTFY (vCPU, what), which notifies it. Returns its length.
 */
size_t acpi_cpus_aml(uint8_t *out, const uint32_t *apic_ids,
		     unsigned int count);

#endif
