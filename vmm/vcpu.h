/* SPDX-License-Identifier: MIT */
/*
 * The vCPU threads of a VM. All functions are for the main thread, except
 * vcpus_request_stop(): any thread.
 */
#ifndef MOTE_VCPU_H
#define MOTE_VCPU_H

#include <stdbool.h>
#include <sys/types.h>

#include "boot/boot.h"
#include "bus.h"
#include "error.h"
#include "kvm/kvm.h"
#include "kvm/vcpu_model.h"

struct vcpus;

enum vcpu_death { VCPU_TRIPLE_FAULT, VCPU_KVM_ERROR };

/* Called on the vCPU's thread, which then waits to be stopped. */
struct vcpu_owner {
	void (*died)(void *opaque, enum vcpu_death why, const char *reason);
	/* KVM could not reach memory of the guest: true when it was replaced.
	 * May be NULL. */
	bool (*repair_memory)(void);
	void *opaque;
};

/* The threads `vcpu 0` … of the first count exist on return, and wait; max is how
 * many there may be. */
int vcpus_create(struct vcpus **out, struct kvm_vm *vm,
		 struct vcpu_model *model, unsigned int count,
		 unsigned int max, struct bus *pio, struct bus *mmio,
		 const struct vcpu_owner *owner, struct error *e);
/* Stops and joins. */
void vcpus_destroy(struct vcpus *v);

/* Sets the boot vCPU to the entry; stopped. */
int vcpus_boot(struct vcpus *v, const struct boot_entry *entry,
	       struct error *e);
/* Power-on state for all; stopped. */
int vcpus_reset(struct vcpus *v, struct error *e);

void vcpus_run(struct vcpus *v);
/* On return every thread is out of KVM_RUN and its last exit is completed. */
void vcpus_stop(struct vcpus *v);
/* Asks all to stop, without waiting; vcpus_stop() completes it. */
void vcpus_request_stop(struct vcpus *v);
/* Stopped. Tells the guests' clocks that time was taken from them. */
void vcpus_note_pause(struct vcpus *v);
/* Stopped. A non-maskable interrupt to every vCPU. */
int vcpus_inject_nmi(struct vcpus *v, struct error *e);

/* Stopped: saving, and loading into new ones (kvm/vcpu_model.h). */
int vcpus_save(struct vcpus *v, unsigned int index, struct state_writer *w,
	       struct error *e);
int vcpus_load(struct vcpus *v, unsigned int index, struct state_reader *r,
	       struct error *e);
/* Stopped: as vcpu_model_notes(). -errno */
int vcpus_notes(struct vcpus *v, unsigned int index, struct state_writer *w);
/* Before the first run: they are what the model is now. */
int vcpus_identify(struct vcpus *v, struct error *e);
/* Before the first run of what was loaded. */
int vcpus_start_clocks(struct vcpus *v, struct error *e);

/* One more, which runs when the others do. It is not there; index < max. */
int vcpus_add(struct vcpus *v, unsigned int index, struct error *e);
/* It is out of KVM_RUN on return, and stays so. The machine lock is not held. */
void vcpus_remove(struct vcpus *v, unsigned int index);
bool vcpus_present(const struct vcpus *v, unsigned int index);

/* How many are there. */
unsigned int vcpus_count(const struct vcpus *v);
pid_t vcpus_thread_id(struct vcpus *v, unsigned int index);

#endif
