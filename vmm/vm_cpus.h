/* SPDX-License-Identifier: MIT */
/*
 * vCPUs that come and go, up to --cpus max=. Main thread.
 *
 * As devices do (vm_devices.h): before the first `cont` at once, later through
 * ACPI. VM_EVENT_DEVICE_DELETED with the vCPU's id says that the guest has let it
 * go. vCPU 0 stays.
 */
#ifndef MOTE_VM_CPUS_H
#define MOTE_VM_CPUS_H

#include "vm.h"

/*
 * id NULL: cpuN. The guest is told; what it does with a new processor is up to
 * it. -EBUSY: it is there (AlreadyAttached); -EEXIST: the id is taken; -EPERM: the
 * VM has ended; else what KVM says.
 */
int vm_cpu_add(struct vm *vm, unsigned int index, const char *id,
	       struct error *e);
/* Asks the guest to let it go. -ENOTSUP: it is vCPU 0, or the VM was started
 * without a larger max. */
int vm_cpu_remove(struct vm *vm, unsigned int index, struct error *e);
/* -1: there is none. */
int vm_cpu_find(const struct vm *vm, const char *id);

#endif
