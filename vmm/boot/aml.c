/* SPDX-License-Identifier: MIT */
/* Writing ACPI machine language. Any thread. */
#include "boot/aml.h"

#include <stdio.h>
#include <string.h>

uint8_t *aml_put(uint8_t *p, const void *bytes, size_t len)
{
	memcpy(p, bytes, len);
	return p + len;
}

uint8_t *aml_op(uint8_t *p, uint8_t op)
{
	*p = op;
	return p + 1;
}

uint8_t *aml_seg(uint8_t *p, const char *seg)
{
	return aml_put(p, seg, 4);
}

uint8_t *aml_numbered(uint8_t *p, char letter, unsigned int number)
{
	char name[16];

	snprintf(name, sizeof(name), "%c%03X", letter, number);
	return aml_seg(p, name);
}

uint8_t *aml_byte(uint8_t *p, unsigned int value)
{
	return aml_op(aml_op(p, AML_BYTE), (uint8_t)value);
}

uint8_t *aml_name_string(uint8_t *p, const char *seg, const char *text)
{
	p = aml_op(aml_seg(aml_op(p, AML_NAME), seg), AML_STRING);
	return aml_put(p, text, strlen(text) + 1);
}

void aml_close2(uint8_t *at, const uint8_t *end)
{
	size_t len = (size_t)(end - at);

	at[0] = (uint8_t)(0x40 | (len & 15));
	at[1] = (uint8_t)(len >> 4);
}

void aml_close3(uint8_t *at, const uint8_t *end)
{
	size_t len = (size_t)(end - at);

	at[0] = (uint8_t)(0x80 | (len & 15));
	at[1] = (uint8_t)(len >> 4);
	at[2] = (uint8_t)(len >> 12);
}

uint8_t *aml_forward(uint8_t *p, const char *seg, unsigned int args,
		     bool returns, const char *target, unsigned int number)
{
	uint8_t *length;

	length = aml_op(p, AML_METHOD);
	p = aml_op(aml_seg(length + 2, seg), (uint8_t)args);
	if (returns)
		p = aml_op(p, AML_RETURN);
	p = aml_byte(aml_seg(p, target), number);
	for (unsigned int i = 0; i < args; i++)
		p = aml_op(p, (uint8_t)(AML_ARG0 + i));
	aml_close2(length, p);
	return p;
}

uint8_t *aml_notify_method(uint8_t *p, const char *name, char letter,
			   unsigned int count)
{
	uint8_t *method, *length;

	method = aml_op(p, AML_METHOD);
	p = aml_op(aml_seg(method + 2, name), 2);
	for (unsigned int i = 0; i < count; i++) {
		length = aml_op(p, AML_IF);
		p = aml_op(aml_op(length + 2, AML_LEQUAL), AML_ARG0);
		p = aml_numbered(aml_op(aml_byte(p, i), AML_NOTIFY), letter, i);
		p = aml_op(p, AML_ARG1);
		aml_close2(length, p);
	}
	aml_close2(method, p);
	return p;
}
