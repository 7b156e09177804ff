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
#include "virtio/mem.h"
#include "vm.h"

/* How much there may be more, by whatever means (--memory max=). */
uint64_t vm_memory_room(const struct vm *vm);

/*
 * Asks the guest to have so much memory in all. More than its RAM: by virtio-mem
 * if its driver is there, by DIMMs, which are multiples of 128 MiB, if not; less
 * by the balloon. What others have plugged stays. InvalidConfig: more than max=,
 * or nothing; NotSupported: it has no balloon. vm_memory_set.c
 */
int vm_memory_set(struct vm *vm, uint64_t bytes, struct error *e);
/* What it has, and what it was asked to have. */
void vm_memory_sizes(struct vm *vm, uint64_t *requested, uint64_t *plugged);

/* What is left to the guest by its balloon, in bytes. -ENODEV: it has none. */
int vm_balloon_get(struct vm *vm, uint64_t *bytes, struct error *e);
/*
 * Asks the guest to keep that much, or all when it is more than there is.
 * -EINVAL: 0; -ENODEV.
 */
int vm_balloon_set(struct vm *vm, uint64_t bytes, struct error *e);
/* BALLOON_STAT_UNKNOWN also without a balloon. */
uint64_t vm_balloon_stat(const struct vm *vm, enum balloon_stat which);
/* When it said that, seconds since 1970; 0: never. */
int64_t vm_balloon_stats_time(const struct vm *vm);
/* How often it is asked, in seconds; 0: never. There is a balloon. */
void vm_balloon_set_stats_interval(struct vm *vm, uint32_t seconds);
uint32_t vm_balloon_stats_interval(const struct vm *vm);

#endif
