/* SPDX-License-Identifier: MIT */
/* UTF-8 as JSON requires it (RFC 8259, 8.1). Any thread; no state. */
#ifndef MOTE_UTF8_H
#define MOTE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

bool utf8_valid(const char *s, size_t len);
/* Puts '?' in place of each byte that is part of no well-formed sequence. */
void utf8_repair(char *s, size_t len);

#endif
