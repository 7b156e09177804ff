/* SPDX-License-Identifier: MIT */
/*
 * How much memory the guest has while it runs. Main thread.
 *
 * VM_EVENT_BALLOON_CHANGE says that the guest has changed the balloon's size, at
 * most once a second; vm_balloon_get() says what it is.
 */
#ifndef MOTE_VM_MEMORY_H
#define MOTE_VM_MEMORY_H

#include "virtio/balloon.h"
#include "vm.h"

/* What is left to the guest by its balloon, in bytes. -ENODEV: it has none. */
int vm_balloon_get(struct vm *vm, uint64_t *bytes, struct error *e);
/*
 * Asks the guest to keep that much, or all when it is more than there is.
 * -EINVAL: 0; -ENODEV.
 */
int vm_balloon_set(struct vm *vm, uint64_t bytes, struct error *e);
/* BALLOON_STAT_UNKNOWN also without a balloon. */
uint64_t vm_balloon_stat(const struct vm *vm, enum balloon_stat which);

#endif
