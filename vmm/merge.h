/* SPDX-License-Identifier: MIT */
/* `mote merge`: a chain of saves into one. Main thread. */
#ifndef MOTE_MERGE_H
#define MOTE_MERGE_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

/*
 * dirs: one save, whose bases are found as it names them, or a chain of them, from
 * the lowest to the last. All of it is checked, memory too. out is replaced at
 * once, or not at all, and needs none of them. cancelled is asked again and
 * again; true: -ECANCELED, and nothing is left. Or NULL.
 */
int merge_saves(char *const *dirs, size_t count, const char *out,
		bool (*cancelled)(void), struct error *e);

#endif
