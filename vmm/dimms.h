/* SPDX-License-Identifier: MIT */
/*
 * DIMMs: memory that is added to the guest a piece at a time, each at an address
 * and in a memory slot of its own, in the room that --memory max= and slots=
 * give. Knows nothing of how the guest is told.
 *
 * Main thread, but for dimms_discard().
 */
#ifndef MOTE_DIMMS_H
#define MOTE_DIMMS_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "error.h"
#include "guest_mem.h"
#include "kvm/kvm.h"
#include "ram.h"

#define DIMMS_MAX CONFIG_MAX_DIMMS
/* Linux adds memory in blocks of this size, or multiples. */
#define DIMM_ALIGN (128ull << 20)

struct dimms;

struct dimm_spec {
	const char *id;
	const char *memdev;		/* what its memory is known by, or NULL */
	struct config_memory backing;	/* its size, and of what kind */
	gpa_t base;			/* 0: the lowest free */
	bool has_slot;			/* else the lowest free */
	uint64_t slot;
	bool automatic;			/* see struct dimm */
	bool (*cancelled)(void);	/* ram_prealloc() */
};

/* Of the flags dimms.c knows nothing: they are vm_dimms.c's. */
struct dimm {
	unsigned int slot;
	char *id, *memdev;
	gpa_t base;
	uint64_t len_bytes;
	struct ram *ram;
	bool automatic;		/* memory-set made it, and takes it away */
	bool removing;		/* the guest was asked to let it go, */
	bool refused;		/* and did not; it may at a reset */
	bool taken;		/* the guest has said that it uses it */
	bool hotplugged;	/* the guest was running already */
};

/* How many slots there are for this configuration, and how long the room is. */
unsigned int dimms_slots(const struct config_memory *c);
uint64_t dimms_room_bytes(const struct config_memory *c);

/* All outlive it. base and len_bytes are the room. */
int dimms_create(struct dimms **out, unsigned int slots, gpa_t base,
		 uint64_t len_bytes, struct guest_mem *mem,
		 struct kvm_vm *kvm, struct error *e);
/* Nobody uses their memory any more. NULL is fine. */
void dimms_destroy(struct dimms *d);

/*
 * Finds a place and makes the memory, which may take long. InvalidConfig: a size
 * or an address that Linux could not use; NoAvailableLocation: no slot or no room
 * is left; AlreadyAttached: something is at that address.
 */
int dimms_prepare(const struct dimms *d, const struct dimm_spec *spec,
		  struct dimm **out, struct error *e);
/* Shows it to the guest's vCPUs and devices. It is freed when that fails. */
int dimms_plug(struct dimms *d, struct dimm *dimm, struct error *e);
/* Nobody holds an address inside: every device that could is quiesced. */
void dimms_remove(struct dimms *d, struct dimm *dimm);

/* Addresses for something else, until they are given back: those at *base, or,
 * where that is 0, the lowest free. As dimms_prepare(). */
int dimms_reserve(struct dimms *d, uint64_t len_bytes, gpa_t *base,
		  struct error *e);
void dimms_unreserve(struct dimms *d, gpa_t base);

/* NULL: the slot is empty, or there is no such slot, or d is NULL. */
struct dimm *dimms_at(const struct dimms *d, unsigned int slot);
struct dimm *dimms_find(const struct dimms *d, const char *id);
/* The sum of all; d may be NULL. */
uint64_t dimms_bytes(const struct dimms *d);
/* System reset: they are empty. d may be NULL. */
void dimms_reset(struct dimms *d);

/* As ram_parts(), one for each; DIMMS_MAX at most. d may be NULL. */
unsigned int dimms_parts(const struct dimms *d, struct ram_part *parts);
/* Where the room ends. */
gpa_t dimms_end(const struct dimms *d);

/* As ram_discard(). Any thread that a quiesce waits for; d may be NULL. */
bool dimms_discard(const struct dimms *d, void *host, uint64_t len_bytes);

#endif
