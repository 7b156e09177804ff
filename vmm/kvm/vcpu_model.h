/* SPDX-License-Identifier: MIT */
/*
 * What the vCPUs of a VM are made from, per architecture: identification,
 * registers at power-on and at the boot entry. Main thread, on a vCPU that is
 * not in KVM_RUN.
 */
#ifndef MOTE_VCPU_MODEL_H
#define MOTE_VCPU_MODEL_H

#include "boot/boot.h"
#include "config/config.h"
#include "error.h"
#include "kvm/kvm.h"

struct vcpu_model;

/* cpus must outlive the model. Names features that cannot be had. */
int vcpu_model_create(struct vcpu_model **out, struct kvm_vm *vm,
		      const struct config_cpus *cpus, struct error *e);
void vcpu_model_destroy(struct vcpu_model *m);

/* Physical address bits of the guest. */
unsigned int vcpu_model_phys_bits(const struct vcpu_model *m);
/* KVM's id of vCPU index; on x86 its APIC ID. */
unsigned long vcpu_model_id(const struct vcpu_model *m, unsigned int index);

/* A new vCPU: identification and what firmware would have set up. */
int vcpu_model_init(struct vcpu_model *m, int vcpu_fd, unsigned int index,
		    struct error *e);
/* The boot vCPU is put at the kernel's entry; the others wait to be started. */
int vcpu_model_boot(struct vcpu_model *m, int vcpu_fd,
		    const struct boot_entry *entry, struct error *e);
/* All state back to power-on, then as vcpu_model_init(): vcpu_fds[i] is vCPU
 * i, negative when there is none. */
int vcpu_model_reset(struct vcpu_model *m, const int *vcpu_fds,
		     unsigned int count, struct error *e);

/*
 * Saving. The model's own state is the CPU that guests see and its clock. It is
 * loaded before anything is made from the model; what this host's CPU has not
 * is named, class InvalidConfig. Then each vCPU's, after vcpu_model_init().
 */
struct state_writer;
struct state_reader;
int vcpu_model_save(struct vcpu_model *m, struct state_writer *w,
		    struct error *e);
int vcpu_model_load(struct vcpu_model *m, struct state_reader *r,
		    struct error *e);
int vcpu_state_save(struct vcpu_model *m, int vcpu_fd, struct state_writer *w,
		    struct error *e);
int vcpu_state_load(struct vcpu_model *m, int vcpu_fd, unsigned int index,
		    struct state_reader *r, struct error *e);
/* A vCPU's registers as notes of a core file (save/elf_core.h). */
int vcpu_model_notes(int vcpu_fd, unsigned int index, struct state_writer *w);
/*
 * Before the first run of what was loaded: clocks go on from where they were
 * when it was saved. No-op without, and the second time.
 */
int vcpu_model_start_clocks(struct vcpu_model *m, const int *vcpu_fds,
			    unsigned int count, struct error *e);

#endif
