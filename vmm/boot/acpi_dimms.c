/* SPDX-License-Identifier: MIT */
/*
 * Memory devices in AML (ACPI 6.4, 20.2), which is what this would be in ASL:
 *
 *	Scope (\_SB) {
 *		Device (M001) {
 *			Name (_HID, EisaId ("PNP0C80"))
 *			Name (_UID, 1)
 *			Method (_STA) { Return (MSTA (1)) }
 *			Method (_CRS) { Return (MCRS (1)) }
 *			Method (_EJ0, 1) { MEJ0 (1, Arg0) }
 *			Method (_OST, 3) { MOST (1, Arg0, Arg1, Arg2) }
 *		}
 *		…
 *		Method (MTFY, 2) {
 *			If (LEqual (Arg0, 1)) { Notify (M001, Arg1) }
 *			…
 *		}
 *	}
 */
#include "boot/acpi_dimms.h"

#include "boot/aml.h"

static uint8_t *put_device(uint8_t *p, unsigned int slot)
{
	/* A compressed EISA ID (19.3.4) is a DWord. */
	static const uint8_t pnp0c80[] = {
		AML_DWORD, 0x41, 0xd0, 0x0c, 0x80,
	};
	uint8_t *length;

	length = aml_op(aml_op(p, AML_EXT), AML_EXT_DEVICE);
	p = aml_numbered(length + 2, 'M', slot);
	p = aml_seg(aml_op(p, AML_NAME), "_HID");
	p = aml_put(p, pnp0c80, sizeof(pnp0c80));
	p = aml_byte(aml_seg(aml_op(p, AML_NAME), "_UID"), slot);
	p = aml_forward(p, "_STA", 0, true, "MSTA", slot);
	p = aml_forward(p, "_CRS", 0, true, "MCRS", slot);
	p = aml_forward(p, "_EJ0", 1, false, "MEJ0", slot);
	p = aml_forward(p, "_OST", 3, false, "MOST", slot);
	aml_close2(length, p);
	return p;
}

size_t acpi_dimms_aml(uint8_t *out, unsigned int count)
{
	uint8_t *p = out, *scope;

	scope = aml_op(p, AML_SCOPE);
	p = aml_put(scope + 3, "\\_SB_", 5);
	for (unsigned int i = 0; i < count; i++)
		p = put_device(p, i);
	p = aml_notify_method(p, "MTFY", 'M', count);
	aml_close3(scope, p);
	return (size_t)(p - out);
}
