/* SPDX-License-Identifier: MIT */
/*
 * The room for memory that is added while the guest runs (--memory max=): a part
 * of the guest's address space above its RAM, backed by memory of the same kind.
 * What of it the guest can reach grows as clients ask for more, never as the
 * guest does: it cannot take what nobody has offered.
 *
 * Main thread, but for hot_memory_discard().
 */
#ifndef MOTE_HOT_MEMORY_H
#define MOTE_HOT_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "error.h"
#include "guest_mem.h"
#include "kvm/kvm.h"
#include "ram.h"

struct hot_memory;

/* Linux adds memory in blocks of this size, or multiples. */
#define HOT_MEMORY_ALIGN (128ull << 20)

/* How long the room for this configuration is; 0: there is none. */
uint64_t hot_memory_room_bytes(const struct config_memory *c);

/* Of what kind memory to come is, by that of the RAM, whose size it keeps. */
void hot_memory_backing(struct config_memory *c);

/* All outlive it. Nothing of it can be reached yet. */
int hot_memory_create(struct hot_memory **out, const struct config_memory *c,
		      gpa_t base, struct guest_mem *mem, struct kvm_vm *kvm,
		      struct error *e);
/* Room n, over memory of the given kind and size. */
int hot_memory_create_at(struct hot_memory **out,
			 const struct config_memory *backing, gpa_t base,
			 unsigned int n, struct guest_mem *mem,
			 struct kvm_vm *kvm, struct error *e);
/* Nobody uses it any more. */
void hot_memory_destroy(struct hot_memory *h);

gpa_t hot_memory_base(const struct hot_memory *h);
uint64_t hot_memory_bytes(const struct hot_memory *h);
/* What the guest can reach, from the base on. */
uint64_t hot_memory_open_bytes(const struct hot_memory *h);
/* Makes at least so much of it reachable. -EINVAL: more than there is. */
int hot_memory_open(struct hot_memory *h, uint64_t bytes, struct error *e);

/* Nothing of it can be reached any more; it may be opened again. */
void hot_memory_close(struct hot_memory *h);

/* The pages between two offsets, in what is open, are empty again. Any thread. */
void hot_memory_clear(const struct hot_memory *h, uint64_t offset,
		      uint64_t len_bytes);
/* A saved VM's: the first bytes of it are, copy-on-write, those of a file from an
 * offset on. */
int hot_memory_map(struct hot_memory *h, int fd, uint64_t offset,
		   uint64_t len_bytes, struct error *e);
/* A save's content is in it, or comes as it is touched, until a reset. */
void hot_memory_note_filled(struct hot_memory *h);
/* A system reset: nothing of it is plugged any more. */
void hot_memory_reset(struct hot_memory *h);
/* As ram_parts(), one for each slot: HOT_MEMORY_MAX_SLOTS at most. */
unsigned int hot_memory_parts(const struct hot_memory *h,
			      struct ram_part *parts);
/* As ram_discard(). */
bool hot_memory_discard(const struct hot_memory *h, void *host,
			uint64_t len_bytes);

#endif
