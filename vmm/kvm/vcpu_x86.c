/* SPDX-License-Identifier: MIT */
/*
 * x86 vCPUs: CPUID, registers at the boot entry, power-on state. Main thread;
 * the vCPUs do not run.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kvm/cpuid_x86.h"
#include "kvm/vcpu_model_x86.h"

#define MSR_IA32_FEATURE_CONTROL 0x3a
#define MSR_IA32_MISC_ENABLE	0x1a0
#define MSR_MTRR_DEF_TYPE	0x2ff
#define MTRR_ENABLED_WB		0x806

#define CR0_PE			(1ull << 0)
#define CR0_ET			(1ull << 4)
#define CR0_PG			(1ull << 31)
#define CR4_PAE			(1ull << 5)
#define EFER_LME		(1ull << 8)
#define EFER_LMA		(1ull << 10)

int vcpu_model_create(struct vcpu_model **out, struct kvm_vm *vm,
		      const struct config_cpus *cpus, struct error *e)
{
	uint32_t last = cpuid_apic_id(cpus, cpus->max - 1);
	struct vcpu_model *m;
	int ret;

	/* 255 is the xAPIC's broadcast; above it every vCPU would have to be
	 * in x2APIC mode with interrupt remapping. */
	if (last > 254)
		return error_config(e, -EINVAL, "--cpus: this topology needs "
				    "APIC IDs up to %u; at most 254", last);
	m = calloc(1, sizeof(*m));
	if (!m)
		return error_set(e, -ENOMEM, "out of memory");
	m->vm = vm;
	m->cpus = cpus;
	ret = cpuid_create(&m->cpuid, vm, cpus, e);
	if (ret) {
		free(m);
		return ret;
	}
	*out = m;
	return 0;
}

void vcpu_model_destroy(struct vcpu_model *m)
{
	if (!m)
		return;
	free(m->times);
	free(m->cpuid);
	free(m);
}

unsigned int vcpu_model_phys_bits(const struct vcpu_model *m)
{
	return cpuid_phys_bits(m->cpuid);
}

unsigned long vcpu_model_id(const struct vcpu_model *m, unsigned int index)
{
	return cpuid_apic_id(m->cpus, index);
}

/*
 * KVM delivers interprocessor interrupts by a map of the APICs, which it makes
 * when one of them changes: one that is new is not in it until then. Without
 * this the INIT for a vCPU that comes after the others have set up theirs is lost.
 */
static int enter_apic_map(int vcpu_fd, unsigned int index, struct error *e)
{
	struct kvm_lapic_state lapic;

	if (ioctl(vcpu_fd, KVM_GET_LAPIC, &lapic) ||
	    ioctl(vcpu_fd, KVM_SET_LAPIC, &lapic))
		return error_errno(e, -errno, "vCPU %u: its APIC", index);
	return 0;
}

int vcpu_model_init(struct vcpu_model *m, int vcpu_fd, unsigned int index,
		    struct error *e)
{
	cpuid_set_vcpu(m->cpuid, m->cpus, index);
	if (ioctl(vcpu_fd, KVM_SET_CPUID2, m->cpuid))
		return error_errno(e, -errno, "vCPU %u: KVM_SET_CPUID2", index);
	/* As firmware leaves them; absent on some hosts, and then not needed:
	 * fast string operations, all memory write-back. */
	vcpu_set_msr(vcpu_fd, MSR_IA32_MISC_ENABLE, 1);
	vcpu_set_msr(vcpu_fd, MSR_MTRR_DEF_TYPE, MTRR_ENABLED_WB);
	return enter_apic_map(vcpu_fd, index, e);
}

static struct kvm_segment flat(uint16_t selector, uint8_t type, bool is_64bit)
{
	return (struct kvm_segment){
		.selector = selector, .limit = 0xffffffff, .type = type,
		.present = 1, .s = 1, .g = 1, .l = is_64bit, .db = !is_64bit,
	};
}

static void set_segments(struct kvm_sregs *s, bool long_mode)
{
	s->cs = flat(0x10, 0xb, long_mode);
	s->ds = flat(0x18, 3, false);
	s->es = s->fs = s->gs = s->ss = s->ds;
	s->tr = (struct kvm_segment){
		.selector = 0, .limit = 0x67, .type = 0xb, .present = 1,
	};
}

int vcpu_model_boot(struct vcpu_model *m, int vcpu_fd,
		    const struct boot_entry *entry, struct error *e)
{
	bool long_mode = entry->protocol == BOOT_LINUX64;
	struct kvm_regs r = {
		.rip = entry->entry, .rsp = entry->stack, .rflags = 2,
	};
	struct kvm_sregs s;

	(void)m;
	if (ioctl(vcpu_fd, KVM_GET_SREGS, &s))
		return error_errno(e, -errno, "KVM_GET_SREGS");
	set_segments(&s, long_mode);
	s.cr0 = CR0_PE | CR0_ET;
	if (long_mode) {
		/* x86 boot.rst 1.15: paging on, identity-mapped, rsi. */
		s.gdt.base = entry->gdt;
		s.gdt.limit = 4 * 8 - 1;
		s.cr0 |= CR0_PG;
		s.cr3 = entry->page_tables;
		s.cr4 = CR4_PAE;
		s.efer = EFER_LME | EFER_LMA;
		r.rsi = entry->info;
	} else {
		/* Xen's PVH ABI (misc/pvh.pandoc): ebx. */
		r.rbx = entry->info;
	}
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &s))
		return error_errno(e, -errno, "KVM_SET_SREGS");
	if (ioctl(vcpu_fd, KVM_SET_REGS, &r))
		return error_errno(e, -errno, "KVM_SET_REGS");
	return 0;
}

