/* SPDX-License-Identifier: MIT */
/*
 * The order of saving and restoring. Main thread, vCPUs stopped, devices idle.
 *
 * Saving: interrupts of devices are held back, so that each is either in an
 * interrupt controller or a pending bit; then the vCPUs, whose local APICs are
 * such controllers, then the devices. Loading goes the same way round.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot_internal.h"
#include "virtio/virtio_pci.h"
#include "vm_internal.h"

/* ---- saving --------------------------------------------------------------- */

static struct state_writer *section(struct state_file *f, const char *tag,
				    uint32_t instance, struct error *e)
{
	struct state_writer *w = state_file_add(f, tag, instance);

	if (!w)
		error_set(e, -ENOMEM, "out of memory");
	return w;
}

static int save_config(struct state_file *f, const char *text, struct error *e)
{
	struct state_writer *w = section(f, TAG_CONFIG, 0, e);

	if (!w)
		return -ENOMEM;
	state_put_bytes(w, text, strlen(text));
	return 0;
}

static int save_processors(struct vm *vm, struct state_file *f,
			   struct error *e)
{
	struct state_writer *w = section(f, TAG_CPU, 0, e);
	int ret = w ? vcpu_model_save(vm->model, w, e) : -ENOMEM;

	for (uint32_t i = 0; !ret && i < vm->config->cpus.max; i++) {
		if (!vcpus_present(vm->vcpus, i))
			continue;
		w = section(f, TAG_VCPU, i, e);
		if (w)
			vm_cpu_save(vm, i, w);
		ret = w ? vcpus_save(vm->vcpus, i, w, e) : -ENOMEM;
		if (ret && w)
			error_prefix(e, ret, "vCPU %u", i);
	}
	if (ret)
		return ret;
	w = section(f, TAG_MACHINE, 0, e);
	return w ? kvm_arch_save(&vm->kvm, w, e) : -ENOMEM;
}

static int save_devices(struct vm *vm, struct state_file *f, struct error *e)
{
	struct state_writer *w = section(f, TAG_BOARD, 0, e);
	uint32_t i = 0;

	if (!w)
		return -ENOMEM;
	board_save(vm->board, w);
	w = section(f, TAG_DIMMS, 0, e);
	if (!w)
		return -ENOMEM;
	vm_dimms_save(vm, w);
	if (vm->hot_memory) {
		w = section(f, TAG_MEMS, 0, e);
		if (!w)
			return -ENOMEM;
		vm_mems_save(vm, w);
	}
	if (vm_ports_any(vm)) {
		w = section(f, TAG_PORTS, 0, e);
		if (!w)
			return -ENOMEM;
		vm_ports_save(vm, w);
	}
	for (struct device *d = devices_first(vm->devices); d; d = d->next) {
		w = section(f, TAG_DEVICE, i++, e);
		if (!w)
			return -ENOMEM;
		saved_device_put(w, d);
		virtio_pci_save(d->pci, w);
	}
	return 0;
}

static void hold_interrupts(struct vm *vm, bool hold)
{
	for (struct device *d = devices_first(vm->devices); d; d = d->next) {
		struct pci_function *f = virtio_pci_function(d->pci);

		if (hold)
			pci_function_hold_interrupts(f);
		else
			pci_function_release_interrupts(f);
	}
}

static int save_state(struct vm *vm, struct state_file *f, struct error *e)
{
	int ret;

	pthread_mutex_lock(&vm->machine_lock);
	hold_interrupts(vm, true);
	ret = save_processors(vm, f, e);
	if (!ret)
		ret = save_devices(vm, f, e);
	hold_interrupts(vm, false);
	pthread_mutex_unlock(&vm->machine_lock);
	return ret;
}

int snapshot_save(struct vm *vm, struct state_file *f, const char *config,
		  struct error *e)
{
	int ret = save_config(f, config, e);

	return ret ? ret : save_state(vm, f, e);
}

/* ---- restoring ------------------------------------------------------------ */

static void open_section(const struct saved_vm *s, const char *tag,
			 uint32_t instance, struct state_reader *r)
{
	const struct state_section *found =
		state_view_find(&s->view, tag, instance);

	state_reader_init(r, found->data, found->len_bytes);
}

