/* SPDX-License-Identifier: MIT */
/* Saving what of an x86 VM is in KVM and not a vCPU. Main thread, vCPUs stopped. */
#include <errno.h>
#include <sys/ioctl.h>

#include "kvm/kvm.h"
#include "state.h"

int kvm_arch_save(struct kvm_vm *vm, struct state_writer *w, struct error *e)
{
	struct kvm_pit_state2 pit;

	for (uint32_t id = 0; id <= KVM_IRQCHIP_IOAPIC; id++) {
		struct kvm_irqchip chip = { .chip_id = id };

		if (ioctl(vm->fd, KVM_GET_IRQCHIP, &chip))
			return error_errno(e, -errno, "KVM_GET_IRQCHIP");
		state_put_bytes(w, &chip.chip, sizeof(chip.chip));
	}
	if (ioctl(vm->fd, KVM_GET_PIT2, &pit))
		return error_errno(e, -errno, "KVM_GET_PIT2");
	state_put_bytes(w, &pit, sizeof(pit));
	return 0;
}

int kvm_arch_load(struct kvm_vm *vm, struct state_reader *r, struct error *e)
{
	struct kvm_irqchip chips[KVM_IRQCHIP_IOAPIC + 1] = { 0 };
	struct kvm_pit_state2 pit;
	int ret;

	for (uint32_t id = 0; id <= KVM_IRQCHIP_IOAPIC; id++) {
		chips[id].chip_id = id;
		state_get_bytes(r, &chips[id].chip, sizeof(chips[id].chip));
	}
	state_get_bytes(r, &pit, sizeof(pit));
	ret = state_reader_finish(r);
	if (ret)
		return error_errno(e, ret, "malformed");
	for (uint32_t id = 0; id <= KVM_IRQCHIP_IOAPIC; id++)
		if (ioctl(vm->fd, KVM_SET_IRQCHIP, &chips[id]))
			return error_errno(e, -errno, "KVM_SET_IRQCHIP");
	if (ioctl(vm->fd, KVM_SET_PIT2, &pit))
		return error_errno(e, -errno, "KVM_SET_PIT2");
	return 0;
}

int kvm_arch_get_clock(struct kvm_vm *vm, uint64_t *ns)
{
	struct kvm_clock_data clock = { 0 };

	if (ioctl(vm->fd, KVM_GET_CLOCK, &clock))
		return -errno;
	*ns = clock.clock;
	return 0;
}

int kvm_arch_set_clock(struct kvm_vm *vm, uint64_t ns)
{
	struct kvm_clock_data clock = { .clock = ns };

	return ioctl(vm->fd, KVM_SET_CLOCK, &clock) ? -errno : 0;
}
