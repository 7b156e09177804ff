/* SPDX-License-Identifier: MIT */
/*
 * vCPUs that come and go. Main thread; vm_cpu_ejected() runs on vCPU threads with
 * the machine lock held, and leaves the rest to on_ejected().
 */
#include "vm_cpus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"
#include "vm_internal.h"

static int check_state(const struct vm *vm, struct error *e)
{
	if (vm->state == VM_SHUTDOWN)
		return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
				       "the VM has ended");
	/* What comes in says which there are. */
	if (vm->state == VM_INMIGRATE)
		return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
				       "the VM has not come in yet");
	return 0;
}

/* A boot vCPU's name is not kept anywhere. */
static void name_of(const struct vm *vm, unsigned int index, char *name,
		    size_t len)
{
	if (vm->cpu_ids[index])
		snprintf(name, len, "%s", vm->cpu_ids[index]);
	else
		snprintf(name, len, "cpu%u", index);
}

int vm_cpu_find(const struct vm *vm, const char *id)
{
	char name[VM_CPU_ID_BYTES];

	for (unsigned int i = 0; i < vm->config->cpus.max; i++) {
		name_of(vm, i, name, sizeof(name));
		if (vcpus_present(vm->vcpus, i) && !strcmp(name, id))
			return (int)i;
	}
	return -1;
}

int vm_cpu_add(struct vm *vm, unsigned int index, const char *id,
	       struct error *e)
{
	char name[VM_CPU_ID_BYTES], *copy;
	int ret = check_state(vm, e);

	if (ret)
		return ret;
	if (id && strlen(id) >= sizeof(name))
		return error_set(e, -EINVAL, "id: at most %zu bytes",
				 sizeof(name) - 1);
	if (vcpus_present(vm->vcpus, index))
		return error_class_set(e, ERROR_ALREADY_ATTACHED, -EBUSY,
				       "vCPU %u is there already", index);
	snprintf(name, sizeof(name), "cpu%u", index);
	if (vm_cpu_find(vm, id ? id : name) >= 0)
		return error_set(e, -EEXIST, "Duplicate device ID '%s'",
				 id ? id : name);
	copy = strdup(id ? id : name);
	if (!copy)
		return error_set(e, -ENOMEM, "out of memory");
	ret = vcpus_add(vm->vcpus, index, e);
	if (ret) {
		free(copy);
		return ret;
	}
	free(vm->cpu_ids[index]);
	vm->cpu_ids[index] = copy;
	vm->cpu_removing[index] = false;
	pthread_mutex_lock(&vm->machine_lock);
	hotplug_added(board_cpu_hotplug(vm->board), index, 0, 0);
	vm_report_allow(vm, false, index);
	pthread_mutex_unlock(&vm->machine_lock);
	if (!vm_guest_knows(vm))
		vm->tables_stale = true;
	return 0;
}

/* The guest has let it go, or never had it. */
static void remove_now(struct vm *vm, unsigned int index)
{
	char name[VM_CPU_ID_BYTES];

	vcpus_remove(vm->vcpus, index);
	pthread_mutex_lock(&vm->machine_lock);
	hotplug_gone(board_cpu_hotplug(vm->board), index);
	vm->cpus_ejected[index] = false;
	pthread_mutex_unlock(&vm->machine_lock);
	vm->cpu_removing[index] = false;
	if (!vm_guest_knows(vm))
		vm->tables_stale = true;
	name_of(vm, index, name, sizeof(name));
	vm_emit(vm, VM_EVENT_DEVICE_DELETED, false, name);
}

int vm_cpu_remove(struct vm *vm, unsigned int index, struct error *e)
{
	struct hotplug *h = board_cpu_hotplug(vm->board);
	int ret = check_state(vm, e);

	if (ret)
		return ret;
	if (!index)
		return error_class_set(e, ERROR_NOT_SUPPORTED, -ENOTSUP,
				       "the boot vCPU stays");
	if (!h)
		return error_class_set(e, ERROR_NOT_SUPPORTED, -ENOTSUP,
				       "vCPUs can go only with a --cpus max= "
				       "above what the VM starts with");
	if (!vm_guest_knows(vm)) {
		remove_now(vm, index);
		return 0;
	}
	vm->cpu_removing[index] = true;
	pthread_mutex_lock(&vm->machine_lock);
	hotplug_request(h, index);
	vm_report_allow(vm, false, index);
	pthread_mutex_unlock(&vm->machine_lock);
	return 0;
}

