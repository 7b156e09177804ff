/* SPDX-License-Identifier: MIT */
/* The value of --serial and --console. Main thread. */
#ifndef MOTE_OPTION_CHAR_H
#define MOTE_OPTION_CHAR_H

#include <json-c/json.h>

#include "config/config.h"
#include "error.h"

/* stdio, null, pty, file=PATH, unix=PATH; the latter two as objects too. */
int option_char_set(struct config_char *out, struct json_object *v,
		    const char *label, struct error *e);
/* NULL: no such device. */
struct json_object *option_char_json(const struct config_char *c);

#endif
