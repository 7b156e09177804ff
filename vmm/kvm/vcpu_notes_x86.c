/* SPDX-License-Identifier: MIT */
/*
 * The registers of an x86 vCPU as notes of a core file: NT_PRSTATUS, which gdb
 * shows, and QEMU's own, by which crash finds where the kernel is. Main thread.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/vcpu_model_x86.h"
#include "save/elf_core.h"

#define MSR_KERNEL_GS_BASE	0xc0000102
#define QEMU_NOTE_VERSION	1

/* Linux' struct elf_prstatus (elfcore.h, asm/user_64.h) for x86_64. */
struct prstatus {
	uint8_t unused[32];
	uint32_t pid;
	uint8_t times[76];
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx,
		rsi, rdi, orig_rax, rip, cs, eflags, rsp, ss, fs_base, gs_base,
		ds, es, fs, gs;
	uint32_t has_fp, pad;
};
_Static_assert(sizeof(struct prstatus) == 336, "the kernel's size");

/* What QEMU's note holds of a segment; flags: the upper half of a descriptor's
 * low eight bytes (SDM 3A, 3.4.5). */
struct note_segment {
	uint32_t selector, limit, flags, pad;
	uint64_t base;
};

struct qemu_note {
	uint32_t version, size;
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12,
		r13, r14, r15, rip, rflags;
	struct note_segment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
	uint64_t cr[5];
	uint64_t kernel_gs_base;
};
_Static_assert(sizeof(struct qemu_note) == 440, "QEMU's size");

static struct note_segment segment(const struct kvm_segment *s)
{
	return (struct note_segment){
		.selector = s->selector,
		.limit = s->limit,
		.flags = (uint32_t)(s->type << 8 | s->s << 12 | s->dpl << 13 |
				    s->present << 15 | s->avl << 20 |
				    s->l << 21 | s->db << 22 | s->g << 23),
		.base = s->base,
	};
}

static struct note_segment table(const struct kvm_dtable *t)
{
	return (struct note_segment){ .limit = t->limit, .base = t->base };
}

static void put_prstatus(const struct kvm_regs *r, const struct kvm_sregs *s,
			 unsigned int index, struct state_writer *w)
{
	struct prstatus p = {
		.pid = index + 1,
		.r15 = r->r15, .r14 = r->r14, .r13 = r->r13, .r12 = r->r12,
		.rbp = r->rbp, .rbx = r->rbx, .r11 = r->r11, .r10 = r->r10,
		.r9 = r->r9, .r8 = r->r8, .rax = r->rax, .rcx = r->rcx,
		.rdx = r->rdx, .rsi = r->rsi, .rdi = r->rdi,
		.rip = r->rip, .cs = s->cs.selector, .eflags = r->rflags,
		.rsp = r->rsp, .ss = s->ss.selector, .fs_base = s->fs.base,
		.gs_base = s->gs.base, .ds = s->ds.selector,
		.es = s->es.selector, .fs = s->fs.selector,
		.gs = s->gs.selector,
	};

	elf_core_put_note(w, "CORE", NT_PRSTATUS, &p, sizeof(p));
}

static void put_qemu(const struct kvm_regs *r, const struct kvm_sregs *s,
		     uint64_t kernel_gs_base, struct state_writer *w)
{
	struct qemu_note n = {
		.version = QEMU_NOTE_VERSION, .size = sizeof(n),
		.rax = r->rax, .rbx = r->rbx, .rcx = r->rcx, .rdx = r->rdx,
		.rsi = r->rsi, .rdi = r->rdi, .rsp = r->rsp, .rbp = r->rbp,
		.r8 = r->r8, .r9 = r->r9, .r10 = r->r10, .r11 = r->r11,
		.r12 = r->r12, .r13 = r->r13, .r14 = r->r14, .r15 = r->r15,
		.rip = r->rip, .rflags = r->rflags,
		.cs = segment(&s->cs), .ds = segment(&s->ds),
		.es = segment(&s->es), .fs = segment(&s->fs),
		.gs = segment(&s->gs), .ss = segment(&s->ss),
		.ldt = segment(&s->ldt), .tr = segment(&s->tr),
		.gdt = table(&s->gdt), .idt = table(&s->idt),
		.cr = { s->cr0, 0, s->cr2, s->cr3, s->cr4 },
		.kernel_gs_base = kernel_gs_base,
	};

	elf_core_put_note(w, "QEMU", 0, &n, sizeof(n));
}

int vcpu_model_notes(int vcpu_fd, unsigned int index, struct state_writer *w)
{
	uint64_t kernel_gs_base = 0;
	struct kvm_sregs s;
	struct kvm_regs r;

	if (ioctl(vcpu_fd, KVM_GET_REGS, &r) ||
	    ioctl(vcpu_fd, KVM_GET_SREGS, &s))
		return -errno;
	vcpu_get_msr(vcpu_fd, MSR_KERNEL_GS_BASE, &kernel_gs_base);
	put_prstatus(&r, &s, index, w);
	put_qemu(&r, &s, kernel_gs_base, w);
	return w->error;
}