void vm_cpus_settle(struct vm *vm)
{
	for (unsigned int i = 1; i < vm->config->cpus.max; i++)
		if (vcpus_present(vm->vcpus, i) &&
		    (vm->cpu_removing[i] || vm->cpus_ejected[i]))
			remove_now(vm, i);
}

/* ---- the guest's side ---------------------------------------------------- */

void vm_cpu_ejected(void *opaque, unsigned int cpu)
{
	struct vm *vm = opaque;
	struct hotplug *h = board_cpu_hotplug(vm->board);

	/* The registers have room for more than there can be. */
	if (!cpu || cpu >= vm->config->cpus.max || !hotplug_present(h, cpu))
		return;
	hotplug_gone(h, cpu);
	vm->cpus_ejected[cpu] = true;
	loop_event_set(&vm->cpu_ejection);
}

/* What was refused is not to happen at the next reset either. */
void vm_cpu_note_report(struct vm *vm, const struct vm_report *r)
{
	if (vm_report_is_refusal(r))
		vm->cpu_removing[r->slot] = false;
}

void vm_cpus_take_ejected(struct vm *vm)
{
	bool ejected[CONFIG_MAX_CPUS];

	pthread_mutex_lock(&vm->machine_lock);
	memcpy(ejected, vm->cpus_ejected, sizeof(ejected));
	pthread_mutex_unlock(&vm->machine_lock);
	for (unsigned int i = 0; i < vm->config->cpus.max; i++)
		if (ejected[i])
			remove_now(vm, i);
}

static void on_ejected(void *opaque)
{
	vm_cpus_take_ejected(opaque);
}

/* ---- saving -------------------------------------------------------------- */

void vm_cpu_save(const struct vm *vm, unsigned int index,
		 struct state_writer *w)
{
	char name[VM_CPU_ID_BYTES];

	name_of(vm, index, name, sizeof(name));
	state_put_string(w, name);
	state_put_bool(w, vm->cpu_removing[index]);
}

int vm_cpu_load(struct vm *vm, unsigned int index, struct state_reader *r,
		struct error *e)
{
	char name[VM_CPU_ID_BYTES];
	bool removing;
	int ret, other;

	state_get_string(r, name, sizeof(name));
	removing = state_get_bool(r);
	ret = state_reader_error(r);
	if (ret)
		return error_errno(e, ret, "malformed");
	other = vm_cpu_find(vm, name);
	if (!*name || (other >= 0 && (unsigned int)other != index))
		return error_set(e, -EPROTO, "there is a vCPU '%s' already",
				 name);
	free(vm->cpu_ids[index]);
	vm->cpu_ids[index] = strdup(name);
	if (!vm->cpu_ids[index])
		return error_set(e, -ENOMEM, "out of memory");
	vm->cpu_removing[index] = removing;
	return index ? vcpus_add(vm->vcpus, index, e) : 0;
}

int vm_cpus_init(struct vm *vm, struct error *e)
{
	int ret = loop_event_init(vm->loop, &vm->cpu_ejection, on_ejected, vm);

	return ret ? error_errno(e, ret, "event loop") : 0;
}

void vm_cpus_deinit(struct vm *vm)
{
	for (unsigned int i = 0; i < CONFIG_MAX_CPUS; i++)
		free(vm->cpu_ids[i]);
	loop_event_deinit(&vm->cpu_ejection);
}

/* ---- what there is ------------------------------------------------------- */

size_t vm_cpu_count(const struct vm *vm)
{
	return vcpus_count(vm->vcpus);
}

void vm_cpu_info(const struct vm *vm, size_t index, struct vm_cpu_info *out)
{
	const struct config_cpus *c = &vm->config->cpus;
	unsigned int i = (unsigned int)index;

	*out = (struct vm_cpu_info){
		.index = i,
		.present = vcpus_present(vm->vcpus, i),
		.thread = i % c->threads,
		.core = i / c->threads % c->cores,
		.socket = i / c->threads / c->cores,
	};
	if (out->present)
		out->thread_id = vcpus_thread_id(vm->vcpus, i);
	name_of(vm, i, out->id, sizeof(out->id));
}
