/* SPDX-License-Identifier: MIT */
/*
 * A list of sub-options, `FILE,id=x,readonly=on`: split at commas, `,,` being a
 * literal comma. Main thread.
 */
#ifndef MOTE_SUBOPTIONS_H
#define MOTE_SUBOPTIONS_H

#include <stddef.h>

#include "error.h"

struct suboption {
	char *key;		/* NULL: a bare word */
	char *value;		/* never NULL; "" after `key=` */
};

struct suboptions {
	struct suboption *items;
	size_t count;
};

/*
 * `ro` is readonly=on. Bare words are items without a key; where one may stand is
 * the caller's to know. -ENOMEM; -EINVAL: an empty item.
 */
int suboptions_parse(struct suboptions *out, const char *text,
		     struct error *e);
void suboptions_deinit(struct suboptions *s);

#endif
