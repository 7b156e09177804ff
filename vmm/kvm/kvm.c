/* SPDX-License-Identifier: MIT */
/* KVM ioctls that every architecture has. Any thread; no state of its own. */
#include "kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int result(int ret)
{
	return ret < 0 ? -errno : ret;
}

int kvm_check(const struct kvm_vm *vm, int capability)
{
	int ret = ioctl(vm->fd >= 0 ? vm->fd : vm->sys_fd, KVM_CHECK_EXTENSION,
			capability);

	return ret < 0 ? 0 : ret;
}

static int open_dev_kvm(struct error *e)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOENT:
		return error_set(e, -ENOENT, "no /dev/kvm: load the kvm module "
				 "of this processor (kvm_intel, kvm_amd) or "
				 "enable virtualization in the firmware");
	case EACCES:
	case EPERM:
		return error_set(e, -EACCES, "/dev/kvm: permission denied: "
				 "add this user to the group kvm");
	default:
		return error_errno(e, -errno, "/dev/kvm");
	}
}

static int check_capabilities(const struct kvm_vm *vm, struct error *e)
{
	static const struct {
		int capability;
		const char *name;
	} needed[] = {
		{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
		{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
		{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD" },
		{ KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING" },
		{ KVM_CAP_IRQFD_RESAMPLE, "KVM_CAP_IRQFD_RESAMPLE" },
		{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
		{ KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH" },
		{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
		{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
	};

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!kvm_check(vm, needed[i].capability))
			return error_set(e, -EOPNOTSUPP, "this host's KVM has "
					 "no %s: a newer kernel is needed",
					 needed[i].name);
	return 0;
}

int kvm_vm_create(struct kvm_vm *vm, struct error *e)
{
	int ret, version;

	*vm = (struct kvm_vm){ .sys_fd = -1, .fd = -1 };
	vm->sys_fd = open_dev_kvm(e);
	if (vm->sys_fd < 0)
		return vm->sys_fd;
	version = ioctl(vm->sys_fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		ret = error_set(e, -EOPNOTSUPP, "/dev/kvm: API version %d, "
				"not %d", version, KVM_API_VERSION);
		goto err;
	}
	/* Creating a VM waits for other work in the kernel and may be told to
	 * start over by a signal. */
	do
		vm->fd = result(ioctl(vm->sys_fd, KVM_CREATE_VM, 0));
	while (vm->fd == -EINTR);
	if (vm->fd < 0) {
		ret = error_errno(e, vm->fd, "KVM_CREATE_VM");
		goto err;
	}
	ret = check_capabilities(vm, e);
	if (ret)
		goto err;
	ret = result(ioctl(vm->sys_fd, KVM_GET_VCPU_MMAP_SIZE, 0));
	if (ret < 0) {
		error_errno(e, ret, "KVM_GET_VCPU_MMAP_SIZE");
		goto err;
	}
	vm->run_bytes = (size_t)ret;
	vm->max_vcpus = (unsigned int)kvm_check(vm, KVM_CAP_MAX_VCPUS);
	vm->max_memslots = (unsigned int)kvm_check(vm, KVM_CAP_NR_MEMSLOTS);
	return 0;
err:
	kvm_vm_destroy(vm);
	return ret;
}

void kvm_vm_destroy(struct kvm_vm *vm)
{
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->sys_fd >= 0)
		close(vm->sys_fd);
	vm->fd = vm->sys_fd = -1;
}

int kvm_set_memory(struct kvm_vm *vm, uint32_t slot, uint32_t flags,
		   uint64_t gpa, uint64_t len_bytes, void *host)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = len_bytes,
		.userspace_addr = (uintptr_t)host,
	};

	return result(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r));
}

int kvm_get_dirty_log(struct kvm_vm *vm, uint32_t slot, uint64_t *bits)
{
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bits };

	return result(ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log));
}

int kvm_ioeventfd(struct kvm_vm *vm, uint64_t gpa, uint32_t len, bool match,
		  uint64_t value, int fd, bool assign)
{
	struct kvm_ioeventfd i = {
		.datamatch = value,
		.addr = gpa,
		.len = len,
		.fd = fd,
		.flags = (match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0u) |
			 (assign ? 0u : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	return result(ioctl(vm->fd, KVM_IOEVENTFD, &i));
}

int kvm_irqfd(struct kvm_vm *vm, uint32_t gsi, int fd, int resamplefd,
	      bool assign)
{
	struct kvm_irqfd i = { .fd = (uint32_t)fd, .gsi = gsi };

	if (!assign) {
		i.flags = KVM_IRQFD_FLAG_DEASSIGN;
	} else if (resamplefd >= 0) {
		i.flags = KVM_IRQFD_FLAG_RESAMPLE;
		i.resamplefd = (uint32_t)resamplefd;
	}
	return result(ioctl(vm->fd, KVM_IRQFD, &i));
}

int kvm_set_gsi_routing(struct kvm_vm *vm, struct kvm_irq_routing *r)
{
	return result(ioctl(vm->fd, KVM_SET_GSI_ROUTING, r));
}

int kvm_create_vcpu(struct kvm_vm *vm, unsigned long id)
{
	return result(ioctl(vm->fd, KVM_CREATE_VCPU, id));
}
