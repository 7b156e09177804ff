/* SPDX-License-Identifier: MIT */
/*
 * The log: one line a message, to stderr or --log's file. main.c, vm.c and the
 * monitor log; lower layers return errors. Any thread; never on a data path,
 * and never once per guest action (rate-limit what a guest can cause).
 */
#ifndef MOTE_LOG_H
#define MOTE_LOG_H

#include "config/config.h"

/* path NULL: stderr. -errno when the file cannot be opened. */
int log_open(enum log_level level, const char *path);
void log_write(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

#endif