int snapshot_load_cpu(struct vm *vm, struct error *e)
{
	struct state_reader r;
	int ret;

	open_section(vm->saved, TAG_CPU, 0, &r);
	ret = vcpu_model_load(vm->model, &r, e);
	return ret ? saved_vm_section_error(vm->saved, TAG_CPU, 0, ret, e) : 0;
}

int snapshot_load_dimms(struct vm *vm, struct error *e)
{
	struct state_reader r;
	int ret;

	open_section(vm->saved, TAG_DIMMS, 0, &r);
	ret = vm_dimms_load(vm, &r, e);
	return ret ? saved_vm_section_error(vm->saved, TAG_DIMMS, 0, ret, e) :
		     0;
}

static int add_device(struct vm *vm, const struct saved_device *saved,
		      const void *config, struct error *e)
{
	const struct device_spec spec = {
		.type = saved->type,
		.id = *saved->id ? saved->id : NULL,
		.config = config,
		.bus = saved->bus,
		.slot = saved->slot,
	};
	int ret = devices_add(vm->devices, &spec, NULL, e);

	return ret ? error_prefix(e, ret, "'%s'", saved->key) : 0;
}

int snapshot_add_devices(struct vm *vm, struct error *e)
{
	const struct saved_vm *s = vm->saved;
	unsigned int mem = 0, serial = 0;
	struct device_mem memory;
	struct config_serial ports;
	int ret = 0;

	for (uint32_t i = 0; !ret && i < s->device_count; i++) {
		const struct saved_device *d = &s->devices[i];

		/* The first is that of --memory max=. */
		if (d->type == DEVICE_MEM && mem++) {
			if (mem <= s->mem_count)
				vm_mem_config(vm, mem - 1, &memory);
			else
				ret = error_errno(e, -EPROTO, "no memory");
			if (!ret)
				ret = add_device(vm, d, &memory, e);
		} else if (d->type == DEVICE_SERIAL) {
			ret = vm_ports_device(s, serial++, &ports, e);
			if (!ret)
				ret = add_device(vm, d, &ports, e);
		}
		if (ret)
			return saved_vm_section_error(s, TAG_DEVICE, i, ret, e);
	}
	return vm_ports_load(vm, e);
}

/* All are there before the first is loaded, as their APICs know of each other. */
static int load_vcpus(struct vm *vm, struct error *e)
{
	struct state_reader r[CONFIG_MAX_CPUS];
	int ret = 0;

	for (uint32_t pass = 0; pass < 2; pass++)
		for (uint32_t i = 0; i < vm->config->cpus.max; i++) {
			if (!state_view_find(&vm->saved->view, TAG_VCPU, i))
				continue;
			if (!pass)
				open_section(vm->saved, TAG_VCPU, i, &r[i]);
			ret = pass ? vcpus_load(vm->vcpus, i, &r[i], e) :
				     vm_cpu_load(vm, i, &r[i], e);
			if (ret)
				return saved_vm_section_error(
					vm->saved, TAG_VCPU, i, ret, e);
		}
	return 0;
}

static int load_processors(struct vm *vm, struct error *e)
{
	struct state_reader r;
	int ret = load_vcpus(vm, e);

	if (ret)
		return ret;
	open_section(vm->saved, TAG_MACHINE, 0, &r);
	ret = kvm_arch_load(&vm->kvm, &r, e);
	return ret ? saved_vm_section_error(vm->saved, TAG_MACHINE, 0, ret, e) :
		     0;
}

/* The configuration does not say at which controller's number a disk is. */
static int set_address(struct device *device, uint32_t address)
{
	struct config_disk c = *(const struct config_disk *)device->config;
	void *copy;

	c.address = address;
	copy = devices_copy_config(device, &c);
	if (!copy)
		return -ENOMEM;
	devices_set_config(device, copy, true);
	return 0;
}

