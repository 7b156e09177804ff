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
 *			Method (_EJ0, 1) { CEJ0 (1) }	but not for vCPU 0
 *		}
 *		…
 *		Method (CTFY, 2) {
 *			If (LEqual (Arg0, 1)) { Notify (C001, Arg1) }
 *			…
 *		}
 *	}
 */
#include "boot/acpi_cpus_x86.h"

#include <stdio.h>
#include <string.h>

#define NAME_OP		0x08
#define BYTE_PREFIX	0x0a
#define STRING_PREFIX	0x0d
#define SCOPE_OP	0x10
#define BUFFER_OP	0x11
#define METHOD_OP	0x14
#define EXT_PREFIX	0x5b
#define DEVICE_OP	0x82
#define ARG0_OP		0x68
#define ARG1_OP		0x69
#define NOTIFY_OP	0x86
#define LEQUAL_OP	0x93
#define IF_OP		0xa0
#define RETURN_OP	0xa4

static uint8_t *put(uint8_t *p, const void *bytes, size_t len)
{
	memcpy(p, bytes, len);
	return p + len;
}

static uint8_t *put_op(uint8_t *p, uint8_t op)
{
	*p = op;
	return p + 1;
}

static uint8_t *put_seg(uint8_t *p, const char *seg)
{
	return put(p, seg, 4);
}

static uint8_t *put_cpu_name(uint8_t *p, unsigned int cpu)
{
	char name[16];

	snprintf(name, sizeof(name), "C%03X", cpu);
	return put_seg(p, name);
}

static uint8_t *put_byte(uint8_t *p, unsigned int value)
{
	return put_op(put_op(p, BYTE_PREFIX), (uint8_t)value);
}

/* 20.2.4: package lengths of two bytes and of three count themselves. */
static void close2(uint8_t *at, const uint8_t *end)
{
	size_t len = (size_t)(end - at);

	at[0] = (uint8_t)(0x40 | (len & 15));
	at[1] = (uint8_t)(len >> 4);
}

static void close3(uint8_t *at, const uint8_t *end)
{
	size_t len = (size_t)(end - at);

	at[0] = (uint8_t)(0x80 | (len & 15));
	at[1] = (uint8_t)(len >> 4);
	at[2] = (uint8_t)(len >> 12);
}

static uint8_t *put_sta(uint8_t *p, unsigned int cpu)
{
	uint8_t *length;

	length = put_op(p, METHOD_OP);
	p = put_op(put_seg(length + 2, "_STA"), 0);
	p = put_byte(put_seg(put_op(p, RETURN_OP), "CSTA"), cpu);
	close2(length, p);
	return p;
}

static uint8_t *put_ej0(uint8_t *p, unsigned int cpu)
{
	uint8_t *length;

	length = put_op(p, METHOD_OP);
	p = put_op(put_seg(length + 2, "_EJ0"), 1);
	p = put_byte(put_seg(p, "CEJ0"), cpu);
	close2(length, p);
	return p;
}

/* 6.2.10: its entry as it is when it is there (5.2.12.2). */
static uint8_t *put_mat(uint8_t *p, unsigned int cpu, uint32_t apic_id)
{
	const uint8_t entry[8] = {
		0, sizeof(entry), (uint8_t)cpu, (uint8_t)apic_id, 1,
	};
	uint8_t *length;

	p = put_seg(put_op(p, NAME_OP), "_MAT");
	length = put_op(p, BUFFER_OP);
	p = put(put_byte(length + 2, sizeof(entry)), entry, sizeof(entry));
	close2(length, p);
	return p;
}

static uint8_t *put_device(uint8_t *p, unsigned int cpu, uint32_t apic_id)
{
	uint8_t *length;

	length = put_op(put_op(p, EXT_PREFIX), DEVICE_OP);
	p = put_cpu_name(length + 2, cpu);
	p = put_op(put_seg(put_op(p, NAME_OP), "_HID"), STRING_PREFIX);
	p = put(p, "ACPI0007", sizeof("ACPI0007"));
	p = put_byte(put_seg(put_op(p, NAME_OP), "_UID"), cpu);
	p = put_sta(p, cpu);
	p = put_mat(p, cpu, apic_id);
	if (cpu)
		p = put_ej0(p, cpu);
	close2(length, p);
	return p;
}

static uint8_t *put_notify(uint8_t *p, unsigned int cpu)
{
	uint8_t *length;

	length = put_op(p, IF_OP);
	p = put_byte(put_op(put_op(length + 2, LEQUAL_OP), ARG0_OP), cpu);
	p = put_op(put_cpu_name(put_op(p, NOTIFY_OP), cpu), ARG1_OP);
	close2(length, p);
	return p;
}

size_t acpi_cpus_aml(uint8_t *out, const uint32_t *apic_ids,
		     unsigned int count)
{
	uint8_t *p = out, *scope, *method;

	scope = put_op(p, SCOPE_OP);
	p = put(scope + 3, "\\_SB_", 5);
	for (unsigned int i = 0; i < count; i++)
		p = put_device(p, i, apic_ids[i]);
	method = put_op(p, METHOD_OP);
	p = put_op(put_seg(method + 2, "CTFY"), 2);
	for (unsigned int i = 0; i < count; i++)
		p = put_notify(p, i);
	close2(method, p);
	close3(scope, p);
	return (size_t)(p - out);
}
