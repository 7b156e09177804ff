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
#include <unistd.h>

#include "save/directory.h"
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

static int save_config(struct vm *vm, struct state_file *f, const char *text,
		       struct error *e)
{
	struct state_writer *w = section(f, TAG_CONFIG, 0, e);

	(void)vm;
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

	for (uint32_t i = 0; !ret && i < vcpus_count(vm->vcpus); i++) {
		w = section(f, TAG_VCPU, i, e);
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

static size_t memory_parts(const struct vm *vm, struct memory_part *parts)
{
	struct ram_part ram[RAM_MAX_RANGES];
	unsigned int count = ram_parts(vm->ram, ram);

	for (unsigned int i = 0; i < count; i++)
		parts[i] = (struct memory_part){ ram[i].host, ram[i].len_bytes,
						 ram[i].anonymous };
	return count;
}

static int save_memory(struct vm *vm, struct state_file *f,
		       struct save_directory *d, struct error *e)
{
	struct state_writer *w = section(f, TAG_MEMORY, 0, e);
	struct memory_part parts[RAM_MAX_RANGES];
	size_t count = memory_parts(vm, parts);
	struct memory_map map;
	int fd, ret;

	if (!w)
		return -ENOMEM;
	fd = save_directory_file(d, MEMORY_NAME, e);
	if (fd < 0)
		return fd;
	ret = memory_map_init(&map, vm->config->memory.size_bytes);
	if (ret)
		error_set(e, ret, "out of memory");
	else
		ret = memory_file_write(fd, parts, count, &map, e);
	if (!ret) {
		state_put_string(w, MEMORY_NAME);
		memory_map_save(&map, w);
		if (fsync(fd))
			ret = error_errno(e, -errno, MEMORY_NAME);
	}
	close(fd);
	memory_map_deinit(&map);
	return ret;
}

/* The map of a file that is RAM itself. */
static int save_live_memory(struct vm *vm, struct state_file *f,
			    struct error *e)
{
	struct state_writer *w = section(f, TAG_MEMORY, 0, e);
	struct memory_map map;
	char *path;

	if (!w)
		return -ENOMEM;
	path = realpath(ram_shared_file(vm->ram), NULL);
	if (!path)
		return error_errno(e, -errno, "--memory: %s",
				   ram_shared_file(vm->ram));
	if (memory_map_init(&map, vm->config->memory.size_bytes)) {
		free(path);
		return error_set(e, -ENOMEM, "out of memory");
	}
	map.live = true;
	state_put_string(w, path);
	memory_map_save(&map, w);
	memory_map_deinit(&map);
	free(path);
	return 0;
}

static int write_file(struct save_directory *d, const char *name,
		      const void *data, size_t len, struct error *e)
{
	int fd = save_directory_file(d, name, e);

	return fd < 0 ? fd : save_file(fd, data, len, name, e);
}

static int save_into(struct vm *vm, enum save_type type, struct state_file *f,
		     struct save_directory *d, const char *config,
		     struct error *e)
{
	uint8_t *data;
	size_t len;
	int ret = save_config(vm, f, config, e);

	if (!ret)
		ret = save_state(vm, f, e);
	if (!ret)
		ret = type == SAVE_TEMPLATE ? save_live_memory(vm, f, e) :
					      save_memory(vm, f, d, e);
	if (ret)
		return ret;
	ret = state_file_encode(f, &data, &len);
	if (ret)
		return error_errno(e, ret, STATE_NAME);
	ret = write_file(d, STATE_NAME, data, len, e);
	free(data);
	if (!ret)
		ret = write_file(d, CONFIG_NAME, config, strlen(config), e);
	return ret ? ret : save_directory_commit(d, e);
}

static int check_savable(const struct vm *vm, enum save_type type,
			 struct error *e)
{
	if (vm->state != VM_PAUSED)
		return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
				       "save: the VM is %s, not paused",
				       vm_state_name(vm->state));
	if (atomic_load(&vm->requests))
		return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
				       "save: the guest has just asked to be "
				       "reset or to end");
	if (vm->config->cpus.max > vm->config->cpus.count)
		return error_class_set(e, ERROR_NOT_SUPPORTED, -EOPNOTSUPP,
				       "save: a VM with --cpus max= cannot be "
				       "saved yet");
	if (vm->hot_memory)
		return error_class_set(e, ERROR_NOT_SUPPORTED, -EOPNOTSUPP,
				       "save: a VM with --memory max= cannot be "
				       "saved yet");
	if (type == SAVE_TEMPLATE && !ram_shared_file(vm->ram))
		return error_class_set(e, ERROR_INVALID_STATE, -EINVAL,
				       "save: a template's RAM is a file: "
				       "--memory SIZE,path=FILE,share=on");
	return 0;
}