static int load_device(struct vm *vm, uint32_t i, struct error *e)
{
	const struct saved_device *saved = &vm->saved->devices[i];
	struct device *device = devices_at(vm->devices, saved->bus,
					   saved->slot);
	const struct pci_function *f;
	struct saved_device again;
	struct state_reader r;
	int ret;

	if (!device || device->type != saved->type || !device_key(device) ||
	    strcmp(device_key(device), saved->key))
		return error_config(e, -ENOENT, "'%s' is not in the "
				    "configuration", saved->key);
	open_section(vm->saved, TAG_DEVICE, i, &r);
	saved_device_get(&again, &r);
	ret = virtio_pci_load(device->pci, &r, e);
	if (!ret && state_reader_finish(&r))
		ret = error_errno(e, state_reader_finish(&r), "malformed");
	if (ret)
		return error_prefix(e, ret, "'%s'", saved->key);
	if (device->type == DEVICE_DISK && set_address(device, saved->address))
		return error_set(e, -ENOMEM, "out of memory");
	/* There is one use already. */
	if (saved->uses)
		device_use(device, (int)(saved->uses - 1));
	if (saved->removing)
		vm_device_note_removing(vm, device);
	f = device_function(device);
	/* The guest had let it go, and nobody had looked yet. */
	if (f->hidden)
		vm_device_note_ejected(vm, f->bus, f->slot);
	return 0;
}

/* The guest sees by the board which vCPUs there are. */
static int check_cpus(const struct vm *vm, struct error *e)
{
	const struct hotplug *h = board_cpu_hotplug(vm->board);

	for (unsigned int i = 0; h && i < vm->config->cpus.max; i++)
		if (hotplug_present(h, i) != vcpus_present(vm->vcpus, i))
			return error_errno(e, -EPROTO, "vCPU %u", i);
	return 0;
}

static int load_devices(struct vm *vm, struct error *e)
{
	const struct saved_vm *s = vm->saved;
	struct state_reader r;
	int ret;

	open_section(s, TAG_BOARD, 0, &r);
	ret = board_load_state(vm->board, &r, e);
	if (!ret)
		ret = check_cpus(vm, e);
	if (ret)
		return saved_vm_section_error(s, TAG_BOARD, 0, ret, e);
	for (uint32_t i = 0; i < s->device_count; i++) {
		ret = load_device(vm, i, e);
		if (ret)
			return saved_vm_section_error(s, TAG_DEVICE, i, ret, e);
	}
	return 0;
}

/* Where RAM is the file of the lowest layer, the others go over it. */
static int load_memory(struct vm *vm, struct error *e)
{
	const struct saved_vm *s = vm->saved;
	bool map = s->mode == RESTORE_MAP;
	struct memory_layer layers[SAVED_MAX_LAYERS];
	struct memory_part parts[RAM_MAX_PARTS];
	size_t count = vm_memory_parts(vm, parts);
	int n = saved_vm_layers(s, layers, e), ret;
	struct progress progress;

	if (n < 0)
		return n;
	if (memory_file_bytes(parts, count) != s->map.len_bytes)
		return error_config(e, -EPROTO, "%s: section '%s': is not as "
				    "large as the VM's memory", s->path,
				    TAG_MEMORY);
	if ((map && n == 1) || s->mode == RESTORE_FAULT)
		return 0;
	progress_begin(&progress, "reading memory", s->map.len_bytes);
	progress.cancelled = vm->start_cancelled;
	ret = memory_layers_read(layers + map, (size_t)n - map, parts, count,
				 map ? MEMORY_CHECK_PAGES : MEMORY_CHECK_ALL,
				 &progress, e);
	progress_end(&progress);
	return ret;
}

int snapshot_load_state(struct vm *vm, struct error *e)
{
	int ret;

	pthread_mutex_lock(&vm->machine_lock);
	devices_quiesce(vm->devices);
	ret = load_processors(vm, e);
	if (!ret)
		ret = load_devices(vm, e);
	pthread_mutex_unlock(&vm->machine_lock);
	return ret;
}

int snapshot_load(struct vm *vm, struct error *e)
{
	int ret = load_memory(vm, e);

	if (!ret)
		ret = snapshot_load_state(vm, e);
	if (!ret)
		ret = vm_dirty_note_base(vm, vm->saved->identity.id, e);
	if (!ret)
		vm->state = VM_PAUSED;
	return ret;
}
