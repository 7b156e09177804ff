/* SPDX-License-Identifier: MIT */
/* The guest's CPUID. Main thread, before the vCPUs run. */
#include "kvm/cpuid_x86.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define MAX_ENTRIES 256
/* Leaves that mote adds when KVM reports none: 0xb with two levels. */
#define SPARE_ENTRIES 4

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *c, uint32_t leaf,
				     uint32_t subleaf)
{
	for (uint32_t i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &c->entries[i];

		if (entry->function == leaf &&
		    (entry->index == subleaf ||
		     !(entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)))
			return entry;
	}
	return NULL;
}

static uint32_t *reg_of(struct kvm_cpuid_entry2 *entry, enum cpuid_register r)
{
	switch (r) {
	case CPUID_EAX:
		return &entry->eax;
	case CPUID_EBX:
		return &entry->ebx;
	case CPUID_ECX:
		return &entry->ecx;
	default:
		return &entry->edx;
	}
}

static void set_bit(struct kvm_cpuid2 *c, uint32_t leaf, enum cpuid_register r,
		    unsigned int bit, bool on)
{
	struct kvm_cpuid_entry2 *entry = find(c, leaf, 0);

	if (!entry)
		return;
	if (on)
		*reg_of(entry, r) |= 1u << bit;
	else
		*reg_of(entry, r) &= ~(1u << bit);
}

/* One "+name" or "-name". */
static int apply_feature(struct kvm_cpuid2 *c, const char *word,
			 struct error *e)
{
	const struct cpuid_feature *f = cpuid_feature_find(word + 1);
	struct kvm_cpuid_entry2 *entry;
	bool on = word[0] == '+';
	uint32_t *reg, mask;

	if (!f || (word[0] != '+' && word[0] != '-'))
		return error_config(e, -EINVAL,
				    "--cpu: unknown CPU feature '%s'",
				    f ? word : word + 1);
	entry = find(c, f->leaf, f->subleaf);
	mask = 1u << f->bit;
	if (!entry) {
		if (!on)
			return 0;
		return error_config(e, -EINVAL, "--cpu: feature '%s' is not "
				    "available on this host", f->name);
	}
	reg = reg_of(entry, f->reg);
	if (on && !(*reg & mask))
		return error_config(e, -EINVAL, "--cpu: feature '%s' is not "
				    "available on this host", f->name);
	if (!on)
		*reg &= ~mask;
	return 0;
}

/* KVM_GET_SUPPORTED_CPUID leaves these to the VMM (api.rst 4.46). */
static void add_granted(struct kvm_cpuid2 *c, struct kvm_vm *vm)
{
	set_bit(c, 1, CPUID_ECX, 31, true);	/* hypervisor */
	if (kvm_check(vm, KVM_CAP_TSC_DEADLINE_TIMER))
		set_bit(c, 1, CPUID_ECX, 24, true);
	if (kvm_check(vm, KVM_CAP_X2APIC_API))
		set_bit(c, 1, CPUID_ECX, 21, true);
}

static int get_supported(struct kvm_cpuid2 **out, struct kvm_vm *vm,
			 struct error *e)
{
	struct kvm_cpuid2 *c;
	int ret;

	c = calloc(1, sizeof(*c) + (MAX_ENTRIES + SPARE_ENTRIES) *
					   sizeof(c->entries[0]));
	if (!c)
		return error_set(e, -ENOMEM, "out of memory");
	c->nent = MAX_ENTRIES;
	if (ioctl(vm->sys_fd, KVM_GET_SUPPORTED_CPUID, c)) {
		ret = error_errno(e, -errno, "KVM_GET_SUPPORTED_CPUID");
		free(c);
		return ret;
	}
	*out = c;
	return 0;
}

static struct kvm_cpuid_entry2 *add(struct kvm_cpuid2 *c, uint32_t leaf)
{
	struct kvm_cpuid_entry2 *entry = &c->entries[c->nent++];

	*entry = (struct kvm_cpuid_entry2){ .function = leaf };
	return entry;
}

static bool is_amd(struct kvm_cpuid2 *c)
{
	struct kvm_cpuid_entry2 *zero = find(c, 0, 0);

	return zero && (zero->ebx == 0x68747541 /* Auth */ ||
			zero->ebx == 0x6f677948 /* Hygo */);
}

/* Leaf 0xb, levels 0 and 1 (SDM: extended topology enumeration). */
static void ensure_topology_leaf(struct kvm_cpuid2 *c)
{
	struct kvm_cpuid_entry2 *zero = find(c, 0, 0);

	/* Level 0 may be there alone; drop what KVM gave and write our own. */
	for (uint32_t i = 0; i < c->nent;) {
		if (c->entries[i].function == 0xb ||
		    c->entries[i].function == 0x1f)
			c->entries[i] = c->entries[--c->nent];
		else
			i++;
	}
	if (!zero)
		return;
	zero = find(c, 0, 0);
	if (zero->eax < 0xb)
		zero->eax = 0xb;
	for (uint32_t level = 0; level < 3; level++) {
		struct kvm_cpuid_entry2 *entry = add(c, 0xb);

		entry->index = entry->ecx = level;
		entry->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	}
}

/*
 * AMD guests learn of threads from leaf 0x8000001e alone (APM 3, E.4.17), which
 * a host without TopologyExtensions does not have; nothing but these leaves is
 * behind the feature.
 */
