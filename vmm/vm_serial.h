/* SPDX-License-Identifier: MIT */
/* Ports of virtio-serial devices, which come and go. Main thread. */
#ifndef MOTE_VM_SERIAL_H
#define MOTE_VM_SERIAL_H

#include <stdbool.h>

#include "error.h"

struct vm;

#define VM_PORT_TEXT_MAX 255	/* bytes of an id, or a name */

struct vm_port_spec {
	const char *id;		/* NULL: none, it goes with its device */
	const char *bus;	/* "ID.0" of its device; NULL: the first one */
	int nr;			/* -1: the next free; 0 is a console's */
	const char *name;	/* what the guest knows it by; NULL: none */
	const char *chardev;	/* see vm_chardev.h */
	bool console;
};

/* -ENOENT: no such bus or chardev, or it is in use; -EEXIST: the number or name
 * is taken; -ERANGE, -EINVAL: no number for it; -ENOSPC. Nothing has changed
 * then. */
int vm_port_add(struct vm *vm, const struct vm_port_spec *spec,
		struct error *e);
bool vm_port_exists(const struct vm *vm, const char *id);
/* A program of the guest has it open, as of the last VM_EVENT_PORT_CHANGE. It
 * exists. */
bool vm_port_is_open(const struct vm *vm, const char *id);
/* At once: the guest is told, not asked. VM_EVENT_DEVICE_DELETED follows. */
void vm_port_remove(struct vm *vm, const char *id);

#endif
