/* SPDX-License-Identifier: MIT */
/*
 * Receiving a VM, in steps: what it is, on a thread; whether it is the one that
 * was configured; its RAM, on a thread; the rest of it. read_state() and
 * read_memory() run on the job's thread, the rest on the main one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "migrate_internal.h"
#include "snapshot_internal.h"

static void fail(struct vm_migration *m, int ret, struct error *e)
{
	if (m->info.status != VM_MIGRATE_CANCELLING)
		log_error("migrate-incoming: %s", e->text);
	if (!m->broken)
		migration_drop_memory(m);
	migration_end(m, ret, e);
}

/* ---- is it the VM that was configured? -------------------------------------- */

static int check_config(const struct vm *vm, const struct vm_config *c,
			struct error *e)
{
	const struct vm_config *ours = vm->config;

	if (c->memory.size_bytes != ours->memory.size_bytes)
		return error_config(e, -EINVAL, "--memory: the VM that comes in "
				    "has %llu MiB, this one %llu",
				    (unsigned long long)
				    (c->memory.size_bytes >> 20),
				    (unsigned long long)
				    (ours->memory.size_bytes >> 20));
	if (c->memory.max_bytes != ours->memory.max_bytes ||
	    c->memory.slots != ours->memory.slots)
		return error_config(e, -EINVAL, "--memory: the VM that comes in "
				    "has another max= or slots=");
	if (c->cpus.count != ours->cpus.count || c->cpus.max != ours->cpus.max)
		return error_config(e, -EINVAL, "--cpus: the VM that comes in "
				    "has %u vCPUs, at most %u, this one %u, at "
				    "most %u", c->cpus.count, c->cpus.max,
				    ours->cpus.count, ours->cpus.max);
	if (c->cpus.threads != ours->cpus.threads ||
	    c->cpus.cores != ours->cpus.cores ||
	    c->cpus.sockets != ours->cpus.sockets)
		return error_config(e, -EINVAL, "--cpus: the VM that comes in "
				    "has another topology");
	if ((c->serial.kind == CHAR_NONE) != (ours->serial.kind == CHAR_NONE))
		return error_config(e, -EINVAL, "--serial: only one of the VM "
				    "that comes in and this one has a serial "
				    "port");
	return 0;
}

static bool is_saved(const struct saved_vm *s, const struct device *device)
{
	const struct pci_function *f = device_function(device);

	for (size_t i = 0; i < s->device_count; i++)
		if (s->devices[i].bus == f->bus && s->devices[i].slot == f->slot)
			return true;
	return false;
}

static int check_devices(const struct vm *vm, const struct saved_vm *s,
			 struct error *e)
{
	for (size_t i = 0; i < s->device_count; i++) {
		const struct saved_device *saved = &s->devices[i];
		const struct device *d = devices_at(vm->devices, saved->bus,
						    saved->slot);

		if (!d || d->type != saved->type || !device_key(d) ||
		    strcmp(device_key(d), saved->key))
			return error_config(e, -ENOENT, "the VM that comes in "
					    "has a %s '%s' at %02x:%02x, this "
					    "one has not",
					    device_type_name(saved->type),
					    saved->key, saved->bus, saved->slot);
	}
	for (struct device *d = devices_first(vm->devices); d; d = d->next)
		if (!is_saved(s, d))
			return error_config(e, -ENOENT, "this VM has a %s '%s', "
					    "the one that comes in has not",
					    device_type_name(d->type),
					    device_key(d) ? device_key(d) : "");
	return 0;
}

static int check_memory(const struct vm_migration *m, struct error *e)
{
	if (!m->header.shared)
		return 0;
	if (!m->capabilities.ignore_shared)
		return error_config(e, -EINVAL, "the RAM of the VM that comes "
				    "in is not in the stream: x-ignore-shared "
				    "must be set here, too");
	if (!m->vm->config->memory.path)
		return error_config(e, -EINVAL, "the RAM of the VM that comes "
				    "in is not in the stream: --memory SIZE,"
				    "path=FILE says where it is");
	return 0;
}

static int check(struct vm_migration *m, struct error *e)
{
	const char *text = m->saved->config;
	struct vm_config c;
	int ret;

	config_init(&c);
	ret = config_json_load_text(&c, "section 'config'", text, strlen(text),
				    e);
	if (!ret)
		ret = check_config(m->vm, &c, e);
	config_deinit(&c);
	if (!ret)
		ret = saved_vm_check_cpus(m->saved, &m->vm->config->cpus, e);
	if (!ret)
		ret = check_devices(m->vm, m->saved, e);
	if (!ret)
		ret = vm_ports_check(m->vm, m->saved, e);
	return ret ? ret : check_memory(m, e);
}

