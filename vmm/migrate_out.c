/* SPDX-License-Identifier: MIT */
/* Sending a VM. work() runs on the job's thread, the rest on the main one. */
#include <errno.h>
#include <stdlib.h>

#include "migrate_internal.h"
#include "snapshot_internal.h"

/* Whoever receives it would go on with zeros for what could not be read. */
static int check_memory(void *opaque)
{
	struct vm_migration *m = opaque;

	return vm_check_memory(m->vm, "migrate", NULL);
}

static int work(struct job *j, void *opaque, struct error *e)
{
	struct vm_migration *m = opaque;
	int ret;

	channel_set_cancel(m->channel, job_cancel_fd(j));
	ret = vm_fault_fill(m->vm, j, "migrate", e);
	if (ret)
		return ret;
	ret = stream_write_header(m->channel, &m->header, m->state);
	if (!ret)
		ret = stream_write_memory(m->channel, m->parts, m->part_count,
					  migration_progress, check_memory, m);
	ret = channel_finish(m->channel, ret, e);
	if (ret)
		vm_check_memory(m->vm, "migrate", e);
	return ret;
}

static void done(void *opaque, int ret, const struct error *e)
{
	struct vm_migration *m = opaque;
	struct vm *vm = m->vm;

	if (!ret && vm_is_held(vm)) {
		vm->held_state = VM_POSTMIGRATE;
		/* Others use its RAM from now on. */
		vm->is_template = vm->is_template || m->header.shared;
	}
	vm_release(vm);
	migration_end(m, ret, e);
}

/* It would be lost over there. */
static int check_asked(const struct vm *vm, struct error *e)
{
	if (!vm_is_asked(vm))
		return 0;
	return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
			       "migrate: the guest has just asked to be reset or "
			       "to end");
}

static int check(const struct vm *vm, struct error *e)
{
	int ret;

	if (vm->state != VM_RUNNING && vm->state != VM_PAUSED &&
	    vm->state != VM_POSTMIGRATE)
		return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
				       "migrate: the VM is %s",
				       vm_state_name(vm->state));
	ret = vm_check_hold(vm, "migrate", e);
	return ret ? ret : check_asked(vm, e);
}

/* All but RAM, as a state file. */
static int encode(struct vm_migration *m, const char *config, struct error *e)
{
	struct state_file *f;
	size_t len = 0;
	int ret;

	if (state_file_create(&f))
		return error_set(e, -ENOMEM, "out of memory");
	ret = snapshot_save(m->vm, f, config, e);
	if (!ret) {
		ret = state_file_encode(f, &m->state, &len);
		if (ret)
			error_errno(e, ret, "state");
	}
	m->header.state_bytes = len;
	state_file_destroy(f);
	return ret;
}

static int start(struct vm_migration *m, const char *config, struct error *e)
{
	static const struct job_ops ops = { work, done, migration_tick };
	struct vm *vm = m->vm;
	int ret;

	vm_cpus_take_ejected(vm);
	vm_dimms_take_ejected(vm);
	/* Until it was stopped it could. */
	ret = check_asked(vm, e);
	if (ret)
		return ret;
	m->header = (struct stream_header){
		.running = vm->held_state == VM_RUNNING,
		.shared = m->capabilities.ignore_shared &&
			  ram_shared_file(vm->ram),
	};
	ret = encode(m, config, e);
	if (ret)
		return ret;
	migration_set_parts(m);
	ret = migration_work(m, &ops, e);
	if (!ret)
		migration_set_status(m, VM_MIGRATE_ACTIVE);
	return ret;
}

static int send(struct vm_migration *m, const char *uri, const char *config,
		struct error *e)
{
	struct vm *vm = m->vm;
	struct channel *c;
	int ret = channel_open(&c, uri, CHANNEL_OUT, e);

	if (ret)
		return ret;
	ret = vm_hold(vm, VM_FINISH_MIGRATE, "migrate", e);
	if (ret) {
		channel_close(c);
		return ret;
	}
	migration_begin(m, c);
	ret = start(m, config, e);
	if (ret) {
		vm_release(vm);
		migration_end(m, ret, e);
	}
	return ret;
}

/* A file is not made, nor a command run, for what cannot be sent. */
int vm_migrate(struct vm *vm, const char *uri, struct error *e)
{
	struct vm_migration *m;
	char *config = NULL;
	int ret = migration_get(vm, &m, e);

	if (!ret)
		ret = check(vm, e);
	if (!ret)
		ret = save_config_text(vm, &config, e);
	if (!ret)
		ret = send(m, uri, config, e);
	free(config);
	return ret;
}