int vm_save(struct vm *vm, enum save_type type, const char *directory,
	    struct error *e)
{
	struct save_directory *d = NULL;
	struct state_file *f = NULL;
	char *config = NULL;
	int ret = check_savable(vm, type, e);

	if (!ret)
		ret = save_config_text(vm->config, vm->devices, &config, e);
	if (!ret) {
		ret = state_file_create(&f);
		if (ret)
			error_set(e, ret, "out of memory");
	}
	if (!ret)
		ret = save_directory_create(&d, directory, e);
	if (!ret)
		ret = save_into(vm, type, f, d, config, e);
	if (!ret && type == SAVE_TEMPLATE)
		vm->is_template = true;
	save_directory_destroy(d);
	state_file_destroy(f);
	free(config);
	return ret;
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

static int load_processors(struct vm *vm, struct error *e)
{
	struct state_reader r;
	int ret;

	for (uint32_t i = 0; i < vcpus_count(vm->vcpus); i++) {
		open_section(vm->saved, TAG_VCPU, i, &r);
		ret = vcpus_load(vm->vcpus, i, &r, e);
		if (ret)
			return saved_vm_section_error(vm->saved, TAG_VCPU, i,
						      ret, e);
	}
	open_section(vm->saved, TAG_MACHINE, 0, &r);
	ret = kvm_arch_load(&vm->kvm, &r, e);
	return ret ? saved_vm_section_error(vm->saved, TAG_MACHINE, 0, ret, e) :
		     0;
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

	if (!device || device->type != saved->type ||
	    strcmp(device_key(device), saved->id))
		return error_config(e, -ENOENT, "'%s' is not in the "
				    "configuration", saved->id);
	open_section(vm->saved, TAG_DEVICE, i, &r);
	saved_device_get(&again, &r);
	ret = virtio_pci_load(device->pci, &r, e);
	if (!ret && state_reader_finish(&r))
		ret = error_errno(e, state_reader_finish(&r), "malformed");
	if (ret)
		return error_prefix(e, ret, "'%s'", saved->id);
	if (saved->removing)
		devices_mark_removing(device);
	f = device_function(device);
	/* The guest had let it go, and nobody had looked yet. */
	if (f->hidden)
		vm_device_note_ejected(vm, f->bus, f->slot);
	return 0;
}

static int load_devices(struct vm *vm, struct error *e)
{
	const struct saved_vm *s = vm->saved;
	struct state_reader r;
	int ret;

	open_section(s, TAG_BOARD, 0, &r);
	ret = board_load_state(vm->board, &r, e);
	if (ret)
		return saved_vm_section_error(s, TAG_BOARD, 0, ret, e);
	for (uint32_t i = 0; i < s->device_count; i++) {
		ret = load_device(vm, i, e);
		if (ret)
			return saved_vm_section_error(s, TAG_DEVICE, i, ret, e);
	}
	return 0;
}

static int load_memory(struct vm *vm, struct error *e)
{
	struct memory_part parts[RAM_MAX_RANGES];
	size_t count = memory_parts(vm, parts);

	if (vm->saved->mode != RESTORE_COPY)
		return 0;
	return memory_file_read(vm->saved->memory_fd, parts, count,
				&vm->saved->map, e);
}

int snapshot_load(struct vm *vm, struct error *e)
{
	int ret = load_memory(vm, e);

	if (ret)
		return error_prefix(e, ret, "%s", vm->saved->path);
	pthread_mutex_lock(&vm->machine_lock);
	devices_quiesce(vm->devices);
	ret = load_processors(vm, e);
	if (!ret)
		ret = load_devices(vm, e);
	pthread_mutex_unlock(&vm->machine_lock);
	if (!ret)
		vm->state = VM_PAUSED;
	return ret;
}
