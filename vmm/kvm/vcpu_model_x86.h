/* SPDX-License-Identifier: MIT */
/* What vcpu_x86.c, vcpu_state_x86.c and msrs_x86.c share. Main thread. */
#ifndef MOTE_VCPU_MODEL_X86_H
#define MOTE_VCPU_MODEL_X86_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "kvm/vcpu_model.h"

/* What a vCPU's timers count, as it was saved. */
struct vcpu_time {
	uint64_t tsc;
	uint64_t deadline;	/* of the TSC-deadline timer; 0: not armed */
};

struct vcpu_model {
	struct kvm_vm *vm;
	const struct config_cpus *cpus;
	struct kvm_cpuid2 *cpuid;
	uint64_t clock_ns;		/* kvmclock, as it was saved */
	struct vcpu_time *times;	/* NULL: nothing was loaded */
};

/* KVM_SET_MSRS, KVM_GET_MSRS of one: 0 or -EIO */
int vcpu_set_msr(int vcpu_fd, uint32_t index, uint64_t value);
int vcpu_get_msr(int vcpu_fd, uint32_t index, uint64_t *value);
/* In this order; how many there are before the first that KVM does not take. */
uint32_t vcpu_set_msrs(int vcpu_fd, struct kvm_msr_entry *msrs, uint32_t count);
/* All that KVM_GET_MSR_INDEX_LIST names and that can be read; the caller's. */
int vcpu_read_msrs(struct kvm_vm *vm, int vcpu_fd, struct kvm_msrs **out);

#endif
