/* SPDX-License-Identifier: MIT */
/* `mote merge`: a chain of saves into one. Main thread. */
#ifndef MOTE_MERGE_H
#define MOTE_MERGE_H

#include <stddef.h>

#include "error.h"

/*
 * dirs: one save, whose bases are found as it names them, or a chain of them, from
 * the lowest to the last. All of it is checked, memory too. out is replaced at
 * once, or not at all, and needs none of them.
 */
int merge_saves(char *const *dirs, size_t count, const char *out,
		struct error *e);

#endif
