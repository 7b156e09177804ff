/* SPDX-License-Identifier: MIT */
/*
 * Processor devices in AML (ACPI 6.4, 20.2), which is what this would be in ASL:
 *
 *	Scope (\_SB) {
 *		Device (C001) {
 *			Name (_HID, "ACPI0007")
 *			Name (_UID, 1)
 *			Method (_STA) { Return (CSTA (1)) }
 *			Name (_MAT, Buffer () { the MADT's entry, enabled })
 *			Method (_EJ0, 1) { CEJ0 (1, Arg0) }	not for vCPU 0
 *			Method (_OST, 3) { COST (1, Arg0, Arg1, Arg2) }
 *		}
 *		…
 *		Method (CTFY, 2) {
 *			If (LEqual (Arg0, 1)) { Notify (C001, Arg1) }
 *			…
 *		}
 *	}
 */
#include "boot/acpi_cpus_x86.h"

#include "boot/aml.h"

/* 6.2.10: its entry as it is when it is there (5.2.12.2). */
static uint8_t *put_mat(uint8_t *p, unsigned int cpu, uint32_t apic_id)
{
	const uint8_t entry[8] = {
		0, sizeof(entry), (uint8_t)cpu, (uint8_t)apic_id, 1,
	};
	uint8_t *length;

	p = aml_seg(aml_op(p, AML_NAME), "_MAT");
	length = aml_op(p, AML_BUFFER);
	p = aml_put(aml_byte(length + 2, sizeof(entry)), entry, sizeof(entry));
	aml_close2(length, p);
	return p;
}

static uint8_t *put_device(uint8_t *p, unsigned int cpu, uint32_t apic_id)
{
	uint8_t *length;

	length = aml_op(aml_op(p, AML_EXT), AML_EXT_DEVICE);
	p = aml_numbered(length + 2, 'C', cpu);
	p = aml_name_string(p, "_HID", "ACPI0007");
	p = aml_byte(aml_seg(aml_op(p, AML_NAME), "_UID"), cpu);
	p = aml_forward(p, "_STA", 0, true, "CSTA", cpu);
	p = put_mat(p, cpu, apic_id);
	if (cpu)
		p = aml_forward(p, "_EJ0", 1, false, "CEJ0", cpu);
	p = aml_forward(p, "_OST", 3, false, "COST", cpu);
	aml_close2(length, p);
	return p;
}

size_t acpi_cpus_aml(uint8_t *out, const uint32_t *apic_ids,
		     unsigned int count)
{
	uint8_t *p = out, *scope;

	scope = aml_op(p, AML_SCOPE);
	p = aml_put(scope + 3, "\\_SB_", 5);
	for (unsigned int i = 0; i < count; i++)
		p = put_device(p, i, apic_ids[i]);
	p = aml_notify_method(p, "CTFY", 'C', count);
	aml_close3(scope, p);
	return (size_t)(p - out);
}
