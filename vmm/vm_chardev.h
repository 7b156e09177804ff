/* SPDX-License-Identifier: MIT */
/* Character back ends that come and go, by name. Main thread. */
#ifndef MOTE_VM_CHARDEV_H
#define MOTE_VM_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "error.h"

struct vm;

#define VM_CHARDEV_ID_MAX 255	/* bytes */

/* What chardev_create() says; -EEXIST: the id is taken. c is copied. */
int vm_chardev_add(struct vm *vm, const char *id, const struct config_char *c,
		   struct error *e);
/* -ENOENT; -EBUSY: a device has it. */
int vm_chardev_remove(struct vm *vm, const char *id, struct error *e);

struct vm_chardev_info {
	const char *id;
	const char *label;	/* chardev_label() */
	bool open;		/* chardev_is_open() */
	bool used;		/* a device has it */
	/* How it is made; NULL: one of --serial or --console. */
	const struct config_chardev *config;
};

/* All of them, those of the command line first; false: there is none. The
 * strings live until one is removed. */
bool vm_chardev_info(const struct vm *vm, size_t index,
		     struct vm_chardev_info *out);

#endif
