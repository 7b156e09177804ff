/* SPDX-License-Identifier: MIT */
/*
 * The x86 parts of a KVM VM that are not a vCPU: interrupt controllers, timer,
 * routing, and the probe for a KVM that interprets. Main thread.
 */
#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm/kvm.h"
#include "layout_x86.h"

#define PIC_PINS	8
#define IOAPIC_PINS	24

int kvm_arch_init(struct kvm_vm *vm, struct error *e)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	uint64_t identity = LAYOUT_KVM_IDENTITY;

	/* Pages that VMX borrows to run real mode (api.rst 4.35, 4.36). */
	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity))
		return error_errno(e, -errno, "KVM_SET_IDENTITY_MAP_ADDR");
	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, LAYOUT_KVM_TSS))
		return error_errno(e, -errno, "KVM_SET_TSS_ADDR");
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0))
		return error_errno(e, -errno, "KVM_CREATE_IRQCHIP");
	if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit))
		return error_errno(e, -errno, "KVM_CREATE_PIT2");
	return 0;
}

int kvm_arch_reset(struct kvm_vm *vm, struct error *e)
{
	/* The slave first: KVM looks at it when it takes the master's state, and
	 * what is pending there would be latched in the master again. */
	static const uint32_t ids[] = {
		KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_PIC_MASTER,
		KVM_IRQCHIP_IOAPIC,
	};
	struct kvm_vm pristine;
	int ret = kvm_vm_create(&pristine, e);

	if (ret)
		return ret;
	ret = kvm_arch_init(&pristine, e);
	for (size_t i = 0; !ret && i < sizeof(ids) / sizeof(ids[0]); i++) {
		struct kvm_irqchip chip = { .chip_id = ids[i] };

		if (ioctl(pristine.fd, KVM_GET_IRQCHIP, &chip) ||
		    ioctl(vm->fd, KVM_SET_IRQCHIP, &chip))
			ret = error_errno(e, -errno, "reset of irqchip %u",
					  ids[i]);
	}
	if (!ret) {
		struct kvm_pit_state2 pit;

		if (ioctl(pristine.fd, KVM_GET_PIT2, &pit) ||
		    ioctl(vm->fd, KVM_SET_PIT2, &pit))
			ret = error_errno(e, -errno, "reset of the PIT");
	}
	kvm_vm_destroy(&pristine);
	return ret;
}

unsigned int kvm_arch_routes(struct kvm_irq_routing_entry *entries,
			     unsigned int max, uint32_t *first_msi)
{
	unsigned int n = 0;

	for (uint32_t pin = 0; pin < 2 * PIC_PINS && n < max; pin++)
		entries[n++] = (struct kvm_irq_routing_entry){
			.gsi = pin,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = {
				.irqchip = pin < PIC_PINS ?
						   KVM_IRQCHIP_PIC_MASTER :
						   KVM_IRQCHIP_PIC_SLAVE,
				.pin = pin % PIC_PINS,
			},
		};
	/* The PIT's GSI 0 is pin 2, as on every PC (KVM's own default). */
	for (uint32_t pin = 0; pin < IOAPIC_PINS && n < max; pin++)
		entries[n++] = (struct kvm_irq_routing_entry){
			.gsi = pin,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = {
				.irqchip = KVM_IRQCHIP_IOAPIC,
				.pin = pin == 0 ? 2 : pin,
			},
		};
	*first_msi = LAYOUT_GSI_MSI;
	return n;
}

static bool cpu_has_virtualization(void)
{
	unsigned int a, b, c, d;

	if (__get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 5)))
		return true;	/* VMX */
	return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & (1u << 2));
}

/*
 * Ring 0, long mode: two instructions that every Linux uses and an incomplete
 * interpreter does not know.
 */
static const uint8_t probe_code[] = {
	0xf3, 0x0f, 0xb8, 0xc1,		/* popcnt eax, ecx */
	0x48, 0x0f, 0xc7, 0x0f,		/* cmpxchg16b [rdi] */
	0xf4,				/* hlt */
};

static int probe_set_up(int vcpu, uint8_t *mem)
{
	struct kvm_sregs s;
	struct kvm_regs r = { .rip = 0x1000, .rdi = 0x1800, .rflags = 2 };
	struct kvm_segment code = {
		.selector = 8, .limit = ~0u, .type = 0xb, .present = 1, .s = 1,
		.l = 1, .g = 1,
	};
	struct kvm_segment data = {
		.selector = 16, .limit = ~0u, .type = 3, .present = 1, .s = 1,
		.db = 1, .g = 1,
	};
	uint64_t *table = (uint64_t *)(mem + 0x2000);

	memcpy(mem + 0x1000, probe_code, sizeof(probe_code));
	table[0] = 0x3003;			/* PML4 → PDPT */
	table[0x1000 / 8] = 0x4003;		/* PDPT → PD */
	table[0x2000 / 8] = 0x83;		/* one 2 MiB page */
	if (ioctl(vcpu, KVM_GET_SREGS, &s))
		return -errno;
	s.cs = code;
	s.ds = s.es = s.ss = s.fs = s.gs = data;
	s.cr3 = 0x2000;
	s.cr4 = 1u << 5;			/* PAE */
	s.cr0 = 0x80000011;			/* PG, ET, PE */
	s.efer = 0x500;				/* LMA, LME */
	if (ioctl(vcpu, KVM_SET_SREGS, &s) || ioctl(vcpu, KVM_SET_REGS, &r))
		return -errno;
	return 0;
}

static int probe_run(struct kvm_vm *vm, uint8_t *mem, struct error *e)
{
	struct kvm_run *run = MAP_FAILED;
	int vcpu, ret;

	vcpu = kvm_create_vcpu(vm, 0);
	if (vcpu < 0)
		return error_errno(e, vcpu, "KVM_CREATE_VCPU");
	run = mmap(NULL, vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		   vcpu, 0);
	ret = run == MAP_FAILED ? -errno : probe_set_up(vcpu, mem);
	if (!ret && ioctl(vcpu, KVM_RUN, 0))
		ret = -errno;
	if (ret)
		error_errno(e, ret, "probing KVM");
	else if (run->exit_reason != KVM_EXIT_HLT)
		ret = error_class_set(e, ERROR_NOT_SUPPORTED, -EOPNOTSUPP,
			"this machine's /dev/kvm has no hardware "
			"virtualization behind it (no vmx or svm) and "
			"interprets guest code incompletely: Linux guests "
			"cannot run here");
	if (run != MAP_FAILED)
		munmap(run, vm->run_bytes);
	close(vcpu);
	return ret;
}

int kvm_arch_probe(struct error *e)
{
	const size_t len = 0x6000;
	struct kvm_vm vm;
	uint8_t *mem;
	int ret;

	if (cpu_has_virtualization())
		return 0;
	ret = kvm_vm_create(&vm, e);
	if (ret)
		return ret;
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED) {
		ret = error_errno(e, -errno, "probing KVM");
		goto out;
	}
	ret = kvm_set_memory(&vm, 0, 0, 0, len, mem);
	if (ret)
		error_errno(e, ret, "probing KVM: memory");
	else
		ret = probe_run(&vm, mem, e);
	munmap(mem, len);
out:
	kvm_vm_destroy(&vm);
	return ret;
}
