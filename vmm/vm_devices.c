/* SPDX-License-Identifier: MIT */
/*
 * Devices that come and go. Main thread; vm_device_ejected() runs on vCPU
 * threads with the machine lock held, and leaves the rest to on_ejected().
 */
#include "vm_devices.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "block/block.h"
#include "block/vhd.h"
#include "virtio/pmem.h"
#include "virtio/virtio_pci.h"
#include "vm_internal.h"

/*
 * A guest can miss a request: Linux does not look at one for a slot that it has
 * not made an object of yet. Then, after twice the time each time.
 */
#define REMIND_NS	UINT64_C(2000000000)
#define REMIND_MAX_NS	(REMIND_NS << 5)

static int check_state(const struct vm *vm, struct error *e)
{
	if (vm->state != VM_SHUTDOWN)
		return 0;
	return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
			       "the VM has ended");
}

static struct pci_hotplug *hotplug(const struct vm *vm)
{
	return board_pci_hotplug(vm->board);
}

int vm_device_add(struct vm *vm, const struct device_spec *spec,
		  struct device **out, struct error *e)
{
	const struct pci_function *f;
	struct device *device;
	int ret = check_state(vm, e);

	if (!ret)
		ret = devices_add(vm->devices, spec, &device, e);
	if (ret)
		return ret;
	f = device_function(device);
	if (vm_guest_knows(vm)) {
		pthread_mutex_lock(&vm->machine_lock);
		pci_hotplug_added(hotplug(vm), f->bus, f->slot);
		pthread_mutex_unlock(&vm->machine_lock);
	} else {
		vm->tables_stale = true;
	}
	if (out)
		*out = device;
	return 0;
}

void vm_device_force_remove(struct vm *vm, struct device *device)
{
	const struct pci_function *f = device_function(device);
	unsigned int bus = f->bus, slot = f->slot;
	char id[256];
	bool named = device->id;

	snprintf(id, sizeof(id), "%s", named ? device->id : "");
	vm_ports_drop(vm, device);
	devices_remove(vm->devices, device);
	pthread_mutex_lock(&vm->machine_lock);
	vm->ejected[bus] &= ~(1u << slot);
	pci_hotplug_gone(hotplug(vm), bus, slot);
	pthread_mutex_unlock(&vm->machine_lock);
	if (!vm_guest_knows(vm))
		vm->tables_stale = true;
	vm_emit(vm, VM_EVENT_DEVICE_DELETED, false, named ? id : NULL);
}

static void remind_from_now(struct vm *vm)
{
	vm->remind_next_ns = vm->remind_ns;
	loop_timer_set(&vm->remind, vm->remind_next_ns, 0);
}

int vm_device_remove(struct vm *vm, struct device *device, struct error *e)
{
	const struct pci_function *f = device_function(device);
	int ret = check_state(vm, e);

	if (ret)
		return ret;
	/* What the guest has plugged would go with it. */
	if (device->type == DEVICE_MEM)
		return error_class_set(e, ERROR_NOT_SUPPORTED, -ENOTSUP,
				       "'%s': a virtio-mem stays", device->id);
	if (!vm_guest_knows(vm)) {
		vm_device_force_remove(vm, device);
		return 0;
	}
	devices_mark_removing(device);
	pthread_mutex_lock(&vm->machine_lock);
	pci_hotplug_request(hotplug(vm), f->bus, f->slot);
	pthread_mutex_unlock(&vm->machine_lock);
	remind_from_now(vm);
	return 0;
}

void vm_device_note_removing(struct vm *vm, struct device *device)
{
	const struct pci_function *f = device_function(device);

	devices_mark_removing(device);
	if (f->hidden)
		return;
	pci_hotplug_still_wanted(hotplug(vm), f->bus, f->slot);
	remind_from_now(vm);
}

static void on_remind(void *opaque)
{
	struct vm *vm = opaque;
	unsigned int count = 0;

	pthread_mutex_lock(&vm->machine_lock);
	for (struct device *d = devices_first(vm->devices); d; d = d->next) {
		const struct pci_function *f = device_function(d);

		if (!d->removing || f->hidden)
			continue;
		count++;
		if (vm->state == VM_RUNNING)
			pci_hotplug_request(hotplug(vm), f->bus, f->slot);
	}
	pthread_mutex_unlock(&vm->machine_lock);
	if (!count)
		return;
	if (vm->remind_next_ns < REMIND_MAX_NS)
		vm->remind_next_ns *= 2;
	loop_timer_set(&vm->remind, vm->remind_next_ns, 0);
}

struct device *vm_device_first(const struct vm *vm)
{
	return devices_first(vm->devices);
}

struct device *vm_device_find(const struct vm *vm, const char *id)
{
	return devices_find(vm->devices, id);
}

