/* SPDX-License-Identifier: MIT */
/*
 * Persistent memory: files in the guest's physical address space, each in a
 * memory slot of its own. Knows neither virtio nor the guest's driver.
 *
 * A space is what regions are placed in: slot numbers, as runtimes count them,
 * and addresses. Main thread, except pmem_region_flush() and what is constant in a
 * region.
 */
#ifndef MOTE_PMEM_H
#define MOTE_PMEM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "config/config.h"
#include "error.h"
#include "guest_mem.h"
#include "kvm/kvm.h"
#include "loop.h"

struct pmem_space;
struct pmem_region;

struct pmem_space_params {
	/* All outlive the space. */
	struct kvm_vm *kvm;
	struct guest_mem *mem;
	struct bus *mmio;
	struct loop *loop;		/* main; to watch the files */
	pthread_mutex_t *machine_lock;
	/* Guest-physical addresses for regions. */
	gpa_t base;
	uint64_t len_bytes;
	unsigned int slots;		/* at most CONFIG_MAX_PMEM */
	uint64_t max_bytes;		/* of one region; 0: any */
	/*
	 * For the log; may be NULL. The guest has written to a read-only region
	 * (count times since the last call; not often called; a vCPU's thread);
	 * a file has lost something (once; any thread).
	 */
	void (*on_dropped_write)(const char *path, uint64_t count);
	void (*on_lost)(const char *path);
};

int pmem_space_create(struct pmem_space **out,
		      const struct pmem_space_params *p, struct error *e);
/* No region is left. */
void pmem_space_destroy(struct pmem_space *s);

/*
 * Opens, locks and maps c->path and shows it to the guest: in the slot and at
 * the address that c says, or the lowest free ones. A fixed VHD's footer is not
 * shown. Class NoAvailableLocation: no slot is free; AlreadyAttached: that slot
 * is not; InvalidConfig: empty, larger than max_bytes, no room in the guest's
 * address space, or not at that address. -EBUSY: in use.
 */
int pmem_region_create(struct pmem_region **out, struct pmem_space *s,
		       const struct config_pmem *c, struct error *e);
/* Machine lock held once vCPUs run; nobody holds an address inside: every device
 * that could is quiesced. */
void pmem_region_destroy(struct pmem_region *r);

/* Constant. Size: what the guest sees, a multiple of 2 MiB. */
gpa_t pmem_region_base(const struct pmem_region *r);
uint64_t pmem_region_bytes(const struct pmem_region *r);
unsigned int pmem_region_slot(const struct pmem_region *r);

/*
 * What the guest wrote before is durable: 0; -errno: not all of it, such as
 * -EIO for ever once the file has become smaller. Any thread; blocks.
 */
int pmem_region_flush(struct pmem_region *r);

/*
 * KVM_RUN gave EFAULT: looks after the files of all regions of the process. True
 * when it may be called again: memory was replaced; or the guest writes to a
 * hole of a file and the file system is full, which this has waited for a moment
 * to change. Any thread.
 */
bool pmem_maps_repair(void);

#endif
