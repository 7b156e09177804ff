/* SPDX-License-Identifier: MIT */
/* Words of `mote ctl`'s command line → a command's arguments. Main thread. */
#ifndef MOTE_CTL_ARGS_H
#define MOTE_CTL_ARGS_H

#include <json-c/json.h>

#include "error.h"

/*
 * Puts "key=value" into args; "a.b=value" into the object a inside. A value is
 * a number, true or false, JSON if it starts with {, [ or ", and otherwise a
 * string. A key given twice is an error.
 */
int ctl_args_add(struct json_object *args, const char *word, struct error *e);

#endif
