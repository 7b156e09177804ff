/* SPDX-License-Identifier: MIT */
/* Model-specific registers of a vCPU (api.rst 4.18, 4.19). Main thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/kvm.h"
#include "kvm/vcpu_model_x86.h"

/* KVM takes fewer than 256 at a time (its MAX_IO_MSRS). */
#define BATCH	255u

struct batch {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[BATCH];
};

/* KVM stops at the first that it does not know or take. */
static uint32_t transfer(int vcpu_fd, unsigned long request,
			 struct kvm_msr_entry *msrs, uint32_t count)
{
	struct batch b;
	uint32_t done = 0, n;
	int ret;

	do {
		n = count - done < BATCH ? count - done : BATCH;
		b.head = (struct kvm_msrs){ .nmsrs = n };
		memcpy(b.entries, msrs + done, n * sizeof(*msrs));
		ret = n ? ioctl(vcpu_fd, request, &b) : 0;
		if (ret <= 0)
			break;
		memcpy(msrs + done, b.entries, (uint32_t)ret * sizeof(*msrs));
		done += (uint32_t)ret;
	} while ((uint32_t)ret == n);
	return done;
}

uint32_t vcpu_set_msrs(int vcpu_fd, struct kvm_msr_entry *msrs, uint32_t count)
{
	return transfer(vcpu_fd, KVM_SET_MSRS, msrs, count);
}

int vcpu_set_msr(int vcpu_fd, uint32_t index, uint64_t value)
{
	struct kvm_msr_entry msr = { .index = index, .data = value };

	return vcpu_set_msrs(vcpu_fd, &msr, 1) == 1 ? 0 : -EIO;
}

int vcpu_get_msr(int vcpu_fd, uint32_t index, uint64_t *value)
{
	struct kvm_msr_entry msr = { .index = index };

	if (transfer(vcpu_fd, KVM_GET_MSRS, &msr, 1) != 1)
		return -EIO;
	*value = msr.data;
	return 0;
}

static void read_all(int vcpu_fd, const struct kvm_msr_list *list,
		     struct kvm_msrs *msrs)
{
	struct kvm_msr_entry *all = msrs->entries;
	uint32_t i = 0;

	for (uint32_t k = 0; k < list->nmsrs; k++)
		all[k] = (struct kvm_msr_entry){ .index = list->indices[k] };
	while (i < list->nmsrs) {
		uint32_t n = transfer(vcpu_fd, KVM_GET_MSRS, all + i,
				      list->nmsrs - i);

		memmove(all + msrs->nmsrs, all + i, n * sizeof(*all));
		msrs->nmsrs += n;
		i += n + 1;
	}
}

int vcpu_read_msrs(struct kvm_vm *vm, int vcpu_fd, struct kvm_msrs **out)
{
	struct kvm_msr_list probe = { .nmsrs = 0 }, *list;
	struct kvm_msrs *msrs;

	if (!ioctl(vm->sys_fd, KVM_GET_MSR_INDEX_LIST, &probe) ||
	    errno != E2BIG)
		return -EIO;
	list = calloc(1, sizeof(*list) + probe.nmsrs * sizeof(uint32_t));
	msrs = calloc(1, sizeof(*msrs) + probe.nmsrs * sizeof(msrs->entries[0]));
	if (!list || !msrs) {
		free(list);
		free(msrs);
		return -ENOMEM;
	}
	list->nmsrs = probe.nmsrs;
	if (!ioctl(vm->sys_fd, KVM_GET_MSR_INDEX_LIST, list))
		read_all(vcpu_fd, list, msrs);
	free(list);
	*out = msrs;
	return 0;
}
