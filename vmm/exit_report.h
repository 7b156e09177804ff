/* SPDX-License-Identifier: MIT */
/*
 * The exit report as JSON, the same for `wait` and --exit-report: {kind, code,
 * reason, started, stopped}, times in RFC 3339, UTC, null when there is none.
 * A start that failed has one too, host-error, unless the configuration is at
 * fault (exit status 2), which changes nothing.
 * Main thread.
 */
#ifndef MOTE_EXIT_REPORT_H
#define MOTE_EXIT_REPORT_H

#include <json-c/json.h>

#include "error.h"
#include "vm.h"

/* Owned by the caller: json_object_put(). NULL: out of memory. */
struct json_object *exit_report_json(const struct vm_exit_report *r);

/* Before the VM runs: could it be written? Class InvalidConfig. */
int exit_report_check(const char *path, struct error *e);

/*
 * Puts the report in place at once: whoever sees the file sees all of it. What
 * is no regular file, /dev/stdout or a FIFO, is written to.
 */
int exit_report_write(const struct vm_exit_report *r, const char *path,
		      struct error *e);

#endif
