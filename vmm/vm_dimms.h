/* SPDX-License-Identifier: MIT */
/*
 * DIMMs that come and go, up to --memory max= and slots=. Main thread.
 *
 * As devices do (vm_devices.h): before the first `cont` at once, later through
 * ACPI. VM_EVENT_DEVICE_DELETED with the DIMM's id says that the guest has let
 * it go, VM_EVENT_UNPLUG_REFUSED that it will not: there is something in it
 * that it cannot move.
 */
#ifndef MOTE_VM_DIMMS_H
#define MOTE_VM_DIMMS_H

#include "dimms.h"
#include "vm.h"

/*
 * id NULL: dimmN. As dimms_prepare(), and NoAvailableLocation beyond max=,
 * NotSupported without, AlreadyAttached: another has this memory. -EPERM: the VM
 * has ended.
 */
int vm_dimm_add(struct vm *vm, const struct dimm_spec *spec, struct error *e);
/* Asks the guest to let it go; asking again reminds it. */
int vm_dimm_remove(struct vm *vm, struct dimm *dimm, struct error *e);
/* NULL: there is none. */
struct dimm *vm_dimm_find(const struct vm *vm, const char *id);
/* NULL: that slot, below CONFIG_MAX_DIMMS, is empty. */
struct dimm *vm_dimm_at(const struct vm *vm, unsigned int slot);
/* The DIMM that is made of it, NULL: none is. */
struct dimm *vm_dimm_of(const struct vm *vm, const char *memdev);

#endif
