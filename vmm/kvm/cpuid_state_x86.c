/* SPDX-License-Identifier: MIT */
/* Saved CPUIDs, and whether this host's CPU can stand in. Main thread. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvm/cpuid_x86.h"
#include "state.h"

#define MAX_ENTRIES	512

/* Registers whose bits are features. kept: bits that are none, but the state of
 * a processor (OSXSAVE, APIC, OSPKE) or its place in the topology. */
static const struct {
	uint32_t leaf, subleaf;
	enum cpuid_register reg;
	uint32_t kept;
} checked[] = {
	{ 0x1, 0, CPUID_ECX, 1u << 27 },
	{ 0x1, 0, CPUID_EDX, 1u << 28 | 1u << 9 },
	{ 0x7, 0, CPUID_EBX, 0 },
	{ 0x7, 0, CPUID_ECX, 1u << 4 },
	{ 0x7, 0, CPUID_EDX, 0 },
	{ 0x7, 1, CPUID_EAX, 0 },
	{ 0x7, 1, CPUID_EDX, 0 },
	{ 0xd, 0, CPUID_EAX, 0 },
	{ 0xd, 0, CPUID_EDX, 0 },
	{ 0xd, 1, CPUID_EAX, 0 },
	{ 0x80000001, 0, CPUID_ECX, 1u << 22 | 1u << 1 },
	{ 0x80000001, 0, CPUID_EDX, 1u << 9 },
	{ 0x80000007, 0, CPUID_EDX, 0 },
	{ 0x80000008, 0, CPUID_EBX, 0 },
	{ 0x8000000a, 0, CPUID_EDX, 0 },
	{ 0x80000021, 0, CPUID_EAX, 0 },
	{ 0x40000001, 0, CPUID_EAX, 0 },
};

static uint32_t get(const struct kvm_cpuid2 *c, uint32_t leaf,
		    uint32_t subleaf, enum cpuid_register reg)
{
	for (uint32_t i = 0; i < c->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &c->entries[i];
		const uint32_t regs[] = { entry->eax, entry->ebx, entry->ecx,
					  entry->edx };

		if (entry->function == leaf &&
		    (entry->index == subleaf ||
		     !(entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)))
			return regs[reg];
	}
	return 0;
}

void cpuid_save(const struct kvm_cpuid2 *c, struct state_writer *w)
{
	state_put_u32(w, c->nent);
	for (uint32_t i = 0; i < c->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &c->entries[i];

		state_put_u32(w, entry->function);
		state_put_u32(w, entry->index);
		state_put_u32(w, entry->flags);
		state_put_u32(w, entry->eax);
		state_put_u32(w, entry->ebx);
		state_put_u32(w, entry->ecx);
		state_put_u32(w, entry->edx);
	}
}

int cpuid_load(struct kvm_cpuid2 **out, struct state_reader *r)
{
	uint32_t count = state_get_u32(r);
	struct kvm_cpuid2 *c;

	if (state_reader_error(r))
		return state_reader_error(r);
	if (!count || count > MAX_ENTRIES)
		return -EPROTO;
	c = calloc(1, sizeof(*c) + count * sizeof(c->entries[0]));
	if (!c)
		return -ENOMEM;
	c->nent = count;
	for (uint32_t i = 0; i < count; i++) {
		struct kvm_cpuid_entry2 *entry = &c->entries[i];

		entry->function = state_get_u32(r);
		entry->index = state_get_u32(r);
		entry->flags = state_get_u32(r);
		entry->eax = state_get_u32(r);
		entry->ebx = state_get_u32(r);
		entry->ecx = state_get_u32(r);
		entry->edx = state_get_u32(r);
	}
	if (state_reader_error(r)) {
		free(c);
		return state_reader_error(r);
	}
	*out = c;
	return 0;
}

/* One more word in the list; what does not fit is left out. */
static void add_missing(char *list, size_t size, size_t check,
			unsigned int bit)
{
	const char *name = cpuid_feature_name(checked[check].leaf,
					      checked[check].subleaf,
					      checked[check].reg, bit);
	size_t used = strlen(list);

	if (used + 48 > size)
		return;
	if (used)
		used += (size_t)snprintf(list + used, size - used, " ");
	if (name)
		snprintf(list + used, size - used, "%s", name);
	else
		snprintf(list + used, size - used, "0x%x.%u.%s:%u",
			 checked[check].leaf, checked[check].subleaf,
			 (const char *const[]){ "eax", "ebx", "ecx",
						"edx" }[checked[check].reg],
			 bit);
}

int cpuid_check(const struct kvm_cpuid2 *saved, const struct kvm_cpuid2 *host,
		struct error *e)
{
	char list[320] = "";

	for (size_t i = 0; i < sizeof(checked) / sizeof(checked[0]); i++) {
		uint32_t leaf = checked[i].leaf, sub = checked[i].subleaf;
		uint32_t missing = get(saved, leaf, sub, checked[i].reg) &
				   ~get(host, leaf, sub, checked[i].reg) &
				   ~checked[i].kept;

		for (unsigned int bit = 0; bit < 32; bit++)
			if (missing >> bit & 1)
				add_missing(list, sizeof(list), i, bit);
	}
	if (list[0])
		return error_config(e, -EOPNOTSUPP, "this host's CPU lacks: %s",
				    list);
	for (enum cpuid_register reg = CPUID_EBX; reg <= CPUID_EDX; reg++)
		if (get(saved, 0, 0, reg) != get(host, 0, 0, reg))
			return error_config(e, -EOPNOTSUPP, "this host's CPU is "
					    "of another vendor");
	if (cpuid_phys_bits(saved) > cpuid_phys_bits(host))
		return error_config(e, -EOPNOTSUPP, "this host's CPU has %u "
				    "physical address bits, the guest's has %u",
				    cpuid_phys_bits(host),
				    cpuid_phys_bits(saved));
	return 0;
}
