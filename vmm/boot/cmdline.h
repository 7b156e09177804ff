/* SPDX-License-Identifier: MIT */
/* A kernel command line built from parts, separated by single spaces. One thread
 * at a time. */
#ifndef MOTE_CMDLINE_H
#define MOTE_CMDLINE_H

#include <stddef.h>

#include "error.h"

struct cmdline {
	char *text;	/* NUL-terminated; owned */
	size_t len;
};

#define CMDLINE_INIT { 0 }

/* -ENOMEM; -EINVAL: a newline inside. An empty part adds nothing. */
int cmdline_append(struct cmdline *c, const char *part);
/* -E2BIG, naming both lengths, when longer than limit (without the NUL). */
int cmdline_check(const struct cmdline *c, size_t limit, struct error *e);
void cmdline_deinit(struct cmdline *c);

#endif
