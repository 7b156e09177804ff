/* SPDX-License-Identifier: MIT */
/*
 * The guest's RAM: host memory of the kind the user chose, mapped into the VM
 * and published in guest_mem. Main thread, vCPUs stopped.
 */
#ifndef MOTE_RAM_H
#define MOTE_RAM_H

#include <stdbool.h>

#include "config/config.h"
#include "error.h"
#include "guest_mem.h"
#include "kvm/kvm.h"

struct ram;

#define RAM_MAX_RANGES 2
/* With what may be added to it, in a memory slot each (hot_memory.h, dimms.h). */
#define HOT_MEMORY_MAX_SLOTS 128
#define HOT_MEMORY_MAX_ROOMS 4
#define RAM_MAX_PARTS (RAM_MAX_RANGES + CONFIG_MAX_DIMMS + \
		       HOT_MEMORY_MAX_ROOMS * HOT_MEMORY_MAX_SLOTS)

/* A part of guest-physical space that RAM fills; together they hold it all. */
struct ram_range {
	gpa_t base;
	uint64_t len_bytes;
};

/* Needs no KVM yet: the kernel can be loaded while that makes the VM. With mem
 * NULL it is the caller who makes it the guest's, also in place of attach. */
int ram_create(struct ram **out, const struct config_memory *c,
	       const struct ram_range *ranges, unsigned int count,
	       struct guest_mem *mem, struct error *e);
/* All of it is there, from now on. cancelled may be NULL; if not, it is asked now and
 * then whether it may end with -ECANCELED. */
int ram_prealloc(struct ram *r, bool (*cancelled)(void), struct error *e);
/* Gives it to the VM, once: memory slots 0 … count - 1 are used. */
int ram_attach(struct ram *r, struct kvm_vm *vm, struct error *e);
void ram_destroy(struct ram *r);

/* Where range i is. */
uint8_t *ram_host(const struct ram *r, unsigned int i);

/* True when pages of files may be mapped over it: nobody else sees it. */
bool ram_is_private(const struct ram *r);

/*
 * The guest needs nothing of what is in these bytes of it: whole pages of it go
 * back to the host. False: not RAM. Any thread, while it is there.
 */
bool ram_discard(const struct ram *r, void *host, uint64_t len_bytes);

/* Where RAM is, its ranges in order; returns how many, RAM_MAX_RANGES at most. */
struct ram_part {
	void *host;
	uint64_t len_bytes;
	bool anonymous;		/* a page that was never touched is zeros */
	gpa_t base;
	uint32_t slot;		/* of KVM */
	bool private;		/* and no huge pages: see soft_dirty.h */
};
unsigned int ram_parts(const struct ram *r, struct ram_part *parts);

/* The user's file that is the RAM, seen by whoever maps it; NULL when there is
 * none such. */
const char *ram_shared_file(const struct ram *r);

/* The first bytes of range 0 are, copy-on-write, those of a saved VM's file from an
 * offset on; until a reset. */
int ram_map_saved(struct ram *r, int fd, uint64_t offset, uint64_t len_bytes,
		  struct error *e);

/* What it holds comes from a saved VM, as it is touched; until a reset. */
void ram_set_filled(struct ram *r);

/* System reset: anonymous RAM is given back and reads as zeros; RAM in the
 * user's file stays as it is. */
void ram_reset(struct ram *r);

#endif
