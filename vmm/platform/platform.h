/* SPDX-License-Identifier: MIT */
/*
 * What platform devices ask of the VM. The callback runs on a vCPU thread with
 * the machine lock held: it notes the request and returns at once.
 */
#ifndef MOTE_PLATFORM_H
#define MOTE_PLATFORM_H

#include <stdint.h>

enum platform_request {
	PLATFORM_POWEROFF,	/* ACPI S5 */
	PLATFORM_RESET,		/* 0xcf9, i8042 0xfe */
	PLATFORM_PANICKED,	/* pvpanic bit 0 */
	PLATFORM_CRASH_LOADED,	/* pvpanic bit 1: a crash kernel takes over */
	PLATFORM_EXIT_PORT,	/* value: the byte written */
};

struct platform_owner {
	void (*request)(void *opaque, enum platform_request r, uint8_t value);
	void *opaque;
};

#endif