/* ---- loading --------------------------------------------------------------- */

/* The vCPUs are there already: they get another identity before they first run.
 * Where things are in the guest's address space depends on one part of it. */
static int load_cpu(struct vm *vm, struct error *e)
{
	unsigned int bits = vcpu_model_phys_bits(vm->model);
	int ret = snapshot_load_cpu(vm, e);

	if (!ret && vcpu_model_phys_bits(vm->model) != bits)
		ret = error_config(e, -EOPNOTSUPP, "section 'cpu': %u physical "
				   "address bits, this VM has %u",
				   vcpu_model_phys_bits(vm->model), bits);
	return ret ? ret : vcpus_identify(vm->vcpus, e);
}

static int load(struct vm_migration *m, struct error *e)
{
	struct vm *vm = m->vm;
	int ret;

	m->broken = true;
	vm->saved = m->saved;
	ret = load_cpu(vm, e);
	if (!ret)
		ret = snapshot_load_state(vm, e);
	vm->saved = NULL;
	if (!ret)
		m->broken = false;
	return ret;
}

static int read_memory(struct job *j, void *opaque, struct error *e)
{
	struct vm_migration *m = opaque;
	int ret;

	channel_set_cancel(m->channel, job_cancel_fd(j));
	ret = stream_read_memory(m->channel, m->parts, m->part_count,
				 migration_progress, m, e);
	if (ret == -EBADMSG)
		return ret;
	ret = channel_finish(m->channel, ret, e);
	return ret ? error_prefix(e, ret, "section 'memory'") : 0;
}

static void memory_done(void *opaque, int ret, const struct error *from)
{
	struct vm_migration *m = opaque;
	struct vm *vm = m->vm;
	struct error e = *from;
	bool run = m->header.running && vm->run_incoming;

	/* It has ended meanwhile, and this is its loop's last turn. */
	if (!ret && vm->state != VM_INMIGRATE)
		ret = error_set(&e, -ECANCELED, "the VM has ended");
	if (!ret)
		ret = load(m, &e);
	if (ret) {
		fail(m, ret, &e);
		return;
	}
	vm->state = VM_PAUSED;
	migration_end(m, 0, NULL);
	if (run && vm_cont(vm, &e))
		log_error("%s", e.text);
}

static int read_state(struct job *j, void *opaque, struct error *e)
{
	struct vm_migration *m = opaque;
	int ret;

	channel_set_cancel(m->channel, job_cancel_fd(j));
	ret = stream_read_header(m->channel, &m->header, &m->state, e);
	if (!ret)
		return saved_vm_from_state(&m->saved, m->state,
					   m->header.state_bytes, e);
	if (ret == -EBADMSG)
		return ret;
	ret = channel_finish(m->channel, ret, e);
	return error_prefix(e, ret, "section 'header'");
}

static void state_done(void *opaque, int ret, const struct error *from)
{
	static const struct job_ops ops = { read_memory, memory_done,
					    migration_tick };
	struct vm_migration *m = opaque;
	struct error e = *from;

	if (!ret && m->info.status == VM_MIGRATE_CANCELLING)
		ret = error_set(&e, -ECANCELED, "cancelled");
	if (!ret)
		ret = check(m, &e);
	if (!ret)
		ret = migration_make_memory(m, &e);
	if (!ret) {
		migration_set_parts(m);
		m->started = true;
		ret = migration_work(m, &ops, &e);
	}
	if (ret)
		fail(m, ret, &e);
	else
		migration_set_status(m, VM_MIGRATE_ACTIVE);
}

int vm_migrate_incoming(struct vm *vm, const char *uri, struct error *e)
{
	static const struct job_ops ops = { .work = read_state,
					    .done = state_done };
	struct vm_migration *m;
	struct channel *c;
	int ret = migration_get(vm, &m, e);

	if (ret)
		return ret;
	if (vm->config->incoming == INCOMING_OFF)
		return error_set(e, -EPERM, "'--incoming' was not specified on "
				 "the command line");
	if (vm->state != VM_INMIGRATE)
		return error_set(e, -EPERM, "The incoming migration has already "
				 "been started");
	if (m->broken)
		return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
				       "migrate-incoming: a part of another VM "
				       "was loaded; only quit is possible");
	ret = channel_open(&c, uri, CHANNEL_IN, e);
	if (ret)
		return ret;
	migration_begin(m, c);
	ret = migration_work(m, &ops, e);
	if (ret)
		migration_end(m, ret, e);
	return ret;
}
