/* SPDX-License-Identifier: MIT */
/*
 * The KVM API (Documentation/virt/kvm/api.rst), one function per ioctl. This is
 * the seam where unit tests put a mock: nothing outside vmm/kvm/ and vcpu.c
 * issues an ioctl on a KVM descriptor. All return 0 or -errno.
 */
#ifndef MOTE_KVM_H
#define MOTE_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct kvm_vm {
	int sys_fd;		/* /dev/kvm */
	int fd;			/* the VM */
	size_t run_bytes;	/* KVM_GET_VCPU_MMAP_SIZE */
	unsigned int max_vcpus;
	unsigned int max_memslots;
};

/* Opens /dev/kvm, checks the API version and the needed capabilities, makes
 * the VM. The error names what is missing and how to get it. */
int kvm_vm_create(struct kvm_vm *vm, struct error *e);
void kvm_vm_destroy(struct kvm_vm *vm);

/* KVM_CHECK_EXTENSION: 0 when unsupported. */
int kvm_check(const struct kvm_vm *vm, int capability);

/* KVM_SET_USER_MEMORY_REGION; len 0 deletes the slot. */
int kvm_set_memory(struct kvm_vm *vm, uint32_t slot, uint32_t flags,
		   uint64_t gpa, uint64_t len_bytes, void *host);

/* KVM_GET_DIRTY_LOG: a bit for each page of a slot that has
 * KVM_MEM_LOG_DIRTY_PAGES, in whole words; KVM starts again. */
int kvm_get_dirty_log(struct kvm_vm *vm, uint32_t slot, uint64_t *bits);

/* KVM_IOEVENTFD on MMIO; len 0 matches any access width at the address,
 * otherwise value is matched too. */
int kvm_ioeventfd(struct kvm_vm *vm, uint64_t gpa, uint32_t len, bool match,
		  uint64_t value, int fd, bool assign);
/* KVM_IRQFD; resamplefd -1 for an edge-triggered one. */
int kvm_irqfd(struct kvm_vm *vm, uint32_t gsi, int fd, int resamplefd,
	      bool assign);
int kvm_set_gsi_routing(struct kvm_vm *vm, struct kvm_irq_routing *r);

/* Returns the descriptor of the new vCPU or -errno. */
int kvm_create_vcpu(struct kvm_vm *vm, unsigned long id);

/* What an architecture needs before the first vCPU: in-kernel interrupt
 * controllers and the like. kvm/machine_<arch>.c */
int kvm_arch_init(struct kvm_vm *vm, struct error *e);
/*
 * Interrupt controllers and timers as they were after kvm_arch_init(): a
 * system reset, with every vCPU stopped.
 */
int kvm_arch_reset(struct kvm_vm *vm, struct error *e);

/* Saving and loading the same; vCPUs stopped, loading after all were made. */
struct state_writer;
struct state_reader;
int kvm_arch_save(struct kvm_vm *vm, struct state_writer *w, struct error *e);
int kvm_arch_load(struct kvm_vm *vm, struct state_reader *r, struct error *e);
/* kvmclock, in nanoseconds. */
int kvm_arch_get_clock(struct kvm_vm *vm, uint64_t *ns);
int kvm_arch_set_clock(struct kvm_vm *vm, uint64_t ns);

/*
 * Where the processor has no virtualization extensions, KVM may still work
 * (nested, paravirtual) or interpret guest code: a scratch VM tells. Class
 * NotSupported, one line, when a Linux guest cannot run.
 */
int kvm_arch_probe(struct error *e);
/* The routes that are always there, for irq.c: fills at most max entries,
 * returns how many. MSI routes use GSIs from *first_msi on. */
unsigned int kvm_arch_routes(struct kvm_irq_routing_entry *entries,
			     unsigned int max, uint32_t *first_msi);

#endif