static void ensure_amd_threads(struct kvm_cpuid2 *c,
			       const struct config_cpus *cpus)
{
	struct kvm_cpuid_entry2 *max = find(c, 0x80000000, 0);

	if (!is_amd(c) || cpus->threads < 2 || !max)
		return;
	if (max->eax < 0x8000001e)
		max->eax = 0x8000001e;
	if (!find(c, 0x8000001e, 0))
		add(c, 0x8000001e);
	set_bit(c, 0x80000001, CPUID_ECX, 22, true);
}

int cpuid_create(struct kvm_cpuid2 **out, struct kvm_vm *vm,
		 const struct config_cpus *cpus, struct error *e)
{
	struct kvm_cpuid2 *c = NULL;
	int ret = get_supported(&c, vm, e);

	if (ret)
		return ret;
	add_granted(c, vm);
	for (size_t i = 0; i < cpus->feature_count; i++) {
		ret = apply_feature(c, cpus->features[i], e);
		if (ret) {
			free(c);
			return ret;
		}
	}
	ensure_topology_leaf(c);
	ensure_amd_threads(c, cpus);
	*out = c;
	return 0;
}

/* Bits needed to number n things. */
static unsigned int bits_for(unsigned int n)
{
	unsigned int bits = 0;

	while ((1u << bits) < n)
		bits++;
	return bits;
}

uint32_t cpuid_apic_id(const struct config_cpus *cpus, unsigned int index)
{
	unsigned int thread_bits = bits_for(cpus->threads);
	unsigned int core_bits = bits_for(cpus->cores);
	unsigned int thread = index % cpus->threads;
	unsigned int core = index / cpus->threads % cpus->cores;
	unsigned int socket = index / cpus->threads / cpus->cores;

	return socket << (thread_bits + core_bits) | core << thread_bits |
	       thread;
}

/* Leaf 4 or 0x8000001d: how many threads share each cache. */
static void set_cache_sharing(struct kvm_cpuid2 *c, uint32_t leaf,
			      unsigned int per_core, unsigned int per_socket,
			      unsigned int cores)
{
	for (uint32_t i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &c->entries[i];
		unsigned int level, sharing;

		if (entry->function != leaf || !(entry->eax & 0x1f))
			continue;
		level = entry->eax >> 5 & 7;
		sharing = level < 3 ? per_core : per_socket;
		entry->eax &= 0x3fff;
		entry->eax |= (sharing - 1) << 14;
		if (leaf == 4)
			entry->eax |= ((1u << bits_for(cores)) - 1) << 26;
	}
}

static void set_amd_topology(struct kvm_cpuid2 *c,
			     const struct config_cpus *cpus, uint32_t apic_id)
{
	unsigned int in_socket = cpus->threads * cpus->cores;
	unsigned int thread_bits = bits_for(cpus->threads);
	struct kvm_cpuid_entry2 *entry;

	entry = find(c, 0x80000008, 0);
	if (entry)	/* NC: threads in a package; ApicIdSize */
		entry->ecx = (entry->ecx & ~0xf0ffu) |
			     ((in_socket - 1) & 0xff) |
			     (thread_bits + bits_for(cpus->cores)) << 12;
	entry = find(c, 0x8000001e, 0);
	if (entry) {
		uint32_t core = apic_id >> thread_bits &
				((1u << bits_for(cpus->cores)) - 1);

		entry->eax = apic_id;
		entry->ebx = (core & 0xff) | (cpus->threads - 1) << 8;
		entry->ecx = 0;		/* one node a package */
		entry->edx = 0;
	}
	set_cache_sharing(c, 0x8000001d, cpus->threads, in_socket, cpus->cores);
}

void cpuid_set_vcpu(struct kvm_cpuid2 *c, const struct config_cpus *cpus,
		    unsigned int index)
{
	uint32_t apic_id = cpuid_apic_id(cpus, index);
	unsigned int in_socket = cpus->threads * cpus->cores;
	unsigned int thread_bits = bits_for(cpus->threads);
	unsigned int socket_bits = thread_bits + bits_for(cpus->cores);
	struct kvm_cpuid_entry2 *entry = find(c, 1, 0);

	if (entry) {
		unsigned int ids = 1u << socket_bits;

		entry->ebx = (entry->ebx & 0xffff) |
			     (ids > 255 ? 255 : ids) << 16 | apic_id << 24;
		set_bit(c, 1, CPUID_EDX, 28, in_socket > 1);	/* HTT */
	}
	for (uint32_t level = 0; level < 3; level++) {
		entry = find(c, 0xb, level);
		if (!entry)
			continue;
		entry->edx = apic_id;
		entry->ecx = level;
		if (level == 2)		/* the end of the list */
			continue;
		entry->eax = level ? socket_bits : thread_bits;
		entry->ebx = level ? in_socket : cpus->threads;
		entry->ecx |= (level + 1) << 8;	/* 1 SMT, 2 core */
	}
	if (is_amd(c))
		set_amd_topology(c, cpus, apic_id);
	else
		set_cache_sharing(c, 4, cpus->threads, in_socket, cpus->cores);
	set_bit(c, 0x80000001, CPUID_ECX, 1,
		is_amd(c) && in_socket > 1);	/* CmpLegacy */
}

unsigned int cpuid_phys_bits(const struct kvm_cpuid2 *c)
{
	struct kvm_cpuid_entry2 *entry =
		find((struct kvm_cpuid2 *)c, 0x80000008, 0);

	return entry ? entry->eax & 0xff : 36;
}
