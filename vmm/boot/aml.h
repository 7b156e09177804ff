/* SPDX-License-Identifier: MIT */
/*
 * Writing ACPI machine language (ACPI 6.4, 20.2) into a buffer that is large
 * enough. Each function returns the end of what it wrote. Any thread.
 */
#ifndef MOTE_AML_H
#define MOTE_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AML_NAME	0x08
#define AML_BYTE	0x0a
#define AML_DWORD	0x0c
#define AML_STRING	0x0d
#define AML_SCOPE	0x10
#define AML_BUFFER	0x11
#define AML_METHOD	0x14
#define AML_EXT		0x5b
#define AML_EXT_DEVICE	0x82
#define AML_ARG0	0x68
#define AML_ARG1	0x69
#define AML_NOTIFY	0x86
#define AML_LEQUAL	0x93
#define AML_IF		0xa0
#define AML_RETURN	0xa4

uint8_t *aml_put(uint8_t *p, const void *bytes, size_t len);
uint8_t *aml_op(uint8_t *p, uint8_t op);
/* A name of four characters, and one of a letter and a number below 4096. */
uint8_t *aml_seg(uint8_t *p, const char *seg);
uint8_t *aml_numbered(uint8_t *p, char letter, unsigned int number);
/* An integer below 256. */
uint8_t *aml_byte(uint8_t *p, unsigned int value);
/* Name (seg, "text") */
uint8_t *aml_name_string(uint8_t *p, const char *seg, const char *text);

/*
 * 20.2.4: a package's length counts itself. The caller leaves two bytes or three
 * for it, writes the content, and fills it in.
 */
void aml_close2(uint8_t *at, const uint8_t *end);
void aml_close3(uint8_t *at, const uint8_t *end);

/*
 * What a device's method is asked, handed on to one of the DSDT: Method (seg,
 * args) { target (number, Arg0, … all of args) }, with a Return if it returns
 * something.
 */
uint8_t *aml_forward(uint8_t *p, const char *seg, unsigned int args,
		     bool returns, const char *target, unsigned int number);

/* Method (name, 2) { If (LEqual (Arg0, 0)) { Notify (<letter>000, Arg1) } … } */
uint8_t *aml_notify_method(uint8_t *p, const char *name, char letter,
			   unsigned int count);

#endif
