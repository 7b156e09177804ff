/* SPDX-License-Identifier: MIT */
/*
 * Devices that come and go while the VM is there. Main thread.
 *
 * Before the first `cont` the guest knows of nothing, and a change is only one
 * of the configuration. Later the guest is told through ACPI (platform/
 * pci_hotplug.h); a device is gone when the guest has let it go, when the VM is
 * reset, or by force. VM_EVENT_DEVICE_DELETED says so, also when it was the
 * guest's own idea; its reason is the id, NULL for a device without.
 */
#ifndef MOTE_VM_DEVICES_H
#define MOTE_VM_DEVICES_H

#include "devices.h"
#include "virtio/blk.h"
#include "virtio/net.h"
#include "vm.h"

/* devices_add(), and the guest hears of it. -EPERM: the VM has ended. */
int vm_device_add(struct vm *vm, const struct device_spec *spec,
		  struct device **out, struct error *e);
/*
 * Asks the guest to let it go; asking again reminds it. When the guest has not
 * started yet the device is gone on return.
 */
int vm_device_remove(struct vm *vm, struct device *device, struct error *e);
/* Takes it away at once, whatever the guest does with it. */
void vm_device_force_remove(struct vm *vm, struct device *device);

/* As devices_first(), devices_find(). */
struct device *vm_device_first(const struct vm *vm);
struct device *vm_device_find(const struct vm *vm, const char *id);
/* Whether such a disk can be opened now; nothing stays open. */
int vm_disk_check(const struct config_disk *disk, struct error *e);

/* What is in a PCI slot, as the guest sees it now. */
struct vm_pci_slot {
	uint8_t config[64];		/* the header, little-endian */
	struct {
		uint64_t address, len_bytes;	/* 0: there is no such BAR */
		bool is_64bit, prefetchable;
	} bars[PCI_BARS];
	const char *id;			/* NULL: none; as long as the device */
};

/* False: it is empty. bus < PCI_ROOTS, slot < PCI_SLOTS. */
bool vm_pci_slot(struct vm *vm, unsigned int bus, unsigned int slot,
		 struct vm_pci_slot *out);
/*
 * Puts another image in the place of a disk's, of which c's path, format,
 * readonly and direct count; the guest hears of its size. What does not work
 * changes nothing. See virtio_blk_replace().
 */
int vm_disk_replace(struct vm *vm, struct device *device,
		    const struct config_disk *c, struct error *e);
/*
 * Gives a network device another back end, that of c, which is checked; vhost is
 * as it was. What does not work changes nothing. See virtio_net_set_backend().
 */
int vm_nic_replace(struct vm *vm, struct device *device,
		   const struct config_net *c, struct error *e);

struct vm_nic_state {
	bool link_up;
	/* Without vhost; see virtio_net_count(). */
	struct virtio_net_counters received, sent;
};

void vm_nic_state(struct vm *vm, const struct device *device,
		  struct vm_nic_state *out);
/* "raw" or "vhd", by the name of the file. */
const char *vm_image_format(const char *path);
/* The slot of a DEVICE_PMEM. */
unsigned int vm_pmem_slot(const struct device *device);
/* What the guest sees of it. */
uint64_t vm_pmem_size_bytes(const struct device *device);
/* The size of a disk as its driver sees it. */
uint64_t vm_disk_size_bytes(struct vm *vm, const struct device *device);
/* What a disk's requests were; see virtio_blk_count(). */
void vm_disk_count(const struct device *device,
		   struct virtio_blk_counters *out);

#endif
