/* SPDX-License-Identifier: MIT */
/*
 * The CPUID that guests see: what KVM supports on this host, the user's
 * --cpu changes, and each vCPU's place in the topology. Main thread.
 */
#ifndef MOTE_CPUID_X86_H
#define MOTE_CPUID_X86_H

#include <linux/kvm.h>
#include <stdint.h>

#include "config/config.h"
#include "error.h"
#include "kvm/kvm.h"

/* Owned by the caller: free(). A copy per VM, the vCPUs' own bits not set. */
struct kvm_cpuid2;

/* -EINVAL (InvalidConfig) names an unknown or unavailable feature. */
int cpuid_create(struct kvm_cpuid2 **out, struct kvm_vm *vm,
		 const struct config_cpus *cpus, struct error *e);

/* Sets the leaves that differ between vCPUs: APIC ID, topology. */
void cpuid_set_vcpu(struct kvm_cpuid2 *c, const struct config_cpus *cpus,
		    unsigned int index);

/* The APIC ID of a vCPU: socket, core and thread in bit fields. */
uint32_t cpuid_apic_id(const struct config_cpus *cpus, unsigned int index);

/* Physical address bits (leaf 0x80000008). */
unsigned int cpuid_phys_bits(const struct kvm_cpuid2 *c);

/* Saving: all entries. */
struct state_writer;
struct state_reader;
void cpuid_save(const struct kvm_cpuid2 *c, struct state_writer *w);
/* -EPROTO, -ENOMEM, or what the reader says. */
int cpuid_load(struct kvm_cpuid2 **out, struct state_reader *r);
/*
 * Has this host, whose CPUID cpuid_create() made, what a saved guest was told of?
 * Lists what is missing; class InvalidConfig.
 */
int cpuid_check(const struct kvm_cpuid2 *saved, const struct kvm_cpuid2 *host,
		struct error *e);

enum cpuid_register { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

struct cpuid_feature {
	const char *name;	/* as in /proc/cpuinfo */
	uint32_t leaf, subleaf;
	enum cpuid_register reg;
	unsigned int bit;
};

/* NULL when there is no such name. cpu_features_x86.c */
const struct cpuid_feature *cpuid_feature_find(const char *name);
/* NULL: a bit without a name. */
const char *cpuid_feature_name(uint32_t leaf, uint32_t subleaf,
			       enum cpuid_register reg, unsigned int bit);

#endif
