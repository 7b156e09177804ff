/* SPDX-License-Identifier: MIT */
/*
 * Which pages of RAM may have changed since earlier saves: what KVM and vhost log,
 * and what guest_mem's log has of mote's own writes. Pages are guest-physical.
 *
 * Main thread, vCPUs stopped, devices quiesced; dirty_note() on any.
 */
#ifndef MOTE_DIRTY_H
#define MOTE_DIRTY_H

#include <stddef.h>
#include <stdint.h>

#include "guest_mem.h"
#include "kvm/kvm.h"
#include "ram.h"

struct dirty;

#define DIRTY_ID_BYTES	16
/* Earlier saves that a diff can be made since; the oldest goes first. */
#define DIRTY_BASES	16

/*
 * Nothing is logged yet. All outlive it. ram_end: where the last RAM ends that
 * there may be.
 */
int dirty_create(struct dirty **out, struct guest_mem *mem, struct kvm_vm *kvm,
		 gpa_t ram_end);
void dirty_destroy(struct dirty *d);

/*
 * A save of RAM as it is now, or, restored, as the VM began: without logging, what
 * has changed since then is what is no longer a page of a file that is mapped
 * copy-on-write, nor untouched. -ENOMEM
 */
int dirty_add_base(struct dirty *d, const uint8_t *id);
/* The newest, whose save came to nothing. */
void dirty_drop_base(struct dirty *d);

/*
 * Asks all logs, and starts them where that is not done yet: on each of the parts,
 * which are all of RAM; what has come since is new, what has gone is forgotten.
 */
int dirty_collect(struct dirty *d, const struct ram_part *parts, size_t count);
/*
 * What was collected, a bit for each page from address 0 on: a copy, malloc()ed.
 * -ENOENT: no such base; -ENOMEM
 */
int dirty_since(const struct dirty *d, const uint8_t *id, uint64_t **bits);

/* A memory slot is gone, and its log with it. */
void dirty_forget(struct dirty *d, uint32_t slot);

/* Changed behind all logs: given back to the host, by the guest's wish. */
void dirty_note(struct dirty *d, gpa_t gpa, uint64_t len_bytes);

#endif