int vm_disk_check(const struct config_disk *disk, struct error *e)
{
	const struct block_open_params p = {
		.path = disk->path,
		.readonly = disk->readonly,
		.direct = disk->direct,
		.vhd = disk->format == DISK_VHD,
	};
	struct block_file *file = NULL;
	int ret = block_open(&file, &p, e);

	block_close(file);
	return ret;
}

bool vm_pci_slot(struct vm *vm, unsigned int bus, unsigned int slot,
		 struct vm_pci_slot *out)
{
	const struct device *device = devices_at(vm->devices, bus, slot);
	const struct pci_function *f;

	*out = (struct vm_pci_slot){ .id = device ? device->id : NULL };
	pthread_mutex_lock(&vm->machine_lock);
	f = pci_function_at(board_pci(vm->board), bus, slot);
	if (f && f->hidden)
		f = NULL;
	if (f)
		memcpy(out->config, f->config, sizeof(out->config));
	for (unsigned int i = 0; f && i < PCI_BARS; i++) {
		const struct pci_bar *b = &f->bars[i];

		if (!b->range.len_bytes)
			continue;
		out->bars[i].len_bytes = b->range.len_bytes;
		out->bars[i].address = b->range.attached ? b->range.base :
							   b->home;
		out->bars[i].is_64bit = b->is_64bit;
		out->bars[i].prefetchable = b->prefetchable;
	}
	pthread_mutex_unlock(&vm->machine_lock);
	return f;
}

const char *vm_image_format(const char *path)
{
	return vhd_is_name(path) ? "vhd" : "raw";
}

static const struct pmem_region *region_of(const struct device *device)
{
	return virtio_pmem_region(virtio_pci_device(device->pci));
}

unsigned int vm_pmem_slot(const struct device *device)
{
	return pmem_region_slot(region_of(device));
}

uint64_t vm_pmem_size_bytes(const struct device *device)
{
	return pmem_region_bytes(region_of(device));
}

/* VIRTIO 1.2, 5.2.4: capacity, in sectors, is the first field. */
uint64_t vm_disk_size_bytes(struct vm *vm, const struct device *device)
{
	uint8_t capacity[8];

	pthread_mutex_lock(&vm->machine_lock);
	virtio_reg_config_read(virtio_pci_device(device->pci), 0, capacity,
			       sizeof(capacity));
	pthread_mutex_unlock(&vm->machine_lock);
	return bus_get_le(capacity, sizeof(capacity)) * BLOCK_SECTOR_BYTES;
}

/* ---- the guest's side ---------------------------------------------------- */

void vm_device_note_ejected(struct vm *vm, unsigned int bus,
			    unsigned int slot)
{
	vm->ejected[bus] |= 1u << slot;
	loop_event_set(&vm->ejection);
}

void vm_device_ejected(void *opaque, unsigned int bus, unsigned int slot)
{
	struct vm *vm = opaque;
	struct pci_function *f = pci_function_at(board_pci(vm->board), bus,
						 slot);

	/* The host bridge is part of the board and stays. */
	if (!f || f->hidden || f->stays || (!bus && !slot))
		return;
	/* What the guest looks for after this is no longer there. */
	pci_hide(f);
	vm_device_note_ejected(vm, bus, slot);
}

static void remove_at(struct vm *vm, unsigned int bus, unsigned int slot)
{
	struct device *device = devices_at(vm->devices, bus, slot);

	if (device)
		vm_device_force_remove(vm, device);
}

static void on_ejected(void *opaque)
{
	struct vm *vm = opaque;
	uint32_t slots[PCI_ROOTS];

	pthread_mutex_lock(&vm->machine_lock);
	memcpy(slots, vm->ejected, sizeof(slots));
	memset(vm->ejected, 0, sizeof(vm->ejected));
	pthread_mutex_unlock(&vm->machine_lock);
	for (unsigned int bus = 0; bus < PCI_ROOTS; bus++)
		for (unsigned int slot = 0; slot < PCI_SLOTS; slot++)
			if (slots[bus] >> slot & 1)
				remove_at(vm, bus, slot);
}

void vm_devices_settle(struct vm *vm)
{
	struct device *next;

	for (struct device *d = devices_first(vm->devices); d; d = next) {
		next = d->next;
		if (d->removing || device_function(d)->hidden)
			vm_device_force_remove(vm, d);
	}
}

int vm_devices_init(struct vm *vm, struct error *e)
{
	int ret = loop_event_init(vm->loop, &vm->ejection, on_ejected, vm);

	vm->remind_ns = REMIND_NS;
	if (!ret)
		ret = loop_timer_init(vm->loop, &vm->remind, on_remind, vm);
	return ret ? error_errno(e, ret, "event loop") : 0;
}

void vm_devices_deinit(struct vm *vm)
{
	loop_timer_deinit(&vm->remind);
	loop_event_deinit(&vm->ejection);
}
