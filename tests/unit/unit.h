/* SPDX-License-Identifier: MIT */
/* What every unit test includes: cmocka needs these four, in this order. */
#ifndef MOTE_UNIT_H
#define MOTE_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