/* What a vCPU is at power-on, read from one that has never run. */
struct power_on {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp;
	struct kvm_vcpu_events events;
	struct kvm_debugregs debug;
	struct kvm_xcrs xcrs;
	struct kvm_xsave xsave;
	struct kvm_msrs *msrs;
};

static int power_on_read(struct kvm_vm *vm, int fd, struct power_on *p)
{
	if (ioctl(fd, KVM_GET_REGS, &p->regs) ||
	    ioctl(fd, KVM_GET_SREGS, &p->sregs) ||
	    ioctl(fd, KVM_GET_LAPIC, &p->lapic) ||
	    ioctl(fd, KVM_GET_MP_STATE, &p->mp) ||
	    ioctl(fd, KVM_GET_VCPU_EVENTS, &p->events) ||
	    ioctl(fd, KVM_GET_DEBUGREGS, &p->debug) ||
	    ioctl(fd, KVM_GET_XCRS, &p->xcrs) ||
	    ioctl(fd, KVM_GET_XSAVE, &p->xsave))
		return -errno;
	return vcpu_read_msrs(vm, fd, &p->msrs);
}

static int power_on_write(int fd, struct power_on *p, uint32_t apic_id)
{
	/* Out of VMX operation, in which power-on values of CR0 and CR4 are
	 * refused. Absent where there is no VMX; EFER does the same for SVM. */
	vcpu_set_msr(fd, MSR_IA32_FEATURE_CONTROL, 0);
	/* Both halves of the x2APIC/xAPIC switch: the base says which. */
	memcpy(p->lapic.regs + 0x20, &(uint32_t){ apic_id << 24 }, 4);
	if (ioctl(fd, KVM_SET_SREGS, &p->sregs) ||
	    ioctl(fd, KVM_SET_REGS, &p->regs) ||
	    ioctl(fd, KVM_SET_XCRS, &p->xcrs) ||
	    ioctl(fd, KVM_SET_XSAVE, &p->xsave) ||
	    ioctl(fd, KVM_SET_LAPIC, &p->lapic) ||
	    ioctl(fd, KVM_SET_DEBUGREGS, &p->debug))
		return -errno;
	/* Some can be read but not written: on behind those. */
	for (uint32_t i = 0; i < p->msrs->nmsrs; i++)
		i += vcpu_set_msrs(fd, p->msrs->entries + i,
				   p->msrs->nmsrs - i);
	if (ioctl(fd, KVM_SET_VCPU_EVENTS, &p->events) ||
	    ioctl(fd, KVM_SET_MP_STATE, &p->mp))
		return -errno;
	return 0;
}

/* Template index 0 is the boot vCPU, 1 an application processor. */
static int read_template(struct vcpu_model *m, struct kvm_vm *scratch,
			 unsigned int index, struct power_on *p,
			 struct error *e)
{
	int fd, ret;

	fd = kvm_create_vcpu(scratch, vcpu_model_id(m, index));
	if (fd < 0)
		return error_errno(e, fd, "reset: KVM_CREATE_VCPU");
	ret = vcpu_model_init(m, fd, index, e);
	if (!ret) {
		ret = power_on_read(scratch, fd, p);
		if (ret)
			error_errno(e, ret, "reset: reading the power-on state");
	}
	close(fd);
	return ret;
}

int vcpu_model_reset(struct vcpu_model *m, const int *vcpu_fds,
		     unsigned int count, struct error *e)
{
	struct power_on *p = calloc(2, sizeof(*p));
	struct kvm_vm scratch;
	int ret;

	if (!p)
		return error_set(e, -ENOMEM, "out of memory");
	/* What was saved of the clocks is void, too. */
	free(m->times);
	m->times = NULL;
	ret = kvm_vm_create(&scratch, e);
	if (ret)
		goto out;
	ret = kvm_arch_init(&scratch, e);
	for (unsigned int i = 0; !ret && i < 2 && i < count; i++)
		ret = read_template(m, &scratch, i, &p[i], e);
	for (unsigned int i = 0; !ret && i < count; i++) {
		if (vcpu_fds[i] < 0)
			continue;
		ret = power_on_write(vcpu_fds[i], &p[i > 0],
				     (uint32_t)vcpu_model_id(m, i));
		if (ret)
			error_errno(e, ret, "reset of vCPU %u", i);
	}
	kvm_vm_destroy(&scratch);
out:
	free(p[0].msrs);
	free(p[1].msrs);
	free(p);
	return ret;
}
