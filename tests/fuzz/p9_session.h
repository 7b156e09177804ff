/* SPDX-License-Identifier: MIT */
/* A session of 9P messages out of arbitrary bytes; aborts when it finds a fault. */
#ifndef MOTE_P9_SESSION_H
#define MOTE_P9_SESSION_H

#include <stddef.h>
#include <stdint.h>

/* A share of its own in TMPDIR; writes no file beyond 1 MiB from here on. */
void p9_session_init(void);
void p9_session_deinit(void);
void p9_session_run(const uint8_t *data, size_t size);

#endif
